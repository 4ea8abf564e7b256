//! `DeleteMessage` and `ChangeMessageVisibility`, one and many.

use super::batch::{self, Batch};
use super::{Target, fail, invalid, missing, within};
use crate::aws::context::{Answer, Context};
use crate::aws::input::{integer, parse};
use aws_protocol::error::{ApiError, sqs};
use aws_protocol::receipt::Receipt;
use futures_util::future::join_all;
use model::command::Op;
use model::error::{BrokerError, ErrorKind};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    queue_url: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    receipt_handle: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "integer")]
    visibility_timeout: Option<i64>,
}

impl Entry<'_> {
    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// The lease of the handle, when it is one of `target`'s.
    fn receipt(&self, target: &Target) -> Result<Receipt, ApiError> {
        let handle = self.receipt_handle.as_deref().ok_or_else(|| missing("ReceiptHandle"))?;
        Receipt::parse(handle).filter(|receipt| receipt.lease.queue == target.queue.id).ok_or_else(|| {
            sqs::RECEIPT_HANDLE_INVALID
                .error(format!("The input receipt handle \"{handle}\" is not a valid receipt handle."))
        })
    }
}

/// `DeleteMessage`.
pub(super) async fn delete(context: &Context<'_>, input: &[u8]) -> Answer {
    let entry: Entry<'_> = parse(input)?;
    let target = Target::of(context, entry.queue_url.as_deref())?;
    delete_one(context, &target, &entry).await?;
    Ok(None)
}

/// `DeleteMessageBatch`.
pub(super) async fn delete_batch(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: Batch<'_, Entry<'_>> = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    batch::check_ids(input.entries.iter().map(Entry::id))?;
    let each =
        input.entries.iter().map(async |entry| (entry.id(), delete_one(context, &target, entry).await));
    Ok(Some(batch::answer(&join_all(each).await, |_, ()| {})))
}

async fn delete_one(context: &Context<'_>, target: &Target, entry: &Entry<'_>) -> Result<(), ApiError> {
    let Receipt { lease, generation } = entry.receipt(target)?;
    let reply = context.caller().op(&target.place.vhost, Op::Delete { lease, generation }).await;
    let expired = |error: &BrokerError| match error.kind {
        ErrorKind::Precondition => {
            let handle = entry.receipt_handle.as_deref().unwrap_or_default();
            invalid(handle, "ReceiptHandle", "The receipt handle has expired.")
        }
        _ => fail(error),
    };
    reply.map(drop).map_err(|error| expired(&error))
}

/// `ChangeMessageVisibility`.
pub(super) async fn change(context: &Context<'_>, input: &[u8]) -> Answer {
    let entry: Entry<'_> = parse(input)?;
    let target = Target::of(context, entry.queue_url.as_deref())?;
    change_one(context, &target, &entry).await?;
    Ok(None)
}

/// `ChangeMessageVisibilityBatch`.
pub(super) async fn change_batch(context: &Context<'_>, input: &[u8]) -> Answer {
    let input: Batch<'_, Entry<'_>> = parse(input)?;
    let target = Target::of(context, input.queue_url.as_deref())?;
    batch::check_ids(input.entries.iter().map(Entry::id))?;
    let each =
        input.entries.iter().map(async |entry| (entry.id(), change_one(context, &target, entry).await));
    Ok(Some(batch::answer(&join_all(each).await, |_, ()| {})))
}

async fn change_one(context: &Context<'_>, target: &Target, entry: &Entry<'_>) -> Result<(), ApiError> {
    let Receipt { lease, generation } = entry.receipt(target)?;
    let seconds = within(entry.visibility_timeout, "VisibilityTimeout", 0, 43_200)?;
    let lease_ms = seconds.ok_or_else(|| missing("VisibilityTimeout"))? * 1000;
    let reply = context.caller().op(&target.place.vhost, Op::Hide { lease, generation, lease_ms }).await;
    let gone = |error: &BrokerError| {
        match error.kind {
        ErrorKind::Precondition | ErrorKind::NotFound => sqs::NOT_IN_FLIGHT.error(format!(
            "Value {} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for \
             visibility timeout change.",
            entry.receipt_handle.as_deref().unwrap_or_default()
        )),
        _ => fail(error),
    }
    };
    reply.map(drop).map_err(|error| gone(&error))
}
