//! `waystation inspect`: what is in a data directory, as text. Changes nothing, also while a broker uses it.

use crate::registry::codec;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{CodecLookup, Inspection, disk::RealDisk};

/// The directories of the workers' logs, in their order. Errors: the directory can not be read.
pub(super) fn worker_dirs(data: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(data).map_err(|error| format!("cannot read {}: {error}", data.display()))?;
    let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    dirs.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("worker-")));
    dirs.sort();
    Ok(dirs)
}

/// Segments, snapshots, pages and records of every worker's log. Errors: the directory can not be read.
pub(crate) fn inspect(data: &Path) -> Result<String, String> {
    let codecs: CodecLookup = Arc::new(codec);
    let mut text = String::new();
    for dir in worker_dirs(data)? {
        let found = store::inspect(&dir, &RealDisk, &codecs).map_err(|error| error.to_string())?;
        let _ = writeln!(text, "{}", dir.display());
        describe(&mut text, &found);
    }
    Ok(text)
}

fn describe(text: &mut String, found: &Inspection) {
    if let Some(holder) = &found.in_use {
        let _ = writeln!(text, "  in use by process {holder}: figures may be moving");
    }
    for segment in &found.segments {
        let live = match segment.content_bytes {
            0 => 0,
            content => segment.live_bytes.saturating_mul(100).div_ceil(content),
        };
        let _ = writeln!(
            text,
            "  segment {:>6}  {:>12} of {:>12} bytes  {live:>3} % live  {:>8} commits  {}",
            segment.no,
            segment.used_bytes,
            segment.bytes,
            segment.batches,
            counts(&segment.records)
        );
    }
    for (what, files) in [("snapshot", &found.snapshots), ("page", &found.pages)] {
        for file in files {
            let name = file.path.file_stem().unwrap_or_default().to_string_lossy();
            let _ = writeln!(text, "  {what} {name}  {:>12} bytes  {}", file.bytes, counts(&file.records));
            if let Some(damage) = &file.damage {
                let _ = writeln!(text, "    DAMAGED: {damage}");
            }
        }
    }
    if let Some(torn) = &found.torn {
        let _ = writeln!(text, "  unfinished write at {} offset {}", torn.path.display(), torn.offset);
    }
    for lost in &found.lost {
        let (from, to) = lost.bytes;
        let _ = writeln!(text, "  DAMAGED: {} bytes {from} to {to}: {}", lost.path.display(), lost.what);
    }
    if let Some(damage) = &found.damage {
        let _ = writeln!(text, "  a broker does not start with this: {damage}");
    }
}

fn counts(records: &BTreeMap<&'static str, u64>) -> String {
    let counts: Vec<String> = records.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    counts.join(", ")
}
