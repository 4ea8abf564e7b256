//! Calendar dates of UTC as AWS writes them. The arithmetic is the proleptic Gregorian calendar by eras of 400 years.

use model::Millis;
use std::fmt::Write;

const DAY_S: u64 = 86_400;

/// Year, month, day of a number of days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days since 1970-01-01; the inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// `2026-11-21T05:30:00Z`, with `.123` before the `Z` when `millis`.
pub fn iso(at: Millis, millis: bool) -> String {
    let seconds = at / 1000;
    let (year, month, day) = civil(seconds / DAY_S);
    let second_of_day = seconds % DAY_S;
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let mut out = String::with_capacity(24);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if millis {
        let _ = write!(out, ".{:03}", at % 1000);
    }
    out.push('Z');
    out
}

/// Reads `20261121T053000Z`.
pub fn parse_basic(text: &str) -> Option<Millis> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
        return None;
    }
    let field = |from: usize, to: usize| number(text.get(from..to)?);
    stamp(field(0, 4)?, field(4, 6)?, field(6, 8)?, field(9, 11)?, field(11, 13)?, field(13, 15)?)
}

/// Reads RFC 3339 in UTC or with an offset: `2026-11-21T05:30:00Z`, `2026-11-21T05:30:00.5+01:00`.
pub fn parse_iso(text: &str) -> Option<Millis> {
    let field = |from: usize, to: usize| number(text.get(from..to)?);
    let at =
        stamp(field(0, 4)?, field(5, 7)?, field(8, 10)?, field(11, 13)?, field(14, 16)?, field(17, 19)?)?;
    let rest = text.get(19..)?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at_checked(zone_at)?;
    let millis = match fraction.strip_prefix('.') {
        Some(digits) => number(format!("{digits:0<3}").get(..3)?)?,
        None => 0,
    };
    let shift = match zone.as_bytes().first() {
        Some(b'+' | b'-') => (number(zone.get(1..3)?)? * 60 + number(zone.get(zone.len() - 2..)?)?) * 60_000,
        _ => 0,
    };
    let at = at + millis;
    if zone.starts_with('+') { at.checked_sub(shift) } else { Some(at + shift) }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn stamp(year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64) -> Option<Millis> {
    let valid =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !valid {
        return None;
    }
    Some((days(year, month, day)? * DAY_S + hour * 3600 + minute * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_239_000_000, "2026-11-21T05:30:00.000Z"),
        ] {
            assert_eq!(iso(at, true), text);
            assert_eq!(parse_iso(text), Some(at));
        }
        assert_eq!(parse_basic("20261121T053000Z"), Some(1_795_239_000_000));
        assert_eq!(parse_iso("2026-11-21T06:30:00+01:00"), Some(1_795_239_000_000));
        assert_eq!(parse_basic("20261321T053000Z"), None);
    }

    proptest! {
        #[test]
        fn round_trips(at in 0u64..253_402_300_800_000) {
            prop_assert_eq!(parse_iso(&iso(at, true)), Some(at));
        }

        #[test]
        fn never_panics(text in ".{0,40}", digits in "[0-9TZ:.+-]{0,30}") {
            for text in [&text, &digits] {
                let _ = (parse_basic(text), parse_iso(text));
            }
        }
    }
}
