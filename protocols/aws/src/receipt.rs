//! SQS receipt handles: which lease, of which delivery, in opaque text.
//!
//! ```text
//! queue id u64 | number in the queue u64 | delivery u32 | checksum u32     big-endian, base64url
//! ```
//! The checksum tells a mangled handle from an old one; it is no secret. A handle only ever works on its own queue.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf, BufMut};
use model::{delivery::Lease, ids::QueueId};

const BYTES: usize = 24;

/// What a receipt handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The lease.
    pub lease: Lease,
    /// `earlier_deliveries` of the delivery that it was given with.
    pub generation: u32,
}

impl Receipt {
    /// Appends the handle.
    pub fn push(&self, out: &mut String) {
        let mut block = [0; BYTES];
        let mut rest = block.as_mut_slice();
        rest.put_u64(self.lease.queue.0);
        rest.put_u64(self.lease.seq);
        rest.put_u32(self.generation);
        rest.put_u32(checksum(self));
        URL_SAFE_NO_PAD.encode_string(block, out);
    }

    /// Reads a handle; `None` for what is none of ours.
    pub fn parse(handle: &str) -> Option<Self> {
        let mut block = [0; BYTES];
        if URL_SAFE_NO_PAD.decode_slice(handle, &mut block).ok()? != BYTES {
            return None;
        }
        let mut rest = block.as_slice();
        let lease = Lease { queue: QueueId(rest.get_u64()), seq: rest.get_u64() };
        let receipt = Self { lease, generation: rest.get_u32() };
        (rest.get_u32() == checksum(&receipt)).then_some(receipt)
    }
}

/// FNV-1a over the three numbers, folded to 32 bits.
fn checksum(receipt: &Receipt) -> u32 {
    let words = [receipt.lease.queue.0, receipt.lease.seq, u64::from(receipt.generation)];
    let hash =
        words.iter().flat_map(|word| word.to_be_bytes()).fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    (hash >> 32) as u32 ^ hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(queue: u64, seq: u64, generation: u32, at in 0usize..32) {
            let receipt = Receipt { lease: Lease { queue: QueueId(queue), seq }, generation };
            let mut handle = String::new();
            receipt.push(&mut handle);
            prop_assert_eq!(Receipt::parse(&handle), Some(receipt));
            let mangled: String =
                handle.chars().enumerate().map(|(i, c)| if i == at { if c == 'A' { 'B' } else { 'A' } } else { c }).collect();
            prop_assert_eq!(Receipt::parse(&mangled), None);
        }

        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = Receipt::parse(&text);
        }
    }
}
