//! Permissions and topic permissions.
//!
//! A user that may do everything in a virtual host without a permission of its own (the built-in guest, and users of the
//! configuration) is listed with `.*` there; a permission that is put takes the place of that, and deleting it gives it back.

use super::request::{Answer, Members, Outcome, Refusal, Request, bad_request, not_allowed, not_found};
use super::routes::{nothing_here, only};
use super::{AdminDoor, listing, queues};
use crate::auth::account::{Stored, UserRecord, permission_record, topic_record};
use crate::auth::rights::{Permission, TopicPermission};
use crate::runtime::operator::Operation;
use hyper::Method;
use model::Name;
use serde_json::{Value as Json, json};

/// Most permissions, and most topic permissions.
const PERMISSIONS_MAX: usize = 100_000;

fn to_json(user: &str, vhost: &str, permission: Option<&Permission>) -> Json {
    let patterns = permission.map(|one| [one.configure.as_str(), one.write.as_str(), one.read.as_str()]);
    let [configure, write, read] = patterns.unwrap_or([".*"; 3]);
    json!({ "user": user, "vhost": vhost, "configure": configure, "write": write, "read": read })
}

/// A user's permission in a virtual host, implied ones too.
fn one(door: &AdminDoor, user: &Name, vhost: &Name) -> Option<Json> {
    let stored = door.shared.users.stored();
    let own = stored.permissions.get(&(user.clone(), vhost.clone()));
    door.shared.users.rights(user, vhost)?;
    Some(to_json(user, vhost, own))
}

/// A user's permissions.
pub(super) fn of(door: &AdminDoor, user: &Name) -> Vec<Json> {
    let topology = door.topology();
    topology.vhosts().filter_map(|vhost| one(door, user, vhost.name())).collect()
}

/// Every permission.
pub(super) fn all(door: &AdminDoor) -> Vec<Json> {
    door.shared.users.accounts().iter().flat_map(|account| of(door, &account.name)).collect()
}

/// The permissions in a virtual host.
pub(super) fn of_vhost(door: &AdminDoor, request: &Request, vhost: &str) -> Outcome {
    only(request, &Method::GET)?;
    request.check_administrator()?;
    let vhost = queues::visible(door, request, vhost)?;
    let accounts = door.shared.users.accounts();
    Ok(Answer::Json(accounts.iter().filter_map(|account| one(door, &account.name, &vhost)).collect()))
}

/// User and virtual host of a path. Errors: 400 in RabbitMQ's words.
fn ends(door: &AdminDoor, vhost: &str, user: &str) -> Result<(Name, Name), Refusal> {
    let known = door.shared.users.account(user).filter(|_| door.topology().vhost(vhost).is_some());
    let account = known.ok_or_else(|| bad_request("vhost_or_user_not_found"))?;
    Ok((account.name, vhost.into()))
}

/// A permission as a request or a definition file states it.
pub(super) fn stated(body: &Members<'_>) -> Result<Permission, Refusal> {
    body.require(&["configure", "write", "read"])?;
    let text = |name| body.text(name).map(Option::unwrap_or_default);
    Permission::compile(text("configure")?, text("write")?, text("read")?)
        .map_err(|error| bad_request(json!(["invalid_regexp", error])))
}

/// A topic permission as a request or a definition file states it: exchange and patterns.
pub(super) fn stated_topic(body: &Members<'_>) -> Result<(Name, TopicPermission), Refusal> {
    body.require(&["exchange", "write", "read"])?;
    let text = |name| body.text(name).map(Option::unwrap_or_default);
    let (write, read) = (text("write")?, text("read")?);
    Permission::compile("", write, read).map_err(|error| bad_request(json!(["invalid_regexp", error])))?;
    let exchange = super::exchanges::named(text("exchange")?).into();
    Ok((exchange, TopicPermission { write: write.to_owned(), read: read.to_owned() }))
}

async fn change(
    door: &AdminDoor,
    records: Vec<UserRecord>,
    change: impl FnOnce(&mut Stored) + Send + 'static,
) -> Result<(), Refusal> {
    let operation = Operation::Users { change: Box::new(change), records, gone: None };
    door.caller.operate(&Name::new(), operation).await?;
    Ok(())
}

/// Puts a permission; true when there was one of its own.
pub(super) async fn store(
    door: &AdminDoor,
    (user, vhost): (Name, Name),
    permission: Permission,
) -> Result<bool, Refusal> {
    let stored = door.shared.users.stored();
    let existed = stored.permissions.contains_key(&(user.clone(), vhost.clone()));
    if !existed && stored.permissions.len() >= PERMISSIONS_MAX {
        return Err(bad_request("there are the most permissions that can be"));
    }
    let record = permission_record(&user, &vhost, Some(&permission));
    change(door, vec![record], move |stored| drop(stored.permissions.insert((user, vhost), permission)))
        .await?;
    Ok(existed)
}

/// Puts a topic permission; true when there was one.
pub(super) async fn store_topic(
    door: &AdminDoor,
    key: (Name, Name, Name),
    permission: TopicPermission,
) -> Result<bool, Refusal> {
    let stored = door.shared.users.stored();
    let existed = stored.topics.contains_key(&key);
    if !existed && stored.topics.len() >= PERMISSIONS_MAX {
        return Err(bad_request("there are the most topic permissions that can be"));
    }
    let record = topic_record([&key.0, &key.1, &key.2], Some(&permission));
    change(door, vec![record], move |stored| drop(stored.topics.insert(key, permission))).await?;
    Ok(existed)
}

