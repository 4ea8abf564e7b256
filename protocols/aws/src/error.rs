//! AWS's error codes: the name in JSON, the name in query mode, and the HTTP status, one row each.

use std::borrow::Cow;

/// One error of one service.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// Shape name, as JSON protocols send it in `__type`.
    pub shape: &'static str,
    /// Name in the query protocol and in `x-amzn-query-error`.
    pub query: &'static str,
    /// HTTP status.
    pub status: u16,
}

impl ErrorCode {
    const fn new(shape: &'static str, query: &'static str, status: u16) -> Self {
        Self { shape, query, status }
    }

    /// This error with the sentence for the client.
    pub fn error(&'static self, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError { code: self, message: message.into() }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Which.
    pub code: &'static ErrorCode,
    /// What the client reads.
    pub message: Cow<'static, str>,
}

impl ApiError {
    /// True when the client is to blame (4xx).
    pub fn sender_fault(&self) -> bool {
        self.code.status < 500
    }

    /// `Sender` or `Receiver`, as the query protocol says it.
    pub fn fault(&self) -> &'static str {
        if self.sender_fault() { "Sender" } else { "Receiver" }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $shape:literal $query:literal $status:literal;)*) => {
        $($(#[$doc])* pub static $name: ErrorCode = ErrorCode::new($shape, $query, $status);)*
    };
}

/// Errors that every service shares.
pub mod common {
    use super::ErrorCode;
    codes! {
        /// No signature at all.
        MISSING_TOKEN = "MissingAuthenticationTokenException" "MissingAuthenticationToken" 403;
        /// The signature lacks a part.
        INCOMPLETE_SIGNATURE = "IncompleteSignatureException" "IncompleteSignature" 400;
        /// Unknown access key, to the query services.
        INVALID_CLIENT_TOKEN = "InvalidClientTokenId" "InvalidClientTokenId" 403;
        /// Unknown access key, to the JSON services.
        UNRECOGNIZED_CLIENT = "UnrecognizedClientException" "UnrecognizedClientException" 403;
        /// The signature does not fit the request and the key.
        SIGNATURE_MISMATCH = "InvalidSignatureException" "SignatureDoesNotMatch" 403;
        /// Signed too long ago or in the future.
        REQUEST_EXPIRED = "InvalidSignatureException" "RequestExpired" 400;
        /// No such operation.
        UNKNOWN_OPERATION = "UnknownOperationException" "InvalidAction" 400;
        /// The body could not be read.
        SERIALIZATION = "SerializationException" "MalformedInput" 400;
        /// A constraint of the model is violated.
        VALIDATION = "ValidationException" "ValidationError" 400;
        /// May not.
        ACCESS_DENIED = "AccessDeniedException" "AccessDenied" 403;
        /// Body over the door's limit.
        TOO_LARGE = "RequestEntityTooLargeException" "RequestEntityTooLarge" 413;
        /// A limit of the broker.
        LIMIT_EXCEEDED = "LimitExceededException" "LimitExceeded" 400;
        /// Cannot now.
        UNAVAILABLE = "ServiceUnavailableException" "ServiceUnavailable" 503;
        /// Our fault.
        INTERNAL = "InternalFailure" "InternalFailure" 500;
    }
}

/// SQS. The query names and statuses are those of the model's `awsQueryError` traits.
pub mod sqs {
    use super::ErrorCode;
    codes! {
        /// No such queue.
        QUEUE_DOES_NOT_EXIST = "QueueDoesNotExist" "AWS.SimpleQueueService.NonExistentQueue" 400;
        /// Exists with other attributes.
        QUEUE_NAME_EXISTS = "QueueNameExists" "QueueAlreadyExists" 400;
        /// Purged less than a minute ago.
        PURGE_IN_PROGRESS = "PurgeQueueInProgress" "AWS.SimpleQueueService.PurgeQueueInProgress" 403;
        /// Two entries with one id.
        IDS_NOT_DISTINCT = "BatchEntryIdsNotDistinct" "AWS.SimpleQueueService.BatchEntryIdsNotDistinct" 400;
        /// The batch is too long in bytes.
        BATCH_TOO_LONG = "BatchRequestTooLong" "AWS.SimpleQueueService.BatchRequestTooLong" 400;
        /// No entries.
        EMPTY_BATCH = "EmptyBatchRequest" "AWS.SimpleQueueService.EmptyBatchRequest" 400;
        /// A malformed entry id.
        INVALID_ENTRY_ID = "InvalidBatchEntryId" "AWS.SimpleQueueService.InvalidBatchEntryId" 400;
        /// More than ten entries.
        TOO_MANY_ENTRIES =
            "TooManyEntriesInBatchRequest" "AWS.SimpleQueueService.TooManyEntriesInBatchRequest" 400;
        /// Not in flight any more.
        NOT_IN_FLIGHT = "MessageNotInflight" "AWS.SimpleQueueService.MessageNotInflight" 400;
        /// Known, not built.
        UNSUPPORTED = "UnsupportedOperation" "AWS.SimpleQueueService.UnsupportedOperation" 400;
        /// Not one of our handles.
        RECEIPT_HANDLE_INVALID = "ReceiptHandleIsInvalid" "ReceiptHandleIsInvalid" 404;
        /// A limit of the service.
        OVER_LIMIT = "OverLimit" "OverLimit" 403;
        /// No such attribute.
        INVALID_ATTRIBUTE_NAME = "InvalidAttributeName" "InvalidAttributeName" 400;
        /// An attribute's value makes no sense.
        INVALID_ATTRIBUTE_VALUE = "InvalidAttributeValue" "InvalidAttributeValue" 400;
        /// Characters that XML 1.0 has not.
        INVALID_CONTENTS = "InvalidMessageContents" "InvalidMessageContents" 400;
        /// A parameter makes no sense.
        INVALID_PARAMETER = "InvalidParameterValueException" "InvalidParameterValue" 400;
        /// A parameter is not there.
        MISSING_PARAMETER = "MissingRequiredParameterException" "MissingParameter" 400;
        /// No such source of a move task.
        NOT_FOUND = "ResourceNotFoundException" "ResourceNotFoundException" 404;
    }
}

/// SNS.
pub mod sns {
    use super::ErrorCode;
    codes! {
        /// No such topic or subscription.
        NOT_FOUND = "NotFoundException" "NotFound" 404;
        /// No such resource, in the tagging operations.
        RESOURCE_NOT_FOUND = "ResourceNotFoundException" "ResourceNotFound" 404;
        /// A parameter makes no sense.
        INVALID_PARAMETER = "InvalidParameterException" "InvalidParameter" 400;
        /// An attribute's value makes no sense.
        INVALID_PARAMETER_VALUE = "InvalidParameterValueException" "ParameterValueInvalid" 400;
        /// A limit of filter policies.
        FILTER_POLICY_LIMIT = "FilterPolicyLimitExceededException" "FilterPolicyLimitExceeded" 403;
        /// No entries.
        EMPTY_BATCH = "EmptyBatchRequestException" "EmptyBatchRequest" 400;
        /// More than ten entries.
        TOO_MANY_ENTRIES = "TooManyEntriesInBatchRequestException" "TooManyEntriesInBatchRequest" 400;
        /// Two entries with one id.
        IDS_NOT_DISTINCT = "BatchEntryIdsNotDistinctException" "BatchEntryIdsNotDistinct" 400;
        /// A malformed entry id.
        INVALID_ENTRY_ID = "InvalidBatchEntryIdException" "InvalidBatchEntryId" 400;
        /// The batch is too long in bytes.
        BATCH_TOO_LONG = "BatchRequestTooLongException" "BatchRequestTooLong" 400;
        /// Known, not built.
        UNSUPPORTED = "InvalidActionException" "InvalidAction" 400;
    }
}

/// EventBridge.
pub mod events {
    use super::ErrorCode;
    codes! {
        /// No such bus or rule.
        NOT_FOUND = "ResourceNotFoundException" "ResourceNotFoundException" 400;
        /// Exists.
        ALREADY_EXISTS = "ResourceAlreadyExistsException" "ResourceAlreadyExistsException" 400;
        /// The pattern is malformed.
        INVALID_PATTERN = "InvalidEventPatternException" "InvalidEventPatternException" 400;
        /// A limit of the service.
        LIMIT_EXCEEDED = "LimitExceededException" "LimitExceededException" 400;
        /// Known, not built.
        UNSUPPORTED = "OperationDisabledException" "OperationDisabledException" 400;
    }
}

/// Kinesis.
pub mod kinesis {
    use super::ErrorCode;
    codes! {
        /// No such stream or shard.
        NOT_FOUND = "ResourceNotFoundException" "ResourceNotFoundException" 400;
        /// Exists.
        IN_USE = "ResourceInUseException" "ResourceInUseException" 400;
        /// An argument makes no sense.
        INVALID_ARGUMENT = "InvalidArgumentException" "InvalidArgumentException" 400;
        /// The iterator is older than five minutes.
        EXPIRED_ITERATOR = "ExpiredIteratorException" "ExpiredIteratorException" 400;
        /// A limit of the service.
        LIMIT_EXCEEDED = "LimitExceededException" "LimitExceededException" 400;
        /// More than the shard takes now.
        THROUGHPUT = "ProvisionedThroughputExceededException" "ProvisionedThroughputExceededException" 400;
    }
}
