//! Password files as mosquitto_passwd writes them.
//!
//! ```text
//! name:$6$SALT$HASH                 SHA-512 of password and salt
//! name:$7$ITERATIONS$SALT$HASH      PBKDF2 with HMAC-SHA-512
//! ```
//! Salt and hash are base64. Refuses: passwords in the clear, and argon2 hashes of newer mosquitto_passwd.

use super::secret::same;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};
use std::collections::BTreeMap;

/// Most iterations: about half a second of work for each login.
const ITERATIONS_MAX: u32 = 500_000;
/// Bytes of a SHA-512 hash.
const HASH_BYTES: usize = 64;

#[derive(Debug, PartialEq, Eq)]
struct Hashed {
    /// `None` for one round of SHA-512.
    iterations: Option<u32>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Users and their hashed passwords.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PasswordFile {
    users: BTreeMap<String, Hashed>,
}

impl PasswordFile {
    /// Reads a file's text. Errors: one sentence that begins with the line's number.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |what: &str| format!("line {}: {what}", index + 1);
            let (name, hashed) = line.split_once(':').ok_or_else(|| fail("no ':' behind the user name"))?;
            users.insert(name.to_owned(), Hashed::parse(hashed).map_err(|what| fail(&what))?);
        }
        Ok(Self { users })
    }

    /// The user exists and this is the password.
    pub(crate) fn verify(&self, user: &str, password: &[u8]) -> bool {
        self.users.get(user).is_some_and(|hashed| same(&hashed.of(password), &hashed.hash))
    }
}

impl Hashed {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('$');
        if parts.next() != Some("") {
            return Err("the password is not hashed: run mosquitto_passwd -U on the file".to_owned());
        }
        let iterations = match parts.next() {
            Some("6") => None,
            Some("7") => {
                let number = parts.next().and_then(|number| number.parse().ok());
                let number = number.filter(|number| (1..=ITERATIONS_MAX).contains(number));
                Some(number.ok_or("the number of iterations is not usable")?)
            }
            Some(other) => {
                return Err(format!(
                    "hashes of the kind ${other}$ are not supported; mosquitto_passwd -H sha512-pbkdf2 makes ones that are"
                ));
            }
            None => return Err("the hash has no kind".to_owned()),
        };
        let mut bytes = |what: &str| {
            let decoded = parts.next().and_then(|text| BASE64.decode(text).ok());
            decoded.ok_or_else(|| format!("the {what} is not base64"))
        };
        let (salt, hash) = (bytes("salt")?, bytes("hash")?);
        if hash.len() != HASH_BYTES || parts.next().is_some() {
            return Err("the hash has the wrong length".to_owned());
        }
        Ok(Self { iterations, salt, hash })
    }

    fn of(&self, password: &[u8]) -> Vec<u8> {
        match self.iterations {
            None => Sha512::new().chain_update(password).chain_update(&self.salt).finalize().to_vec(),
            Some(iterations) => pbkdf2(password, &self.salt, iterations),
        }
    }
}

/// The first block of PBKDF2 (RFC 8018, 5.2) with HMAC-SHA-512.
fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    let Ok(keyed) = Hmac::<Sha512>::new_from_slice(password) else { return Vec::new() };
    let mut round = keyed.clone().chain_update(salt).chain_update([0, 0, 0, 1]).finalize().into_bytes();
    let mut sum = round;
    for _ in 1..iterations {
        round = keyed.clone().chain_update(round).finalize().into_bytes();
        sum.iter_mut().zip(&round).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum.to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Made by mosquitto_passwd 2.0.11 and, the third line, by mosquitto_passwd of 1.6.
    const FILE: &str = "# users
bob:$7$101$xRwWEsdYu42BEurJ$43qnOlMXBZ6kwrvPnfTMrcyNE2TJ2DyHA5LKhUo6v90uRiHJUltSACxeCf35YKLokng2PeUpLmVwIY5hL6bLdA==
eve:$7$101$yHU/w4kHdm+ynliB$GBR80zhjJjsoYxkOsHacXMONBu964CdpaIdWAcRDd/KkvP9vtIaOUTkMAMmkIJA6uO9yn0aWzir0/x563U1K5Q==
";

    #[test]
    fn verifies() {
        let file = PasswordFile::parse(FILE).unwrap();
        assert!(file.verify("bob", b"bobpw") && file.verify("eve", b"evepw"));
        assert!(
            !file.verify("bob", b"evepw") && !file.verify("bob", b"") && !file.verify("mallory", b"bobpw")
        );
        let hash = Sha512::new().chain_update(b"secretsalt").finalize();
        let line = format!("old:$6${}${}", BASE64.encode(b"salt"), BASE64.encode(hash));
        assert!(PasswordFile::parse(&line).unwrap().verify("old", b"secret"));
    }

    #[test]
    fn derives_as_the_standard_says() {
        // First bytes of PBKDF2-HMAC-SHA-512("password", "salt", 1).
        assert!(
            pbkdf2(b"password", b"salt", 1).starts_with(&[0x86, 0x7f, 0x70, 0xcf, 0x1a, 0xde, 0x02, 0xcf])
        );
        assert!(
            pbkdf2(b"password", b"salt", 2).starts_with(&[0xe1, 0xd9, 0xc1, 0x6a, 0xa6, 0x81, 0x70, 0x8a])
        );
    }

    #[test]
    fn names_the_line() {
        for (text, expected) in [
            ("\nbob", "line 2: no ':' behind the user name"),
            ("bob:secret", "line 1: the password is not hashed: run mosquitto_passwd -U on the file"),
            ("bob:$7$0$YQ==$YQ==", "line 1: the number of iterations is not usable"),
            ("bob:$6$!$YQ==", "line 1: the salt is not base64"),
            ("bob:$6$YQ==$YQ==", "line 1: the hash has the wrong length"),
        ] {
            assert_eq!(PasswordFile::parse(text).unwrap_err(), expected);
        }
        assert!(
            PasswordFile::parse("a:$argon2id$v=19").unwrap_err().contains("$argon2id$ are not supported")
        );
    }
}
