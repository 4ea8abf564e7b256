//! `waystation inspect`: what is in a data directory, as text. Changes nothing, also while a broker uses it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use store::disk::RealDisk;

/// The directories of the workers' logs, in their order. Errors: the directory can not be read.
pub(super) fn worker_dirs(data: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(data).map_err(|error| format!("cannot read {}: {error}", data.display()))?;
    let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    dirs.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("worker-")));
    dirs.sort();
    Ok(dirs)
}

/// Segments and records of every worker's log. Errors: the directory can not be read.
pub(crate) fn inspect(data: &Path) -> Result<String, String> {
    let mut text = String::new();
    for dir in worker_dirs(data)? {
        let found = store::inspect(&dir, &RealDisk).map_err(|error| error.to_string())?;
        let _ = writeln!(text, "{}", dir.display());
        for segment in &found.segments {
            let records: Vec<String> =
                segment.records.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            let _ = writeln!(
                text,
                "  segment {:>6}  {:>12} of {:>12} bytes  {:>8} commits  {}",
                segment.no,
                segment.used_bytes,
                segment.bytes,
                segment.batches,
                records.join(", ")
            );
        }
        if let Some(torn) = found.torn {
            let _ = writeln!(text, "  unfinished write at {} offset {}", torn.path.display(), torn.offset);
        }
        if let Some(damage) = found.damage {
            let _ = writeln!(text, "  DAMAGED: {damage}");
        }
    }
    Ok(text)
}
