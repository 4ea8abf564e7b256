//! Batches: ids, limits, and answers that name each entry's fate.

use aws_protocol::error::{ApiError, sqs};
use aws_protocol::json::Object;
use serde::Deserialize;
use std::borrow::Cow;

/// Most entries of one batch.
const ENTRIES_MAX: usize = 10;

/// Input of the batch operations.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<'a, E> {
    #[serde(borrow, default)]
    pub(super) queue_url: Option<Cow<'a, str>>,
    #[serde(default = "Vec::new")]
    pub(super) entries: Vec<E>,
}

/// Checks the ids of a batch. Errors: the batch errors of SQS.
pub(super) fn check_ids<'a>(ids: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<(), ApiError> {
    if ids.len() == 0 {
        return Err(sqs::EMPTY_BATCH.error("There should be at least one entry in the request."));
    }
    if ids.len() > ENTRIES_MAX {
        let text =
            format!("Maximum number of entries per request are {ENTRIES_MAX}. You have sent {}.", ids.len());
        return Err(sqs::TOO_MANY_ENTRIES.error(text));
    }
    for (index, id) in ids.clone().enumerate() {
        let fit = (1..=80).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !fit {
            return Err(sqs::INVALID_ENTRY_ID.error(
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                 It can be at most 80 letters long.",
            ));
        }
        if ids.clone().take(index).any(|other| other == id) {
            return Err(sqs::IDS_NOT_DISTINCT.error(format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

/// Writes `{"Successful":[..],"Failed":[..]}`; a list without entries is left out.
pub(super) fn answer<T>(
    results: &[(&str, Result<T, ApiError>)],
    mut write: impl FnMut(&mut Object<'_>, &T),
) -> String {
    let mut out = String::with_capacity(64 + results.len() * 160);
    let mut object = Object::begin(&mut out);
    let mut list = |name: &str, successful: bool| {
        let mut chosen = results.iter().filter(|(_, result)| result.is_ok() == successful).peekable();
        if chosen.peek().is_none() {
            return;
        }
        aws_protocol::json::push_list(object.member(name), chosen, |out, (id, result)| {
            let mut entry = Object::begin(out);
            entry.text("Id", id);
            match result {
                Ok(value) => write(&mut entry, value),
                Err(error) => {
                    entry.member("SenderFault").push_str(if error.sender_fault() { "true" } else { "false" });
                    entry.text("Code", error.code.query).text("Message", &error.message);
                }
            }
            entry.end();
        });
    };
    list("Successful", true);
    list("Failed", false);
    object.end();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let check = |ids: &[&str]| check_ids(ids.iter().copied()).map_err(|error| error.code);
        assert_eq!(check(&["a", "b-_9"]), Ok(()));
        assert_eq!(check(&[]), Err(&sqs::EMPTY_BATCH));
        assert_eq!(check(&["a"; 11]), Err(&sqs::TOO_MANY_ENTRIES));
        assert_eq!(check(&["a", "a"]), Err(&sqs::IDS_NOT_DISTINCT));
        assert_eq!(check(&["a b"]), Err(&sqs::INVALID_ENTRY_ID));
        assert_eq!(check(&[""]), Err(&sqs::INVALID_ENTRY_ID));
    }

    #[test]
    fn answers_leave_empty_lists_out() {
        let good: [(&str, Result<u64, ApiError>); 1] = [("a", Ok(1))];
        let write = |entry: &mut Object<'_>, number: &u64| {
            entry.number("N", *number);
        };
        assert_eq!(answer(&good, write), r#"{"Successful":[{"Id":"a","N":1}]}"#);
        let bad = [("a", Err(sqs::OVER_LIMIT.error("full")))];
        assert_eq!(
            answer(&bad, write),
            r#"{"Failed":[{"Id":"a","SenderFault":true,"Code":"OverLimit","Message":"full"}]}"#
        );
    }
}
