//! Who may enter at one door, where that differs from the users of the broker: password files, certificates whose name
//! is the user, doors open to anyone.

use super::{Refusal, Reloadable, password_file::PasswordFile};
use crate::config::{Anonymous, CertificateUser};
use model::{Name, command::Credentials, session::SessionSeed};
use std::sync::Arc;

/// The rules of a door.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// Who may enter without a name.
    pub(crate) anonymous: Anonymous,
    /// Users of this door, in place of the broker's.
    pub(crate) passwords: Option<Arc<Reloadable<PasswordFile>>>,
    /// What a certificate is good for.
    pub(crate) certificate: CertificateUser,
}

impl Admission {
    /// For doors without rules of their own: the broker's users, nobody without a name.
    pub(crate) const USERS_ONLY: Self =
        Self { anonymous: Anonymous::No, passwords: None, certificate: CertificateUser::Configured };

    /// The user's name or a refusal; `None` leaves it to the broker's users.
    pub(crate) fn decide(
        &self,
        credentials: &Credentials,
        seed: &SessionSeed,
    ) -> Option<Result<Name, Refusal>> {
        if self.certificate != CertificateUser::Configured {
            return Some(seed.certificate_name.clone().ok_or(Refusal::Credentials));
        }
        match (credentials, &self.passwords) {
            (Credentials::Password { user, password }, Some(file)) => {
                let right = file.now().verify(user, password);
                Some(if right { Ok(user.clone()) } else { Err(Refusal::Credentials) })
            }
            (Credentials::Password { user, .. }, None) if self.anonymous == Anonymous::Any => {
                Some(Ok(user.clone()))
            }
            (Credentials::Password { .. }, None) => None,
            (Credentials::External, None) if self.anonymous != Anonymous::Any => None,
            _ => Some(self.nameless(seed)),
        }
    }

    /// What becomes of who the broker's users refused: with a certificate of nobody it may still be let in nameless.
    pub(crate) fn otherwise(
        &self,
        credentials: &Credentials,
        seed: &SessionSeed,
        refusal: Refusal,
    ) -> Result<Name, Refusal> {
        match (credentials, &refusal) {
            (Credentials::External, Refusal::Credentials) => self.nameless(seed),
            _ => Err(refusal),
        }
    }

    fn nameless(&self, seed: &SessionSeed) -> Result<Name, Refusal> {
        let may = match self.anonymous {
            Anonymous::Yes | Anonymous::Any => true,
            Anonymous::Loopback => seed.loopback,
            Anonymous::No => false,
        };
        if may { Ok("anonymous".into()) } else { Err(Refusal::Credentials) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seed(certificate: Option<&'static str>, loopback: bool) -> SessionSeed {
        SessionSeed {
            peer: "p".into(),
            local: "l".into(),
            loopback,
            tls: true,
            certificate_name: certificate.map(Name::from_static),
            random: 1,
        }
    }

    fn password(user: &'static str) -> Credentials {
        Credentials::Password { user: user.into(), password: "x".into() }
    }

    #[test]
    fn certificates_name_the_user_whatever_it_says() {
        let door = Admission { certificate: CertificateUser::CommonName, ..Admission::USERS_ONLY };
        for credentials in [password("other"), Credentials::External, Credentials::Anonymous] {
            assert_eq!(door.decide(&credentials, &seed(Some("cn"), false)), Some(Ok("cn".into())));
            assert_eq!(door.decide(&credentials, &seed(None, true)), Some(Err(Refusal::Credentials)));
        }
    }

    #[test]
    fn doors_differ_in_whom_they_take() {
        let door = |anonymous| Admission { anonymous, ..Admission::USERS_ONLY };
        let far = seed(None, false);
        assert_eq!(door(Anonymous::Yes).decide(&password("u"), &far), None);
        assert_eq!(door(Anonymous::Any).decide(&password("u"), &far), Some(Ok("u".into())));
        assert_eq!(door(Anonymous::Any).decide(&Credentials::External, &far), Some(Ok("anonymous".into())));
        assert_eq!(door(Anonymous::Yes).decide(&Credentials::Anonymous, &far), Some(Ok("anonymous".into())));
        assert_eq!(
            door(Anonymous::Loopback).decide(&Credentials::Anonymous, &far),
            Some(Err(Refusal::Credentials))
        );
        assert_eq!(door(Anonymous::No).decide(&Credentials::External, &far), None);
        let otherwise = |anonymous, credentials: &Credentials| {
            door(anonymous).otherwise(credentials, &far, Refusal::Credentials)
        };
        assert_eq!(otherwise(Anonymous::Yes, &Credentials::External), Ok("anonymous".into()));
        assert_eq!(otherwise(Anonymous::No, &Credentials::External), Err(Refusal::Credentials));
        assert_eq!(otherwise(Anonymous::Yes, &password("u")), Err(Refusal::Credentials));
    }
}
