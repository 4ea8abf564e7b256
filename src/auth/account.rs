//! A user, from the configuration or made at run time, and how those made at run time stand in the log.

use super::rights::{Permission, TopicPermission};
use super::secret::{Hashing, Secret};
use model::Name;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Kind of the log's records of users.
pub(crate) const USER_KIND: &str = "user";
/// Kind of the log's records of permissions.
pub(crate) const PERMISSION_KIND: &str = "permission";
/// Kind of the log's records of topic permissions.
pub(crate) const TOPIC_PERMISSION_KIND: &str = "topic-permission";

/// One user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Account {
    /// Name.
    pub(crate) name: Name,
    /// What it proves itself with.
    pub(crate) secret: Secret,
    /// What it may do at the management API: `administrator`, `monitoring`, `policymaker`, `management`, and any other.
    pub(crate) tags: Vec<String>,
    /// Virtual hosts where it may do everything although no permission says so; `None` is all of them.
    pub(crate) at_home: Option<Vec<String>>,
    /// Written in the configuration, so not to be changed at run time.
    pub(crate) configured: bool,
}

/// Users and permissions made at run time. A user without a value was deleted: the built-in guest can be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// By name.
    pub(crate) accounts: BTreeMap<Name, Option<Account>>,
    /// By user and virtual host.
    pub(crate) permissions: BTreeMap<(Name, Name), Permission>,
    /// By user, virtual host and exchange.
    pub(crate) topics: BTreeMap<(Name, Name, Name), TopicPermission>,
}

/// A record of the log: kind, key, and a value unless it is removed.
pub(crate) type UserRecord = (&'static str, Name, Option<Json>);

/// The record of a user; `None` says that it was deleted although the broker brings it along.
pub(crate) fn account_record(name: &Name, account: Option<&Account>) -> UserRecord {
    let value = account.map_or_else(
        || json!({ "name": &**name, "deleted": true }),
        |account| {
            let (hashing, hash) = match &account.secret {
                Secret::Hashed(hashing, hash) => (hashing.as_str(), hash.as_str()),
                Secret::None | Secret::Plain(_) => ("", ""),
            };
            json!({ "name": &**name, "hashing_algorithm": hashing, "password_hash": hash, "tags": account.tags })
        },
    );
    (USER_KIND, name.clone(), Some(value))
}

/// The record of a permission.
pub(crate) fn permission_record(user: &Name, vhost: &Name, permission: Option<&Permission>) -> UserRecord {
    let value = permission.map(|permission| {
        json!({
            "user": &**user,
            "vhost": &**vhost,
            "configure": permission.configure.as_str(),
            "write": permission.write.as_str(),
            "read": permission.read.as_str(),
        })
    });
    (PERMISSION_KIND, key(&[user, vhost]), value)
}

/// The record of a topic permission.
pub(crate) fn topic_record(
    [user, vhost, exchange]: [&Name; 3],
    permission: Option<&TopicPermission>,
) -> UserRecord {
    let value = permission.map(|permission| {
        json!({
            "user": &**user,
            "vhost": &**vhost,
            "exchange": &**exchange,
            "write": permission.write,
            "read": permission.read,
        })
    });
    (TOPIC_PERMISSION_KIND, key(&[user, vhost, exchange]), value)
}

/// Names with their lengths before them, so that no two lists make one key.
fn key(names: &[&Name]) -> Name {
    names.iter().map(|name| format!("{}:{name}", name.len())).collect::<String>().into()
}

impl Stored {
    /// Takes in a record of the log; false when its kind belongs to someone else.
    /// Errors: a record that can not be read.
    pub(crate) fn restore(&mut self, kind: &str, key: &Name, value: Option<&[u8]>) -> Result<bool, String> {
        if ![USER_KIND, PERMISSION_KIND, TOPIC_PERMISSION_KIND].contains(&kind) {
            return Ok(false);
        }
        let Some(value) = value else {
            self.forget(kind, key);
            return Ok(true);
        };
        let json: Json = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let text = |member: &str| {
            let text = json.get(member).and_then(Json::as_str);
            text.map(Name::from).ok_or_else(|| format!("member '{member}' is missing"))
        };
        match kind {
            USER_KIND => {
                let account = (json.get("deleted") != Some(&Json::Bool(true))).then(|| read_account(&json));
                self.accounts.insert(text("name")?, account.transpose()?);
            }
            PERMISSION_KIND => {
                let permission = Permission::compile(&text("configure")?, &text("write")?, &text("read")?)?;
                self.permissions.insert((text("user")?, text("vhost")?), permission);
            }
            _ => {
                let permission =
                    TopicPermission { write: text("write")?.to_string(), read: text("read")?.to_string() };
                self.topics.insert((text("user")?, text("vhost")?, text("exchange")?), permission);
            }
        }
        Ok(true)
    }

    fn forget(&mut self, kind: &str, gone: &Name) {
        match kind {
            USER_KIND => drop(self.accounts.remove(gone)),
            PERMISSION_KIND => self.permissions.retain(|(user, vhost), _| key(&[user, vhost]) != *gone),
            _ => self.topics.retain(|(user, vhost, exchange), _| key(&[user, vhost, exchange]) != *gone),
        }
    }
}

fn read_account(json: &Json) -> Result<Account, String> {
    let text = |member: &str| json.get(member).and_then(Json::as_str).unwrap_or_default();
    let secret = match (text("password_hash"), text("hashing_algorithm")) {
        ("", _) => Secret::None,
        (hash, name) => {
            let hashing =
                Hashing::parse(name).ok_or_else(|| format!("unknown hashing algorithm '{name}'"))?;
            Secret::Hashed(hashing, hash.to_owned())
        }
    };
    let tags = json.get("tags").and_then(Json::as_array).into_iter().flatten();
    Ok(Account {
        name: text("name").into(),
        secret,
        tags: tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect(),
        at_home: Some(Vec::new()),
        configured: false,
    })
}
