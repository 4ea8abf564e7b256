//! Who may enter and what they may do there: users, passwords, permissions, and the rule that guest and anonymous come
//! from loopback only.
//!
//! Owns: the users of the configuration and those made at run time. Refuses: protocols' own words for a refusal of entry;
//! they know only yes (a user name) or no (a reason for the log).

pub(crate) mod account;
pub(crate) mod rights;
pub(crate) mod secret;

pub(crate) mod admission;
pub(crate) mod password_file;
mod reloadable;

use crate::config::Anonymous;
use account::{Account, Stored};
pub(crate) use reloadable::{Reload, Reloadable};

use model::{Name, command::Credentials, session::SessionSeed};
use rights::Rights;
use secret::Secret;
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

/// The name of the built-in user.
const GUEST: &str = "guest";

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
    /// What it may do at the management API: `administrator`, `monitoring`, `policymaker`, `management`; nothing when absent.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({}, ***)", self.name)
    }
}

/// The users of a broker.
#[derive(Debug)]
pub(crate) struct Users {
    configured: Vec<Account>,
    stored: RwLock<Arc<Stored>>,
    generation: AtomicU64,
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
    /// The configured users and those of the log; the built-in guest (password guest, loopback only) exists while none is
    /// configured.
    pub(crate) fn new(users: Vec<User>, stored: Stored) -> Self {
        let configured = |user: User| Account {
            name: user.name.into(),
            secret: Secret::Plain(user.password),
            tags: user.tags,
            at_home: user.vhosts,
            configured: true,
        };
        let mut accounts: Vec<Account> = users.into_iter().map(configured).collect();
        if accounts.is_empty() {
            accounts.push(Account {
                name: Name::from_static(GUEST),
                secret: Secret::Plain(GUEST.to_owned()),
                tags: vec!["administrator".to_owned()],
                at_home: None,
                configured: false,
            });
        }
        Self { configured: accounts, stored: RwLock::new(Arc::new(stored)), generation: AtomicU64::new(0) }
    }

    /// True while the built-in guest is the only user.
    pub(crate) fn only_guest(&self) -> bool {
        matches!(self.accounts().as_slice(), [only] if only.name == GUEST && !only.configured)
    }

