//! Which shard a record belongs to: even ranges over the 128-bit hash space, by explicit hash or MD5 of the
//! partition key (the Kinesis rule).

use md5::{Digest, Md5};
use model::message::Message;

/// Width of the hash range of every shard but the last, which takes the rest: 2^128 / `shards`, rounded down.
fn width(shards: u32) -> u128 {
    let shards = u128::from(shards.max(2));
    (u128::MAX - (shards - 1)) / shards + 1
}

/// First and last hash of a shard, of `shards` in all.
pub fn hash_range(shard: u32, shards: u32) -> (u128, u128) {
    if shards <= 1 {
        return (0, u128::MAX);
    }
    let first = width(shards).saturating_mul(u128::from(shard));
    let last = if shard >= shards - 1 { u128::MAX } else { first.saturating_add(width(shards) - 1) };
    (first, last)
}

/// The shard that a hash falls into.
pub fn shard_of_hash(hash: u128, shards: u32) -> u32 {
    if shards <= 1 {
        return 0;
    }
    u32::try_from(hash / width(shards)).unwrap_or(u32::MAX).min(shards - 1)
}

/// The shard that a message falls into.
pub fn shard_of(message: &Message, shards: u32) -> u32 {
    if shards <= 1 {
        return 0;
    }
    let explicit = message.extra.as_ref().and_then(|extra| extra.explicit_hash);
    let hash = explicit.unwrap_or_else(|| {
        let digest: [u8; 16] = Md5::digest(message.partition_key().as_bytes()).into();
        u128::from_be_bytes(digest)
    });
    shard_of_hash(hash, shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_everything_once() {
        for shards in [1, 2, 3, 4, 7, 10_000] {
            let mut next = Some(0);
            for shard in 0..shards {
                let (first, last) = hash_range(shard, shards);
                assert_eq!(Some(first), next, "shard {shard} of {shards}");
                assert_eq!(shard_of_hash(first, shards), shard);
                assert_eq!(shard_of_hash(last, shards), shard);
                next = last.checked_add(1);
            }
            assert_eq!(next, None);
        }
    }
}
