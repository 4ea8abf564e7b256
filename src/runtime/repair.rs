//! `waystation repair`: makes a data directory that was refused one that a broker starts with, and says what was lost.

use crate::registry::codec;
use model::ids::QueueId;
use model::record::Record;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use store::{CodecLookup, LogOptions, Repair, disk::RealDisk};

/// Repairs every worker's log in `data`. Gives what was found and done, as text, and why it could not be finished.
pub(crate) fn repair(data: &Path) -> (String, Option<String>) {
    let mut text = String::new();
    let dirs = match super::inspection::worker_dirs(data) {
        Ok(dirs) if dirs.is_empty() => return (text, Some(format!("{} holds no log", data.display()))),
        Ok(dirs) => dirs,
        Err(error) => return (text, Some(error)),
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let codecs: CodecLookup = Arc::new(codec);
    let mut outcomes = Vec::new();
    let mut failed = None;
    for dir in &dirs {
        let name = dir.file_name().unwrap_or_default();
        let quarantine = data.join("quarantine").join(seconds.to_string()).join(name);
        match store::repair(dir, Arc::new(RealDisk), LogOptions::default(), &codecs, &quarantine) {
            Ok(outcome) => outcomes.push((dir, quarantine, outcome)),
            Err(error) => {
                failed = Some(error.to_string());
                break;
            }
        }
    }
    // Names are in the first log, which can be read now.
    let names = dirs.first().filter(|_| failed.is_none()).map(|dir| queue_names(dir, &codecs));
    for (dir, quarantine, outcome) in &outcomes {
        describe(&mut text, dir, quarantine, outcome, names.as_ref());
    }
    (text, failed)
}

type Names = HashMap<u64, String>;

/// Names of queues and streams by their ids, as far as they are defined.
fn queue_names(dir: &Path, codecs: &CodecLookup) -> Names {
    let mut names = Names::new();
    let mut each = |_, record| {
        let Record::Define { kind, value: Some(value), .. } = record else { return };
        let json: serde_json::Value = serde_json::from_slice(&value).unwrap_or_default();
        let text = |key| json.get(key).and_then(serde_json::Value::as_str);
        if let (true, Some(id)) = (&*kind == "queue", json.get("id").and_then(serde_json::Value::as_u64)) {
            let title = format!("{} in vhost {}", text("name").unwrap_or("?"), text("vhost").unwrap_or("?"));
            names.insert(id, title);
        }
    };
    if let Err(error) = store::definitions(dir, &RealDisk, codecs, &mut each) {
        tracing::warn!(%error, "names of queues are not known");
    }
    names
}

fn describe(text: &mut String, dir: &Path, quarantine: &Path, outcome: &Repair, names: Option<&Names>) {
    let _ = writeln!(text, "{}", dir.display());
    for lost in &outcome.lost {
        let (from, to) = lost.bytes;
        let _ = write!(text, "  {} bytes {from} to {to}: {}", lost.path.display(), lost.what);
        let _ = match lost.records {
            0 => writeln!(text),
            count => writeln!(text, ", {count} records"),
        };
    }
    let kinds = [("lost", &outcome.missing), ("perhaps lost (if they were durable)", &outcome.doubtful)];
    for (what, places) in kinds {
        for (queue, shard, spans) in places {
            let spans: Vec<_> = spans.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            let title = names.and_then(|names| names.get(&queue.0)).cloned();
            let title = title.unwrap_or_else(|| numbered(*queue));
            let _ = writeln!(text, "  {what}: messages {} of {title}, shard {shard}", spans.join(", "));
        }
    }
    if !outcome.repaired {
        let _ = writeln!(text, "  nothing is wrong");
        return;
    }
    let _ = writeln!(text, "  repaired: {} records taken over", outcome.kept);
    if !outcome.quarantined.is_empty() {
        let count = outcome.quarantined.len();
        let _ =
            writeln!(text, "  {count} files as they were: {} (not needed any more)", quarantine.display());
    }
}

fn numbered(queue: QueueId) -> String {
    format!("queue {queue}, which is not defined any more")
}
