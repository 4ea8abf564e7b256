//! The AWS door: SQS, SNS, EventBridge, Kinesis and STS over HTTP/1.1 on one port.
//!
//! Owns: HTTP, who the caller is, and what each operation does to queues, exchanges and streams. Refuses: how AWS's
//! formats look (`aws_protocol`) and how the broker works (it is only told through [`Caller`]).

mod access;
mod context;
mod events;
mod fifo;
mod filter;
mod ids;
mod input;
mod kinesis;
mod server;
mod sns;
mod sqs;
mod sts;

pub(crate) use filter::SubscriptionFilter;
pub(crate) use server::serve_connection;

use crate::runtime::caller::Caller;
use aws_protocol::arn::Home;
use fifo::RecentSends;
use ids::IdSource;

/// An access key that clients may sign with.
#[derive(Clone)]
pub(crate) struct AccessKey {
    /// Access key id.
    pub(crate) id: String,
    /// Secret.
    pub(crate) secret: String,
    /// Account that it acts for, twelve digits.
    pub(crate) account: String,
}

/// The door's configuration.
#[derive(Clone)]
pub(crate) struct AwsConfig {
    /// Region of vhost `/`.
    pub(crate) region: String,
    /// Account of vhost `/`, twelve digits.
    pub(crate) account: String,
    /// Keys that are accepted when `verify`.
    pub(crate) keys: Vec<AccessKey>,
    /// Check signatures. Otherwise any key is accepted, and one of twelve digits names the account.
    pub(crate) verify: bool,
    /// Largest request body.
    pub(crate) body_bytes_max: usize,
    /// What queue URLs begin with; `None` takes the request's own host.
    pub(crate) base_url: Option<String>,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            account: "000000000000".into(),
            keys: Vec::new(),
            verify: false,
            // PutRecords takes 10 MiB of data, which is a third more in base64.
            body_bytes_max: 16 * 1024 * 1024,
            base_url: None,
        }
    }
}

/// What all connections of the door share.
pub(crate) struct AwsDoor {
    caller: Caller,
    config: AwsConfig,
    home: Home,
    ids: IdSource,
    recent: RecentSends,
    /// When the broker started.
    started: model::Millis,
    /// Held while a definition is read, changed and written back (rules, tags).
    definitions: tokio::sync::Mutex<()>,
}

impl AwsDoor {
    /// A door to the broker behind `caller`.
    pub(crate) fn new(caller: Caller, config: AwsConfig) -> Self {
        let home = Home { account: config.account.clone(), region: config.region.clone() };
        Self {
            started: caller.now(),
            caller,
            config,
            home,
            ids: IdSource::default(),
            recent: RecentSends::default(),
            definitions: tokio::sync::Mutex::new(()),
        }
    }
}
