//! The services behind the one port: their names on the wire and the operations that their models know.

use crate::error::{self, ApiError};

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Simple Queue Service.
    Sqs,
    /// Simple Notification Service.
    Sns,
    /// EventBridge.
    Events,
    /// Kinesis Data Streams.
    Kinesis,
    /// Security Token Service.
    Sts,
}

/// Every service.
pub static SERVICES: [Service; 5] =
    [Service::Sqs, Service::Sns, Service::Events, Service::Kinesis, Service::Sts];

impl Service {
    /// The service of a credential scope.
    pub fn of_signing_name(name: &str) -> Option<Service> {
        SERVICES.into_iter().find(|service| service.signing_name() == name)
    }

    /// The service of an `X-Amz-Target` prefix.
    pub fn of_target(prefix: &str) -> Option<Service> {
        SERVICES.into_iter().find(|service| !prefix.is_empty() && service.target() == prefix)
    }

    /// Name in credential scopes and ARNs.
    pub fn signing_name(self) -> &'static str {
        match self {
            Service::Sqs => "sqs",
            Service::Sns => "sns",
            Service::Events => "events",
            Service::Kinesis => "kinesis",
            Service::Sts => "sts",
        }
    }

    /// `X-Amz-Target` prefix; empty where there is no JSON protocol.
    pub fn target(self) -> &'static str {
        match self {
            Service::Sqs => "AmazonSQS",
            Service::Events => "AWSEvents",
            Service::Kinesis => "Kinesis_20131202",
            Service::Sns | Service::Sts => "",
        }
    }

    /// XML namespace of the query protocol.
    pub fn namespace(self) -> &'static str {
        match self {
            Service::Sqs => "http://queue.amazonaws.com/doc/2012-11-05/",
            Service::Sns => "http://sns.amazonaws.com/doc/2010-03-31/",
            Service::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
            Service::Events | Service::Kinesis => "",
        }
    }

    /// Content type of JSON answers.
    pub fn json_type(self) -> &'static str {
        if self == Service::Sqs { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" }
    }

    /// Prefix of `__type` in JSON errors.
    pub fn error_prefix(self) -> &'static str {
        if self == Service::Sqs { "com.amazonaws.sqs#" } else { "" }
    }

    /// The operations that the service's model knows, sorted.
    pub fn operations(self) -> &'static [&'static str] {
        match self {
            Service::Sqs => SQS_OPERATIONS,
            Service::Sns => SNS_OPERATIONS,
            Service::Events => EVENTS_OPERATIONS,
            Service::Kinesis => KINESIS_OPERATIONS,
            Service::Sts => STS_OPERATIONS,
        }
    }

    /// The model's own name of operation `name`.
    pub fn operation(self, name: &str) -> Option<&'static str> {
        let operations = self.operations();
        operations.binary_search(&name).ok().and_then(|index| operations.get(index).copied())
    }

    /// The answer to an operation that is in the model and not built, in the service's own terms.
    pub fn unsupported(self, operation: &str) -> ApiError {
        let code = match self {
            Service::Sqs => &error::sqs::UNSUPPORTED,
            Service::Sns => &error::sns::UNSUPPORTED,
            Service::Events => &error::events::UNSUPPORTED,
            Service::Kinesis | Service::Sts => &error::common::UNKNOWN_OPERATION,
        };
        code.error(format!("The operation {operation} is not supported."))
    }
}

/// Operations of API version 2012-11-05.
static SQS_OPERATIONS: &[&str] = &[
    "AddPermission",
    "CancelMessageMoveTask",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "CreateQueue",
    "DeleteMessage",
    "DeleteMessageBatch",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendMessage",
    "SendMessageBatch",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
];

/// Operations of API version 2010-03-31.
static SNS_OPERATIONS: &[&str] = &[
    "AddPermission",
    "CheckIfPhoneNumberIsOptedOut",
    "ConfirmSubscription",
    "CreatePlatformApplication",
    "CreatePlatformEndpoint",
    "CreateSMSSandboxPhoneNumber",
    "CreateTopic",
    "DeleteEndpoint",
    "DeletePlatformApplication",
    "DeleteSMSSandboxPhoneNumber",
    "DeleteTopic",
    "GetDataProtectionPolicy",
    "GetEndpointAttributes",
    "GetPlatformApplicationAttributes",
    "GetSMSAttributes",
    "GetSMSSandboxAccountStatus",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
    "ListEndpointsByPlatformApplication",
    "ListOriginationNumbers",
    "ListPhoneNumbersOptedOut",
    "ListPlatformApplications",
    "ListSMSSandboxPhoneNumbers",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "ListTagsForResource",
    "ListTopics",
    "OptInPhoneNumber",
    "Publish",
    "PublishBatch",
    "PutDataProtectionPolicy",
    "RemovePermission",
    "SetEndpointAttributes",
    "SetPlatformApplicationAttributes",
    "SetSMSAttributes",
    "SetSubscriptionAttributes",
    "SetTopicAttributes",
    "Subscribe",
    "TagResource",
    "Unsubscribe",
    "UntagResource",
    "VerifySMSSandboxPhoneNumber",
];

