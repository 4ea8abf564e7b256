//! Passwords as they are kept: in the clear where the configuration has them so, else as RabbitMQ's salted hashes.
//!
//! A hash is base64 of four bytes of salt and the digest of salt and password.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest, Sha256, Sha512};

/// Bytes of salt before the digest.
const SALT_BYTES: usize = 4;

/// How a hash is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashing {
    /// SHA-256, RabbitMQ's default.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hashing {
    /// RabbitMQ's name for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Hashing::Sha256 => "rabbit_password_hashing_sha256",
            Hashing::Sha512 => "rabbit_password_hashing_sha512",
        }
    }

    /// The one of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Hashing::Sha256, Hashing::Sha512].into_iter().find(|one| one.as_str() == name)
    }

    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        match self {
            Hashing::Sha256 => Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec(),
            Hashing::Sha512 => Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec(),
        }
    }

    /// The hash of a password with this salt.
    pub(crate) fn hash(self, salt: [u8; SALT_BYTES], password: &[u8]) -> String {
        BASE64.encode([&salt[..], &self.digest(&salt, password)].concat())
    }
}

/// What a user proves itself with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// Nothing: it can not log in with a password.
    None,
    /// The password itself.
    Plain(String),
    /// A salted hash, base64.
    Hashed(Hashing, String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// Whether `password` is the one.
    pub(crate) fn fits(&self, password: &[u8]) -> bool {
        match self {
            Secret::None => false,
            Secret::Plain(own) => same(own.as_bytes(), password),
            Secret::Hashed(hashing, text) => {
                let Ok(bytes) = BASE64.decode(text) else { return false };
                let Some((salt, digest)) = bytes.split_at_checked(SALT_BYTES) else { return false };
                same(digest, &hashing.digest(salt, password))
            }
        }
    }
}

/// Compares without telling by its time where the difference is.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_rabbitmqs_documentation_fits() {
        let hash = Hashing::Sha256.hash([0x90, 0x8d, 0xc6, 0x0a], b"test12");
        assert_eq!(hash, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        assert!(Secret::Hashed(Hashing::Sha256, hash.clone()).fits(b"test12"));
        assert!(!Secret::Hashed(Hashing::Sha256, hash).fits(b"test13"));
        let hash = Hashing::Sha512.hash([1, 2, 3, 4], b"p");
        assert!(Secret::Hashed(Hashing::Sha512, hash).fits(b"p"));
        assert!(!Secret::Hashed(Hashing::Sha256, "AAA=".into()).fits(b"") && !Secret::None.fits(b""));
    }
}
