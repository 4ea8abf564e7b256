//! Names that the session makes up: queues, consumer tags, reply addresses.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Name;

/// Makes names out of the connection's random bits: a counter goes through a bijective mixing function over 128 bits,
/// so that no two names of a connection are alike and two connections' are as unlike as their bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    random: u128,
    made: u64,
}

impl Names {
    /// Over the bits that the driver gave.
    pub(crate) fn new(random: u128) -> Self {
        Self { random, made: 0 }
    }

    /// `prefix` and 22 characters of base64url.
    pub(crate) fn make(&mut self, prefix: &str) -> Name {
        self.made += 1;
        let (high, low) = ((self.random >> 64) as u64, self.random as u64);
        // A Feistel network of four rounds is bijective whatever its round function.
        let (mut left, mut right) = (high ^ self.made, low);
        for round in 1..=4u64 {
            (left, right) = (right, left ^ mix(right ^ high.rotate_left(round as u32) ^ round));
        }
        let bits = (u128::from(left) << 64) | u128::from(right);
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits.to_be_bytes())).into()
    }
}

/// Every input bit reaches every output bit.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 32)).wrapping_mul(0x9e6c_63d0_676a_9a99);
    bits = (bits ^ (bits >> 29)).wrapping_mul(0x9e6d_62d0_6f6a_9a9b);
    bits ^ (bits >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_have_rabbitmq_s_length() {
        let mut names = Names::new(7);
        let made: std::collections::HashSet<_> = (0..1000).map(|_| names.make("amq.gen-")).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|name| name.len() == "amq.gen-".len() + 22));
        assert_ne!(Names::new(8).make(""), Names::new(7).make(""));
    }
}
