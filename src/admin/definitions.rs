//! Definitions: everything that operators and applications defined, as one file out and in.
//!
//! Import goes in the order of dependence and stops at the first thing that is refused; what came before stays. What exists
//! with other properties is left as it is, as RabbitMQ does.

use super::request::{Answer, Members, Outcome, Refusal, Request, bad_request, members, not_allowed};
use super::routes::nothing_here;
use super::{AdminDoor, arguments, bindings, exchanges, permissions, policies, queues, users, vhosts};
use crate::runtime::operator::Operation;
use engine::topology::Vhost;
use hyper::Method;
use model::{
    Name,
    command::Op,
    definition::Destination,
    error::{BrokerError, ErrorKind},
};
use serde_json::{Value as Json, json};

/// `/api/definitions...`
pub(super) async fn answer(door: &AdminDoor, request: &Request, path: &[&str]) -> Outcome {
    request.check_administrator()?;
    let vhost = match path {
        [] => None,
        [vhost] => Some(queues::visible(door, request, vhost)?),
        _ => return nothing_here(),
    };
    match request.method {
        Method::GET => Ok(Answer::Json(export(door, request, vhost.as_ref()))),
        Method::POST => {
            import(door, request, vhost.as_ref()).await?;
            Ok(Answer::NoContent)
        }
        _ => Err(not_allowed()),
    }
}

fn export(door: &AdminDoor, request: &Request, vhost: Option<&Name>) -> Json {
    let topology = door.topology();
    let wanted: Vec<_> =
        topology.vhosts().filter(|one| vhost.is_none_or(|vhost| one.name() == vhost)).cloned().collect();
    let each = |show: &dyn Fn(&Vhost) -> Vec<Json>| -> Json {
        let all = wanted.iter().flat_map(|one| {
            let whole = vhost.is_none();
            show(one).into_iter().map(move |json| if whole { with_vhost(json, one.name()) } else { json })
        });
        all.collect()
    };
    let of = |operator: bool| policies::all(door, request, operator).into_iter();
    let of = |operator| of(operator).filter(|(place, _)| vhost.is_none_or(|vhost| place == vhost));
    let mut json = json!({
        "rabbit_version": door.version,
        "rabbitmq_version": door.version,
        "product_name": door.product,
        "product_version": door.version,
        "rabbitmq_definition_format": if vhost.is_none() { "cluster" } else { "single_virtual_host" },
        "parameters": of(true).map(|found| parameter(&found)).collect::<Vec<_>>(),
        "policies": of(false).map(|found| policies::to_json(&found)).collect::<Vec<_>>(),
        "queues": each(&queues_of),
        "exchanges": each(&exchanges_of),
        "bindings": each(&bindings_of),
    });
    if let (Json::Object(json), None) = (&mut json, vhost) {
        let accounts = door.shared.users.accounts();
        // A user of the configuration has no hash to be imported elsewhere.
        let made = accounts.iter().filter(|account| !account.configured).map(users::to_json);
        let vhosts = topology.vhosts().map(|vhost| {
            let said = vhost.description();
            let tags: Vec<&str> = said.tags.iter().map(|tag| &**tag).collect();
            json!({ "name": &**vhost.name(), "description": &*said.text, "tags": tags })
        });
        json.insert("users".to_owned(), made.collect());
        json.insert("vhosts".to_owned(), vhosts.collect());
        json.insert("permissions".to_owned(), Json::Array(permissions::all(door)));
        let topics = permissions::topics_where(door, |_, _| true);
        json.insert("topic_permissions".to_owned(), Json::Array(topics));
        json.insert("global_parameters".to_owned(), json!([]));
    }
    json
}

fn with_vhost(mut json: Json, vhost: &Name) -> Json {
    if let Json::Object(object) = &mut json {
        object.insert("vhost".to_owned(), json!(&**vhost));
    }
    json
}

/// An operator policy as RabbitMQ's files have them: a parameter of its component.
fn parameter(found: &(Name, std::sync::Arc<engine::topology::policies::Policy>)) -> Json {
    let mut value = policies::to_json(found);
    if let Json::Object(object) = &mut value {
        object.remove("vhost");
        object.remove("name");
    }
    json!({
        "component": OPERATOR_POLICY,
        "vhost": &*found.0,
        "name": &*found.1.name,
        "value": value,
    })
}

/// The component of operator policies.
const OPERATOR_POLICY: &str = "operator_policy";

fn queues_of(vhost: &Vhost) -> Vec<Json> {
    let kept = vhost.queues().filter(|queue| queue.owner.is_none());
    let show = kept.map(|queue| {
        json!({
            "name": &*queue.name,
            "durable": queue.declare.durable,
            "auto_delete": queue.declare.auto_delete,
            "arguments": arguments::to_json(&queue.declare.arguments),
        })
    });
    show.collect()
}

fn exchanges_of(vhost: &Vhost) -> Vec<Json> {
    let made = vhost.exchanges().filter(|exchange| !exchange.is_predeclared());
    let show = made.map(|exchange| {
        let declare = &exchange.declare;
        json!({
            "name": &*exchange.name,
            "type": &*declare.kind,
            "durable": declare.durable,
            "auto_delete": declare.auto_delete,
            "internal": declare.internal,
            "arguments": arguments::to_json(&declare.arguments),
        })
    });
    show.collect()
}

fn bindings_of(vhost: &Vhost) -> Vec<Json> {
    let kept = vhost.bindings().filter(|binding| match &binding.definition.destination {
        Destination::Queue(name) => vhost.queue(name).is_some_and(|queue| queue.owner.is_none()),
        Destination::Exchange(_) => true,
    });
    let show = kept.map(|binding| {
        let of = &binding.definition;
        let (kind, destination) = match &of.destination {
            Destination::Queue(name) => ("queue", name),
            Destination::Exchange(name) => ("exchange", name),
        };
        json!({
            "source": &*of.source,
            "destination": &**destination,
            "destination_type": kind,
            "routing_key": &*of.key,
            "arguments": arguments::to_json(&of.arguments),
        })
    });
    show.collect()
}

