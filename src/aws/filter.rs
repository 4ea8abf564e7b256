//! Filter policies of SNS subscriptions, asked about message attributes by the names that the publisher gave them.

use aws_protocol::convert;
use engine::filter::{SnsPolicy, SnsPredicate, SnsScope};
use model::behaviour::{Predicate, Scratch};
use model::message::Message;

/// A compiled filter policy. The engine's own predicate looks at the envelope's headers, in which attributes such as
/// `type` or `priority` are no headers any more; this one looks at the attributes themselves.
pub(crate) struct SubscriptionFilter(SnsPredicate);

impl SubscriptionFilter {
    /// Compiles a policy; `scope` is `FilterPolicyScope`. Errors: the reason, to stand behind
    /// `Invalid parameter: FilterPolicy: `.
    pub(crate) fn compile(policy: &str, scope: Option<&str>) -> Result<Self, String> {
        let scope = if scope == Some("MessageBody") { SnsScope::Body } else { SnsScope::Attributes };
        SnsPolicy::compile(policy, scope).map(|policy| Self(SnsPredicate(policy)))
    }
}

impl Predicate for SubscriptionFilter {
    fn matches(&self, message: &Message) -> bool {
        self.matches_with(message, &mut Scratch::default())
    }

    fn matches_with(&self, message: &Message, scratch: &mut Scratch) -> bool {
        let policy = &self.0.0;
        match policy.scope() {
            SnsScope::Attributes => policy.matches_attributes(&convert::filter_table(message)),
            SnsScope::Body => self.0.matches_with(message, scratch),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aws_protocol::attributes::{Attribute, Content};
    use aws_protocol::native;
    use model::message::Body;

    #[test]
    fn attributes_are_asked_for_by_their_own_names() {
        let native = native::encode(native::TEXT, &[1; 16], |writer| {
            let content = Content::Text("order".into());
            writer.attribute(&Attribute { name: "type".into(), data_type: "String".into(), content });
        });
        let message = Message::new("t".into(), "t".into(), native, Body::new(), 0);
        for (policy, matches) in [(r#"{"type":["order"]}"#, true), (r#"{"type":["other"]}"#, false)] {
            assert_eq!(SubscriptionFilter::compile(policy, None).unwrap().matches(&message), matches);
        }
        assert!(SubscriptionFilter::compile("{", None).is_err());
    }
}
