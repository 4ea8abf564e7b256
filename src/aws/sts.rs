//! STS: who am I.

use super::context::{Answer, Context};
use aws_protocol::json::Object;
use aws_protocol::service::Service;

/// Carries out an operation.
pub(super) fn handle(context: &Context<'_>, operation: &'static str) -> Answer {
    if operation != "GetCallerIdentity" {
        return Err(Service::Sts.unsupported(operation));
    }
    let account = &context.identity.account;
    let user = Some(&context.identity.access_key).filter(|key| !key.is_empty()).unwrap_or(account);
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.text("UserId", user).text("Account", account).text("Arn", &format!("arn:aws:iam::{account}:root"));
    object.end();
    Ok(Some(out))
}
