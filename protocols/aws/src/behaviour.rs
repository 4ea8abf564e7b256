//! From the arguments of exchanges and bindings to transformations: SNS subscriptions, EventBridge rules and buses.
//!
//! Predicates (filter policies, event patterns) are the engine's; the registry puts both together into one
//! `model::behaviour::Behaviour`.

use crate::arn::Home;
use crate::transform::event::EventEnvelope;
use crate::transform::notification::{Notification, RawDelivery};
use crate::transform::target::TargetInput;
use model::Name;
use model::behaviour::{Behaviour, Transform};
use model::error::{BrokerError, ErrorKind};
use model::value::Table;
use std::sync::Arc;

/// Exchange kind of an SNS topic.
pub const SNS_KIND: &str = "sns";
/// Exchange kind of an EventBridge bus.
pub const BUS_KIND: &str = "event-bus";

/// Names of the arguments of bindings that the AWS door makes.
pub mod arguments {
    /// SNS: ARN of the subscription; its presence makes the binding one.
    pub const SUBSCRIPTION_ARN: &str = "x-sns-subscription-arn";
    /// SNS: protocol of the subscription.
    pub const PROTOCOL: &str = "x-sns-protocol";
    /// SNS: endpoint as the client wrote it.
    pub const ENDPOINT: &str = "x-sns-endpoint";
    /// SNS: true for raw delivery.
    pub const RAW: &str = "x-sns-raw";
    /// SNS: base URL for `UnsubscribeURL`.
    pub const BASE_URL: &str = "x-sns-url";
    /// SNS: further attributes of the subscription, kept and not read.
    pub const ATTRIBUTES: &str = "x-sns-attributes";
    /// SNS: filter policy, JSON text.
    pub const FILTER_POLICY: &str = "x-filter-policy";
    /// SNS: `MessageAttributes` or `MessageBody`.
    pub const FILTER_SCOPE: &str = "x-filter-scope";
    /// EventBridge: ARN of the rule; its presence makes the binding a target of one.
    pub const RULE_ARN: &str = "x-rule";
    /// EventBridge: event pattern, JSON text.
    pub const EVENT_PATTERN: &str = "x-event-pattern";
    /// EventBridge: id of the target within the rule.
    pub const TARGET_ID: &str = "x-target-id";
    /// EventBridge: constant input.
    pub const INPUT: &str = "x-input";
    /// EventBridge: path of the part of the event that is the input.
    pub const INPUT_PATH: &str = "x-input-path";
    /// EventBridge: table of variables of the template, name to path.
    pub const INPUT_PATHS: &str = "x-input-paths";
    /// EventBridge: template of the input.
    pub const INPUT_TEMPLATE: &str = "x-input-template";
    /// EventBridge: message group for FIFO queues and topics.
    pub const MESSAGE_GROUP: &str = "x-message-group-id";
    /// EventBridge: path of the partition key for streams.
    pub const PARTITION_KEY_PATH: &str = "x-partition-key-path";
}

/// Compiles the transformations of one broker.
#[derive(Clone, Debug)]
pub struct Behaviours {
    /// Account and region of vhost `/`.
    pub home: Home,
}

impl Behaviours {
    /// Whether exchanges of `kind` are ours.
    pub fn knows_kind(&self, kind: &str) -> bool {
        kind == SNS_KIND || kind == BUS_KIND
    }

    /// The transformation of a binding out of exchange `source`; `None` when the message goes on as it is. The
    /// predicate is left empty. Errors: `InvalidArgument`.
    pub fn binding(
        &self,
        vhost: &str,
        kind: &str,
        source: &Name,
        table: &Table,
    ) -> Result<Option<Behaviour>, BrokerError> {
        match kind {
            SNS_KIND => Ok(self.subscription(vhost, source, table)),
            BUS_KIND if table.str(arguments::RULE_ARN).is_some() => {
                let input = TargetInput::compile(table)
                    .map_err(|reason| BrokerError::new(ErrorKind::InvalidArgument, reason))?;
                Ok(Some(only(input)))
            }
            _ => Ok(None),
        }
    }

    /// What an exchange does to every message that enters it: a bus wraps what is no event yet.
    pub fn exchange(&self, vhost: &str, kind: &str, name: &Name) -> Option<Behaviour> {
        (kind == BUS_KIND)
            .then(|| only(EventEnvelope { place: self.home.place_of(vhost), bus: name.clone() }))
    }

    fn subscription(&self, vhost: &str, topic: &Name, table: &Table) -> Option<Behaviour> {
        let subscription = table.str(arguments::SUBSCRIPTION_ARN)?;
        if table.get(arguments::RAW).and_then(model::value::Value::as_bool) == Some(true) {
            return Some(only(RawDelivery));
        }
        let base = table.str(arguments::BASE_URL).unwrap_or_default();
        Some(only(Notification {
            topic_arn: self.home.place_of(vhost).arn("sns", topic),
            unsubscribe_url: format!("{base}/?Action=Unsubscribe&SubscriptionArn={subscription}"),
        }))
    }
}

fn only(transform: impl Transform + 'static) -> Behaviour {
    Behaviour { predicate: None, transform: Some(Arc::new(transform)) }
}
