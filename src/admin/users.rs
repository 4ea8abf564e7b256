//! Users: listed, made, changed, deleted. Those of the configuration are shown and can not be changed here.

use super::request::{Answer, Members, Outcome, Refusal, Request, bad_request, not_allowed, not_found};
use super::routes::{nothing_here, only};
use super::{AdminDoor, listing, permissions};
use crate::auth::account::{Account, Stored, USER_KIND, account_record};
use crate::auth::secret::{Hashing, Secret};
use crate::runtime::operator::Operation;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hyper::Method;
use model::{Name, limits::NAME_BYTES_MAX};
use serde_json::{Value as Json, json};

/// Most users made at run time.
const USERS_MAX: usize = 10_000;
/// Most tags of one user.
const TAGS_MAX: usize = 32;

/// `/api/users...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    request.check_administrator()?;
    let users = &door.shared.users;
    match path {
        [] => {
            only(request, &Method::GET)?;
            list(request, users.accounts()).await
        }
        ["without-permissions"] => {
            only(request, &Method::GET)?;
            let accounts = users.accounts().into_iter();
            list(
                request,
                accounts.filter(|account| permissions::of(door, &account.name).is_empty()).collect(),
            )
            .await
        }
        ["bulk-delete"] => bulk_delete(door, request).await,
        [name] => match request.method {
            Method::GET => {
                let account = users.account(name).ok_or_else(not_found)?;
                Ok(Answer::Json(listing::columns(request, to_json(&account))))
            }
            Method::PUT => put(door, request, name).await,
            Method::DELETE => {
                let account = users.account(name).ok_or_else(not_found)?;
                delete(door, &account).await?;
                Ok(Answer::NoContent)
            }
            _ => Err(not_allowed()),
        },
        [name, "permissions"] => {
            let account = users.account(name).ok_or_else(not_found)?;
            Ok(Answer::Json(Json::Array(permissions::of(door, &account.name))))
        }
        [name, "topic-permissions"] => {
            users.account(name).ok_or_else(not_found)?;
            permissions::topics_of_user(door, name)
        }
        _ => nothing_here(),
    }
}

async fn list(request: &Request, accounts: Vec<Account>) -> Outcome {
    let show = async |accounts: Vec<Account>| accounts.iter().map(to_json).collect();
    listing::answer(request, accounts, |account| &account.name, show).await
}

/// A user as listings and definition files have it. Passwords of the configuration are not shown.
pub(super) fn to_json(account: &Account) -> Json {
    let secret = match &account.secret {
        // The built-in guest's: a file that is imported again must not lock it out.
        Secret::Plain(password) if !account.configured => salted(password).unwrap_or(Secret::None),
        other => other.clone(),
    };
    let (hashing, hash) = match &secret {
        Secret::Hashed(hashing, hash) => (*hashing, hash.as_str()),
        Secret::None | Secret::Plain(_) => (Hashing::Sha256, ""),
    };
    json!({
        "name": &*account.name,
        "password_hash": hash,
        "hashing_algorithm": hashing.as_str(),
        "tags": account.tags,
        "limits": {},
    })
}

/// Labels as a list, or as words with commas between them. Errors: 400.
pub(super) fn tags(json: &Json) -> Result<Vec<String>, Refusal> {
    let words: Vec<String> = match json {
        Json::String(words) => words.split(',').map(|word| word.trim().to_owned()).collect(),
        Json::Array(words) => words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => return Err(bad_request("tags are not a list")),
    };
    if words.len() > TAGS_MAX {
        return Err(bad_request(format!("a user has at most {TAGS_MAX} tags")));
    }
    Ok(words.into_iter().filter(|word| !word.is_empty()).collect())
}

fn salted(password: &str) -> Result<Secret, Refusal> {
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).map_err(|error| bad_request(error.to_string()))?;
    Ok(Secret::Hashed(Hashing::Sha256, Hashing::Sha256.hash(salt, password.as_bytes())))
}

