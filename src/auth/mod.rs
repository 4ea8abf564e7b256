//! Who may enter: users, passwords, and the rule that guest and anonymous come from loopback only.
//!
//! Refuses: protocols' own words for a refusal; they know only yes (a user name) or no (a reason for the log).

pub(crate) mod admission;
pub(crate) mod password_file;
mod reloadable;

use crate::config::Anonymous;
pub(crate) use reloadable::{Reload, Reloadable};

use model::{Name, command::Credentials, session::SessionSeed};

/// A user as configured.
#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name.
    pub name: String,
    /// Password, as it is.
    pub password: String,
    /// Virtual hosts that it may enter; all when absent.
    pub vhosts: Option<Vec<String>>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({}, ***)", self.name)
    }
}

/// The users of a broker.
#[derive(Debug)]
pub(crate) struct Users {
    users: Vec<User>,
    guest: bool,
    vhosts: Vec<String>,
}

/// Why somebody may not enter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Wrong name or password, or not from here.
    Credentials,
    /// No such virtual host.
    NoVhost,
    /// Not into this virtual host.
    VhostRefused(Name),
}

impl Users {
    /// The configured users; the built-in guest (password guest, loopback only) exists while none is configured.
    pub(crate) fn new(users: Vec<User>, mut vhosts: Vec<String>) -> Self {
        if !vhosts.iter().any(|vhost| vhost == "/") {
            vhosts.push("/".to_owned());
        }
        Self { guest: users.is_empty(), users, vhosts }
    }

    /// True while the built-in guest is the only user.
    pub(crate) fn only_guest(&self) -> bool {
        self.guest
    }

    /// Name of the user that the credentials belong to. An empty `vhost` only authenticates: AMQP clients name theirs
    /// later.
    pub(crate) fn enter(
        &self,
        credentials: &Credentials,
        vhost: &str,
        seed: &SessionSeed,
        anonymous: Anonymous,
    ) -> Result<Name, Refusal> {
        let (name, vhosts) = match credentials {
            Credentials::Password { user, password } => self.password(user, password, seed)?,
            Credentials::Anonymous => match anonymous {
                Anonymous::Yes | Anonymous::Any => ("anonymous".into(), None),
                Anonymous::Loopback if seed.loopback => ("anonymous".into(), None),
                _ => return Err(Refusal::Credentials),
            },
            Credentials::External => {
                let name = seed.certificate_name.clone().ok_or(Refusal::Credentials)?;
                let user = self.users.iter().find(|user| user.name == *name).ok_or(Refusal::Credentials)?;
                (name, user.vhosts.as_ref())
            }
        };
        if vhost.is_empty() {
            return Ok(name);
        }
        if !self.vhosts.iter().any(|known| known == vhost) && !vhost.starts_with("aws:") {
            return Err(Refusal::NoVhost);
        }
        if vhosts.is_some_and(|allowed| !allowed.iter().any(|known| known == vhost)) {
            return Err(Refusal::VhostRefused(name));
        }
        Ok(name)
    }

    fn password(
        &self,
        user: &Name,
        password: &[u8],
        seed: &SessionSeed,
    ) -> Result<(Name, Option<&Vec<String>>), Refusal> {
        if self.guest {
            let right = user == "guest" && same(password, b"guest") && seed.loopback;
            return if right { Ok((user.clone(), None)) } else { Err(Refusal::Credentials) };
        }
        let known = self.users.iter().find(|known| *user == known.name).ok_or(Refusal::Credentials)?;
        if same(known.password.as_bytes(), password) {
            Ok((user.clone(), known.vhosts.as_ref()))
        } else {
            Err(Refusal::Credentials)
        }
    }
}

/// Compares without telling by its time where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        users: &Users,
        user: &'static str,
        password: &'static str,
        loopback: bool,
        vhost: &str,
    ) -> Result<Name, Refusal> {
        let seed = SessionSeed {
            peer: "p".into(),
            local: "l".into(),
            loopback,
            tls: false,
            certificate_name: None,
            random: 1,
        };
        let credentials = match user {
            "" => Credentials::Anonymous,
            _ => Credentials::Password { user: user.into(), password: password.into() },
        };
        users.enter(&credentials, vhost, &seed, Anonymous::Loopback)
    }

    #[test]
    fn guest_only_from_loopback_and_only_while_alone() {
        let bare = Users::new(vec![], vec![]);
        assert_eq!(check(&bare, "guest", "guest", true, "/"), Ok("guest".into()));
        assert_eq!(check(&bare, "guest", "guest", false, "/"), Err(Refusal::Credentials));
        assert_eq!(check(&bare, "guest", "wrong", true, "/"), Err(Refusal::Credentials));
        assert_eq!(check(&bare, "guest", "guest", true, "nope"), Err(Refusal::NoVhost));
        let user = User { name: "a".into(), password: "b".into(), vhosts: Some(vec!["v".into()]) };
        let own = Users::new(vec![user], vec!["v".into()]);
        assert_eq!(check(&own, "guest", "guest", true, "/"), Err(Refusal::Credentials));
        assert_eq!(check(&own, "a", "b", false, "v"), Ok("a".into()));
        assert_eq!(check(&own, "a", "b", false, "/"), Err(Refusal::VhostRefused("a".into())));
        assert_eq!(check(&own, "", "", true, "/"), Ok("anonymous".into()));
        assert_eq!(check(&own, "", "", false, "/"), Err(Refusal::Credentials));
    }
}
