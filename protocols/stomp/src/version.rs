//! The protocol versions and their negotiation ("Connecting" of STOMP 1.1 and 1.2).

/// A version of the protocol; later ones compare greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.0: no escapes, values trimmed on the left.
    #[default]
    V10,
    /// 1.1: `\n`, `\c`, `\\`.
    V11,
    /// 1.2: also `\r`, and CR LF ends a line.
    V12,
}

/// All of them, as CONNECT errors and ERROR frames list them.
pub(crate) const SUPPORTED: &str = "1.0,1.1,1.2";

impl Version {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V10 => "1.0",
            Version::V11 => "1.1",
            Version::V12 => "1.2",
        }
    }

    /// Highest common version of an `accept-version` header; a client that sends none speaks 1.0. `None` when
    /// there is no common one.
    pub(crate) fn negotiate(accepted: Option<&str>) -> Option<Self> {
        let Some(accepted) = accepted else { return Some(Version::V10) };
        accepted
            .split(',')
            .filter_map(|word| match word.trim() {
                "1.0" => Some(Version::V10),
                "1.1" => Some(Version::V11),
                "1.2" => Some(Version::V12),
                _ => None,
            })
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_common() {
        let check = |accepted, expected: Option<Version>| assert_eq!(Version::negotiate(accepted), expected);
        check(None, Some(Version::V10));
        check(Some("1.0,1.1,1.2"), Some(Version::V12));
        check(Some("1.1, 9.9"), Some(Version::V11));
        check(Some("9.9"), None);
        check(Some(""), None);
    }
}