/// The objects of a section; none when it is absent. Errors: 400.
fn section<'a>(file: &Members<'a>, name: &str) -> Result<&'a [Json], Refusal> {
    match file.get(name) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(objects)) => Ok(objects),
        Some(_) => Err(bad_request(format!("'{name}' is not a list"))),
    }
}

/// A file on its way in.
struct Import<'a> {
    door: &'a AdminDoor,
    request: &'a Request,
    /// Where everything goes, when the path names it.
    vhost: Option<&'a Name>,
}

async fn import(door: &AdminDoor, request: &Request, vhost: Option<&Name>) -> Result<(), Refusal> {
    let file = request.members()?;
    let import = Import { door, request, vhost };
    if vhost.is_none() {
        import.whole(&file).await?;
    }
    for object in section(&file, "policies")? {
        import.policy(false, object, object).await?;
    }
    for object in section(&file, "parameters")? {
        let body = members(object)?;
        if body.text("component")? == Some(OPERATOR_POLICY) {
            import.policy(true, object, body.get("value").unwrap_or(&Json::Null)).await?;
        } else {
            let component = body.text("component")?.unwrap_or_default();
            return Err(bad_request(format!("Validation failed\n\ncomponent {component} not found\n")));
        }
    }
    for object in section(&file, "queues")? {
        let (vhost, body) = import.place(object)?;
        import.define(&vhost, Op::DeclareQueue(queues::declaration(name(&body)?, &body)?)).await?;
    }
    for object in section(&file, "exchanges")? {
        let (vhost, body) = import.place(object)?;
        import.define(&vhost, Op::DeclareExchange(exchanges::declaration(name(&body)?, &body)?)).await?;
    }
    for object in section(&file, "bindings")? {
        let (vhost, body) = import.place(object)?;
        let destination = body.text("destination")?.unwrap_or_default();
        let destination = match body.text("destination_type")? {
            Some("exchange") => Destination::Exchange(destination.into()),
            _ => Destination::Queue(destination.into()),
        };
        let source = body.text("source")?.unwrap_or_default();
        import.define(&vhost, Op::Bind(bindings::definition((source, destination), &body)?)).await?;
    }
    Ok(())
}

fn name<'a>(body: &Members<'a>) -> Result<&'a str, Refusal> {
    body.text("name")?.ok_or_else(|| bad_request("[{key_missing,name}]"))
}

impl Import<'_> {
    /// Users, virtual hosts and permissions.
    async fn whole(&self, file: &Members<'_>) -> Result<(), Refusal> {
        for object in section(file, "users")? {
            let body = members(object)?;
            let account = users::stated(name(&body)?, &body)?;
            let known = self.door.shared.users.account(&account.name);
            // Those of the configuration stay as they are.
            if known.is_none_or(|known| !known.configured) {
                users::store(self.door, account).await?;
            }
        }
        for object in section(file, "vhosts")? {
            let body = members(object)?;
            vhosts::make(self.door, &self.request.user.name, name(&body)?, &body).await?;
        }
        for object in section(file, "permissions")? {
            let (vhost, body) = self.place(object)?;
            let user = self.user(&body)?;
            permissions::store(self.door, (user, vhost), permissions::stated(&body)?).await?;
        }
        for object in section(file, "topic_permissions")? {
            let (vhost, body) = self.place(object)?;
            let user = self.user(&body)?;
            let (exchange, permission) = permissions::stated_topic(&body)?;
            permissions::store_topic(self.door, (user, vhost, exchange), permission).await?;
        }
        Ok(())
    }

    fn user(&self, body: &Members<'_>) -> Result<Name, Refusal> {
        let user = body.text("user")?.unwrap_or_default();
        let account = self.door.shared.users.account(user);
        account.map(|account| account.name).ok_or_else(|| bad_request(json!(["no_such_user", user])))
    }

    /// Where an object goes, and its members. Errors: 400 for a virtual host that is not there.
    fn place<'b>(&self, object: &'b Json) -> Result<(Name, Members<'b>), Refusal> {
        let body = members(object)?;
        let named = body.text("vhost")?.map(Name::from);
        let vhost = self.vhost.cloned().or(named).ok_or_else(|| bad_request("[{key_missing,vhost}]"))?;
        if self.door.topology().vhost(&vhost).is_none() {
            return Err(bad_request(json!(["no_such_vhost", &*vhost])));
        }
        Ok((vhost, body))
    }

    async fn policy(&self, operator: bool, object: &Json, value: &Json) -> Result<(), Refusal> {
        let (vhost, body) = self.place(object)?;
        let policy = policies::stated(name(&body)?, &members(value)?)?;
        let operation = Operation::PutPolicy { operator, policy };
        self.door.caller.operate(&vhost, operation).await.map_err(policies::refused)?;
        Ok(())
    }

    async fn define(&self, vhost: &Name, op: Op) -> Result<(), Refusal> {
        match self.door.caller.op(vhost, op).await {
            Ok(_) => Ok(()),
            Err(BrokerError { kind: ErrorKind::Inequivalent, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_section_is_a_list_or_absent() {
        let file = json!({ "queues": [{}], "users": 1 });
        let file = members(&file).unwrap();
        assert_eq!(section(&file, "queues").unwrap().len(), 1);
        assert!(section(&file, "bindings").unwrap().is_empty() && section(&file, "users").is_err());
    }
}