/// Removes the permissions and topic permissions that `gone` picks by user and virtual host.
pub(super) async fn forget(door: &AdminDoor, gone: impl Fn(&Name, &Name) -> bool) -> Result<(), Refusal> {
    let stored = door.shared.users.stored();
    let permissions: Vec<_> =
        stored.permissions.keys().filter(|(user, vhost)| gone(user, vhost)).cloned().collect();
    let topics: Vec<_> = stored.topics.keys().filter(|(user, vhost, _)| gone(user, vhost)).cloned().collect();
    if permissions.is_empty() && topics.is_empty() {
        return Ok(());
    }
    let of_permissions = permissions.iter().map(|(user, vhost)| permission_record(user, vhost, None));
    let of_topics = topics.iter().map(|(user, vhost, exchange)| topic_record([user, vhost, exchange], None));
    let records = of_permissions.chain(of_topics).collect();
    change(door, records, move |stored| {
        permissions.iter().for_each(|key| drop(stored.permissions.remove(key)));
        topics.iter().for_each(|key| drop(stored.topics.remove(key)));
    })
    .await
}

/// `/api/permissions...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    request.check_administrator()?;
    match path {
        [] => {
            only(request, &Method::GET)?;
            let show = async |all: Vec<Json>| all;
            let user = |json: &Json| json.get("user").and_then(Json::as_str).unwrap_or_default().to_owned();
            let named: Vec<(String, Json)> = all(door).into_iter().map(|json| (user(&json), json)).collect();
            listing::answer(
                request,
                named,
                |(user, _)| user,
                async |named| show(named.into_iter().map(|(_, json)| json).collect()).await,
            )
            .await
        }
        [vhost, user] => {
            if request.method == Method::PUT {
                let permission = stated(&request.members()?)?;
                let existed = store(door, ends(door, vhost, user)?, permission).await?;
                return Ok(if existed { Answer::NoContent } else { Answer::Created });
            }
            let (user, vhost) = ends(door, vhost, user).map_err(|_| not_found())?;
            let json = one(door, &user, &vhost).ok_or_else(not_found)?;
            match request.method {
                Method::GET => Ok(Answer::Json(json)),
                Method::DELETE => {
                    let key = (user.clone(), vhost.clone());
                    if !door.shared.users.stored().permissions.contains_key(&key) {
                        return Err(not_found());
                    }
                    let record = permission_record(&user, &vhost, None);
                    change(door, vec![record], move |stored| drop(stored.permissions.remove(&key))).await?;
                    Ok(Answer::NoContent)
                }
                _ => Err(not_allowed()),
            }
        }
        _ => nothing_here(),
    }
}

/// Topic permissions that `of` picks by user and virtual host.
pub(super) fn topics_where(door: &AdminDoor, of: impl Fn(&Name, &Name) -> bool) -> Vec<Json> {
    let stored = door.shared.users.stored();
    let picked = stored.topics.iter().filter(|((user, vhost, _), _)| of(user, vhost));
    let json = picked.map(|((user, vhost, exchange), one)| {
        json!({
            "user": &**user,
            "vhost": &**vhost,
            "exchange": &**exchange,
            "write": one.write,
            "read": one.read,
        })
    });
    json.collect()
}

/// The topic permissions of a user.
pub(super) fn topics_of_user(door: &AdminDoor, user: &str) -> Outcome {
    Ok(Answer::Json(Json::Array(topics_where(door, |of, _| of == user))))
}

/// The topic permissions in a virtual host.
pub(super) fn topics_of_vhost(door: &AdminDoor, request: &Request, vhost: &str) -> Outcome {
    only(request, &Method::GET)?;
    request.check_administrator()?;
    let vhost = queues::visible(door, request, vhost)?;
    Ok(Answer::Json(Json::Array(topics_where(door, |_, of| *of == vhost))))
}

/// `/api/topic-permissions...`
pub(super) async fn topics(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    request.check_administrator()?;
    match path {
        [] => {
            only(request, &Method::GET)?;
            Ok(Answer::Json(Json::Array(topics_where(door, |_, _| true))))
        }
        [vhost, user, ..] if path.len() <= 3 => {
            if request.method == Method::PUT && path.len() == 2 {
                let (exchange, permission) = stated_topic(&request.members()?)?;
                let (user, vhost) = ends(door, vhost, user)?;
                let existed = store_topic(door, (user, vhost, exchange), permission).await?;
                return Ok(if existed { Answer::NoContent } else { Answer::Created });
            }
            let wanted = path.get(2).map(|name| super::exchanges::named(name));
            let stored = door.shared.users.stored();
            let keys = stored.topics.keys().filter(|(of, place, exchange)| {
                of == user && place == vhost && wanted.is_none_or(|wanted| &**exchange == wanted)
            });
            let keys: Vec<(Name, Name, Name)> = keys.cloned().collect();
            if keys.is_empty() {
                return Err(not_found());
            }
            match request.method {
                Method::GET => Ok(Answer::Json(Json::Array(topics_where(door, |of, place| {
                    of == user && place == vhost
                })))),
                Method::DELETE => {
                    let records = keys
                        .iter()
                        .map(|(user, vhost, exchange)| topic_record([user, vhost, exchange], None));
                    let records = records.collect();
                    change(door, records, move |stored| {
                        keys.iter().for_each(|key| drop(stored.topics.remove(key)));
                    })
                    .await?;
                    Ok(Answer::NoContent)
                }
                _ => Err(not_allowed()),
            }
        }
        _ => nothing_here(),
    }
}