/// `/api/auth/hash_password/PASSWORD`
pub(super) fn hash(password: &str) -> Outcome {
    match salted(password)? {
        Secret::Hashed(_, hash) => Ok(Answer::Json(json!({ "ok": hash }))),
        Secret::None | Secret::Plain(_) => Err(not_found()),
    }
}

/// A user as a request or a definition file states it. Errors: 400 in RabbitMQ's words.
pub(super) fn stated(name: &str, body: &Members<'_>) -> Result<Account, Refusal> {
    let tags = tags(body.get("tags").ok_or_else(|| bad_request("tags_not_present"))?)?;
    let secret = match (body.text("password")?, body.text("password_hash")?) {
        (Some(password), _) => salted(password)?,
        (None, None | Some("")) => Secret::None,
        (None, Some(hash)) => {
            BASE64.decode(hash).map_err(|_| bad_request(json!(["not_base64", hash])))?;
            let name = body.text("hashing_algorithm")?.unwrap_or(Hashing::Sha256.as_str());
            let hashing = Hashing::parse(name);
            let hashing =
                hashing.ok_or_else(|| bad_request(json!(["unsupported_hashing_algorithm", name])))?;
            Secret::Hashed(hashing, hash.to_owned())
        }
    };
    Ok(Account { name: name.into(), secret, tags, at_home: Some(Vec::new()), configured: false })
}

/// Makes or changes a user; true when it was there.
/// Errors: 400 for one of the configuration, and for one too many.
pub(super) async fn store(door: &AdminDoor, account: Account) -> Result<bool, Refusal> {
    let users = &door.shared.users;
    let name = account.name.clone();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(bad_request(format!("a user's name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    let known = users.account(&name);
    if known.as_ref().is_some_and(|known| known.configured) {
        return Err(bad_request(format!(
            "user '{name}' is written in the configuration and can not be changed here"
        )));
    }
    if known.is_none() && users.stored().accounts.len() >= USERS_MAX {
        return Err(bad_request(format!("there are the most users that can be: {USERS_MAX}")));
    }
    let records = vec![account_record(&name, Some(&account))];
    let change = Box::new(move |stored: &mut Stored| {
        stored.accounts.insert(account.name.clone(), Some(account));
    });
    door.caller.operate(&Name::new(), Operation::Users { change, records, gone: None }).await?;
    Ok(known.is_some())
}

async fn put(door: &AdminDoor, request: &Request, name: &str) -> Outcome {
    let account = stated(name, &request.members()?)?;
    Ok(if store(door, account).await? { Answer::NoContent } else { Answer::Created })
}

async fn delete(door: &AdminDoor, account: &Account) -> Result<(), Refusal> {
    let name = account.name.clone();
    if account.configured {
        return Err(bad_request(format!(
            "user '{name}' is written in the configuration and can not be changed here"
        )));
    }
    permissions::forget(door, |user, _| *user == name).await?;
    let built_in = door.shared.users.is_built_in(&name);
    let record = if built_in { account_record(&name, None) } else { (USER_KIND, name.clone(), None) };
    let gone = Some(name.clone());
    let change = Box::new(move |stored: &mut Stored| {
        if built_in {
            stored.accounts.insert(name, None);
        } else {
            stored.accounts.remove(&name);
        }
    });
    door.caller.operate(&Name::new(), Operation::Users { change, records: vec![record], gone }).await?;
    Ok(())
}

async fn bulk_delete(door: &AdminDoor, request: &Request) -> Outcome {
    only(request, &Method::POST)?;
    let body = request.members()?;
    body.require(&["users"])?;
    let names =
        body.get("users").and_then(Json::as_array).ok_or_else(|| bad_request("users is not a list"))?;
    let mut accounts = Vec::with_capacity(names.len());
    for name in names {
        let account = name.as_str().and_then(|name| door.shared.users.account(name));
        accounts.push(account.ok_or_else(|| bad_request(json!(["no_such_user", name])))?);
    }
    for account in accounts {
        delete(door, &account).await?;
    }
    Ok(Answer::NoContent)
}
