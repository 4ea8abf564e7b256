//! Kinesis's numbers: shard ids, hash key ranges, sequence numbers and iterators.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf, BufMut};
use model::{Millis, ids::QueueId};

/// Lifetime of an iterator.
pub const ITERATOR_MS: u64 = 5 * 60 * 1000;

/// `shardId-000000000007`.
pub fn shard_id(shard: u32) -> String {
    format!("shardId-{shard:012}")
}

/// The number of a shard id.
pub fn parse_shard_id(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("shardId-").unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// First and last hash key of shard `shard` of `shards` even ones.
pub fn hash_range(shard: u32, shards: u32) -> (u128, u128) {
    let width = u128::MAX / u128::from(shards.max(1));
    let start = width.saturating_mul(u128::from(shard)).saturating_add(u128::from(shard));
    let last = shard.saturating_add(1) >= shards;
    let end = if last { u128::MAX } else { start.saturating_add(width) };
    (start, end)
}

/// Sequence number of a record: 56 digits, increasing per shard: `49`, shard (10), offset (44).
pub fn sequence_number(shard: u32, offset: u64) -> String {
    format!("49{shard:010}{offset:044}")
}

/// Shard and offset of a sequence number.
pub fn parse_sequence_number(text: &str) -> Option<(u32, u64)> {
    if text.len() != 56 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (shard, offset) = text.strip_prefix("49")?.split_at_checked(10)?;
    Some((shard.parse().ok()?, offset.parse().ok()?))
}

/// A shard iterator: where to read on, and since when it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardIterator {
    /// The stream, by id: a stream deleted and made again is another one.
    pub stream: QueueId,
    /// Shard.
    pub shard: u32,
    /// Offset; 0 reads from the oldest kept.
    pub offset: u64,
    /// When it was given out.
    pub issued_ms: Millis,
}

impl ShardIterator {
    const BYTES: usize = 29;
    const VERSION: u8 = 1;

    /// As opaque text.
    pub fn encode(&self) -> String {
        let mut block = [0; Self::BYTES];
        let mut rest = block.as_mut_slice();
        rest.put_u8(Self::VERSION);
        rest.put_u64(self.stream.0);
        rest.put_u32(self.shard);
        rest.put_u64(self.offset);
        rest.put_u64(self.issued_ms);
        URL_SAFE_NO_PAD.encode(block)
    }

    /// Reads an iterator; `None` for what is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut block = [0; Self::BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut block).ok()? != Self::BYTES {
            return None;
        }
        let mut rest = block.as_slice();
        if rest.get_u8() != Self::VERSION {
            return None;
        }
        let stream = QueueId(rest.get_u64());
        Some(Self { stream, shard: rest.get_u32(), offset: rest.get_u64(), issued_ms: rest.get_u64() })
    }

    /// True once it is older than [`ITERATOR_MS`].
    pub fn expired(&self, now: Millis) -> bool {
        now > self.issued_ms.saturating_add(ITERATOR_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_cover_everything_once() {
        for shards in [1, 2, 3, 4, 7, 1000] {
            let mut next = 0u128;
            for shard in 0..shards {
                let (start, end) = hash_range(shard, shards);
                assert_eq!(start, next, "{shard} of {shards}");
                next = end.wrapping_add(1);
            }
            assert_eq!(next, 0);
        }
        assert_eq!(hash_range(0, 2).1, (1 << 127) - 1);
    }

    proptest! {
        #[test]
        fn numbers_round_trip_and_keep_order(shard: u32, offset: u64, stream: u64, at: u64) {
            let number = sequence_number(shard, offset);
            prop_assert_eq!(parse_sequence_number(&number), Some((shard, offset)));
            prop_assert!(sequence_number(shard, offset / 2) <= number);
            prop_assert_eq!(parse_shard_id(&shard_id(shard)), Some(shard));
            let iterator = ShardIterator { stream: QueueId(stream), shard, offset, issued_ms: at };
            prop_assert_eq!(ShardIterator::parse(&iterator.encode()), Some(iterator));
        }

        #[test]
        fn never_panics(text in ".{0,80}", digits in "49[0-9]{0,70}") {
            let _ = (ShardIterator::parse(&text), parse_sequence_number(&digits), parse_shard_id(&text));
        }
    }
}