/// Operations of API version 2015-10-07.
static EVENTS_OPERATIONS: &[&str] = &[
    "ActivateEventSource",
    "CancelReplay",
    "CreateApiDestination",
    "CreateArchive",
    "CreateConnection",
    "CreateEndpoint",
    "CreateEventBus",
    "CreatePartnerEventSource",
    "DeactivateEventSource",
    "DeauthorizeConnection",
    "DeleteApiDestination",
    "DeleteArchive",
    "DeleteConnection",
    "DeleteEndpoint",
    "DeleteEventBus",
    "DeletePartnerEventSource",
    "DeleteRule",
    "DescribeApiDestination",
    "DescribeArchive",
    "DescribeConnection",
    "DescribeEndpoint",
    "DescribeEventBus",
    "DescribeEventSource",
    "DescribePartnerEventSource",
    "DescribeReplay",
    "DescribeRule",
    "DisableRule",
    "EnableRule",
    "ListApiDestinations",
    "ListArchives",
    "ListConnections",
    "ListEndpoints",
    "ListEventBuses",
    "ListEventSources",
    "ListPartnerEventSourceAccounts",
    "ListPartnerEventSources",
    "ListReplays",
    "ListRuleNamesByTarget",
    "ListRules",
    "ListTagsForResource",
    "ListTargetsByRule",
    "PutEvents",
    "PutPartnerEvents",
    "PutPermission",
    "PutRule",
    "PutTargets",
    "RemovePermission",
    "RemoveTargets",
    "StartReplay",
    "TagResource",
    "TestEventPattern",
    "UntagResource",
    "UpdateApiDestination",
    "UpdateArchive",
    "UpdateConnection",
    "UpdateEndpoint",
    "UpdateEventBus",
];

/// Operations of API version 2013-12-02.
static KINESIS_OPERATIONS: &[&str] = &[
    "AcknowledgeDeadLetterQueueRecords",
    "AcknowledgeQueueRecords",
    "AddTagsToStream",
    "CreateChannel",
    "CreateQueue",
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteChannel",
    "DeleteQueue",
    "DeleteResourcePolicy",
    "DeleteStream",
    "DeregisterStreamConsumer",
    "DescribeAccountSettings",
    "DescribeChannel",
    "DescribeLimits",
    "DescribeQueue",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "GetRecords",
    "GetResourcePolicy",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListChannels",
    "ListQueues",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "ListTagsForResource",
    "ListTagsForStream",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "PutResourcePolicy",
    "ReceiveDeadLetterQueueRecords",
    "ReceiveQueueRecords",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "RestoreDeadLetterQueueRecords",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateAccountSettings",
    "UpdateChannel",
    "UpdateDeadLetterQueueRecordsVisibility",
    "UpdateMaxRecordSize",
    "UpdateQueue",
    "UpdateQueueRecordsVisibility",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
    "UpdateStreamWarmThroughput",
];

/// Operations of API version 2011-06-15.
static STS_OPERATIONS: &[&str] = &[
    "AssumeRole",
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "AssumeRoot",
    "DecodeAuthorizationMessage",
    "GetAccessKeyInfo",
    "GetCallerIdentity",
    "GetDelegatedAccessToken",
    "GetFederationToken",
    "GetSessionToken",
    "GetWebIdentityToken",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_for_the_search() {
        for service in SERVICES {
            assert!(service.operations().is_sorted());
            for name in service.operations() {
                assert_eq!(service.operation(name), Some(*name));
            }
            assert_eq!(Service::of_signing_name(service.signing_name()), Some(service));
        }
        assert_eq!(Service::Sqs.operation("NoSuch"), None);
        assert_eq!(Service::of_target(""), None);
    }
}