    /// What was made at run time.
    pub(crate) fn stored(&self) -> Arc<Stored> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what was made at run time. For the topology task, which also writes it to the log.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Stored)) {
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut stored));
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Grows with every change of users and permissions.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// A user by name. The configuration's come first; the built-in guest may be replaced or deleted.
    pub(crate) fn account(&self, name: &str) -> Option<Account> {
        let own = self.configured.iter().find(|account| account.name == name);
        match own {
            Some(account) if account.configured => Some(account.clone()),
            own => match self.stored().accounts.get(name) {
                // With another password it still goes where it went.
                Some(stored) => stored.clone().map(|stored| match own {
                    Some(own) => Account { at_home: own.at_home.clone(), ..stored },
                    None => stored,
                }),
                None => own.cloned(),
            },
        }
    }

    /// Whether a user of this name is brought along by the broker or its configuration.
    pub(crate) fn is_built_in(&self, name: &str) -> bool {
        self.configured.iter().any(|account| account.name == name)
    }

    /// Every user, by name.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        let stored = self.stored();
        let mut names: Vec<&Name> = self.configured.iter().map(|account| &account.name).collect();
        names.extend(stored.accounts.keys());
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| self.account(name)).collect()
    }

    /// What `user` may do in `vhost`; `None` when it may not enter.
    pub(crate) fn rights(&self, user: &Name, vhost: &Name) -> Option<Rights> {
        let stored = self.stored();
        let permission = stored.permissions.get(&(user.clone(), vhost.clone()));
        let at_home = match self.account(user) {
            Some(account) => account.at_home.is_none_or(|home| home.iter().any(|known| *known == **vhost)),
            // Those who entered without a name.
            None => user == "anonymous",
        };
        if permission.is_none() && !at_home {
            return None;
        }
        let first = (user.clone(), vhost.clone(), Name::new());
        let topics = stored.topics.range(first..).take_while(|((u, v, _), _)| u == user && v == vhost);
        Some(Rights::new((user, vhost), permission, topics.map(|((_, _, exchange), one)| (exchange, one))))
    }

    /// Name of the user that the credentials belong to. An empty `vhost` only authenticates: AMQP clients name theirs
    /// later. `exists` says whether there is such a virtual host.
    pub(crate) fn enter(
        &self,
        credentials: &Credentials,
        vhost: &Name,
        seed: &SessionSeed,
        anonymous: Anonymous,
        exists: impl FnOnce(&str) -> bool,
    ) -> Result<Name, Refusal> {
        let name = match credentials {
            Credentials::Password { user, password } => self.password(user, password, seed)?,
            Credentials::Anonymous => match anonymous {
                Anonymous::Yes | Anonymous::Any => "anonymous".into(),
                Anonymous::Loopback if seed.loopback => "anonymous".into(),
                _ => return Err(Refusal::Credentials),
            },
            Credentials::External => {
                let name = seed.certificate_name.clone().ok_or(Refusal::Credentials)?;
                let known = self.account(&name).filter(|account| account.name != GUEST || account.configured);
                known.ok_or(Refusal::Credentials)?.name
            }
        };
        if vhost.is_empty() {
            return Ok(name);
        }
        if !vhost.starts_with("aws:") && !exists(vhost) {
            return Err(Refusal::NoVhost);
        }
        match (credentials, self.rights(&name, vhost)) {
            (Credentials::Anonymous, _) | (_, Some(_)) => Ok(name),
            _ => Err(Refusal::VhostRefused(name)),
        }
    }

    fn password(&self, user: &Name, password: &[u8], seed: &SessionSeed) -> Result<Name, Refusal> {
        let known = self.account(user).ok_or(Refusal::Credentials)?;
        let from_here = seed.loopback || known.configured || known.name != GUEST;
        if from_here && known.secret.fits(password) { Ok(known.name) } else { Err(Refusal::Credentials) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(
        users: &Users,
        user: &'static str,
        password: &'static str,
        loopback: bool,
        vhost: &'static str,
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
        users.enter(&credentials, &vhost.into(), &seed, Anonymous::Loopback, |vhost| {
            ["/", "v"].contains(&vhost)
        })
    }

    #[test]
    fn guest_only_from_loopback_and_only_while_alone() {
        let bare = Users::new(vec![], Stored::default());
        assert_eq!(check(&bare, "guest", "guest", true, "/"), Ok("guest".into()));
        assert_eq!(check(&bare, "guest", "guest", false, "/"), Err(Refusal::Credentials));
        assert_eq!(check(&bare, "guest", "wrong", true, "/"), Err(Refusal::Credentials));
        assert_eq!(check(&bare, "guest", "guest", true, "nope"), Err(Refusal::NoVhost));
        let user =
            User { name: "a".into(), password: "b".into(), vhosts: Some(vec!["v".into()]), tags: vec![] };
        let own = Users::new(vec![user], Stored::default());
        assert_eq!(check(&own, "guest", "guest", true, "/"), Err(Refusal::Credentials));
        assert_eq!(check(&own, "a", "b", false, "v"), Ok("a".into()));
        assert_eq!(check(&own, "a", "b", false, "/"), Err(Refusal::VhostRefused("a".into())));
        assert_eq!(check(&own, "", "", true, "/"), Ok("anonymous".into()));
        assert_eq!(check(&own, "", "", false, "/"), Err(Refusal::Credentials));
    }

    #[test]
    fn users_made_at_run_time_enter_where_permissions_say() {
        let users = Users::new(vec![], Stored::default());
        let name = Name::from_static("u");
        let hash = secret::Hashing::Sha256.hash([1, 2, 3, 4], b"p");
        let account = Account {
            name: name.clone(),
            secret: Secret::Hashed(secret::Hashing::Sha256, hash),
            tags: vec!["monitoring".into()],
            at_home: Some(vec![]),
            configured: false,
        };
        let permission = rights::Permission::compile("", "", ".*").unwrap();
        let topic = rights::TopicPermission { write: "^a".into(), read: ".*".into() };
        users.change(|stored| {
            stored.accounts.insert(name.clone(), Some(account.clone()));
            stored.permissions.insert((name.clone(), "v".into()), permission);
            stored.topics.insert((name.clone(), "v".into(), "amq.topic".into()), topic);
        });
        assert_eq!(check(&users, "u", "p", false, "v"), Ok(name.clone()));
        assert_eq!(check(&users, "u", "p", false, "/"), Err(Refusal::VhostRefused(name.clone())));
        assert_eq!(check(&users, "u", "wrong", false, "v"), Err(Refusal::Credentials));
        let mut restored = Stored::default();
        let stored = users.stored();
        let accounts = stored.accounts.iter().map(|(name, one)| account::account_record(name, one.as_ref()));
        let permissions = stored.permissions.iter();
        let permissions = permissions.map(|((u, v), one)| account::permission_record(u, v, Some(one)));
        let topics = stored.topics.iter();
        let topics = topics.map(|((u, v, e), one)| account::topic_record([u, v, e], Some(one)));
        for (kind, key, value) in accounts.chain(permissions).chain(topics) {
            let value = value.map(|value| value.to_string());
            assert_eq!(restored.restore(kind, &key, value.as_ref().map(|text| text.as_bytes())), Ok(true));
        }
        assert_eq!(restored.accounts.get(&name), Some(&Some(account)));
        assert_eq!(restored.permissions, users.stored().permissions);
        assert_eq!(restored.topics, users.stored().topics);
        let (kind, key, _) = account::permission_record(&name, &"v".into(), None);
        assert_eq!(restored.restore(kind, &key, None), Ok(true));
        assert!(restored.permissions.is_empty());
    }

    #[test]
    fn the_built_in_guest_can_be_deleted() {
        let users = Users::new(vec![], Stored::default());
        assert!(users.only_guest() && users.is_built_in(GUEST));
        users.change(|stored| drop(stored.accounts.insert(GUEST.into(), None)));
        assert_eq!(check(&users, "guest", "guest", true, "/"), Err(Refusal::Credentials));
        assert!(users.accounts().is_empty());
    }
}
