//! A file of the configuration that is read again when the operator says so (SIGHUP).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Makes a value of a file's text. Errors: what is wrong, beginning with the line.
type Parse<T> = fn(&str) -> Result<T, String>;

/// What a file says, as of the last time that it could be read.
pub(crate) struct Reloadable<T> {
    path: PathBuf,
    parse: Parse<T>,
    current: RwLock<Arc<T>>,
}

impl<T> fmt::Debug for Reloadable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reloadable({})", self.path.display())
    }
}

fn read<T>(path: &Path, parse: Parse<T>) -> Result<T, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

impl<T> Reloadable<T> {
    /// Reads the file for the first time. Errors: one sentence that names it.
    pub(crate) fn open(path: &Path, parse: Parse<T>) -> Result<Self, String> {
        let current = RwLock::new(Arc::new(read(path, parse)?));
        Ok(Self { path: path.to_owned(), parse, current })
    }

    /// What it says.
    pub(crate) fn now(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Something that can be read again.
pub(crate) trait Reload: Send + Sync {
    /// Reads it again; what can not be used is told in the log, and what was there stays in force.
    fn reload(&self);
}

impl<T: Send + Sync> Reload for Reloadable<T> {
    fn reload(&self) {
        match read(&self.path, self.parse) {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                tracing::info!(file = %self.path.display(), "read again");
            }
            Err(error) => tracing::error!(error, "not read again: what was there before stays in force"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keeps_what_it_had_when_the_file_is_wrong() {
        let parse: Parse<u32> = |text| text.trim().parse().map_err(|_| "line 1: no number".to_owned());
        let path = std::env::temp_dir().join(format!("waystation-reloadable-{}", std::process::id()));
        std::fs::write(&path, "1").unwrap();
        let number = Reloadable::open(&path, parse).unwrap();
        std::fs::write(&path, "2").unwrap();
        number.reload();
        assert_eq!(*number.now(), 2);
        std::fs::write(&path, "x").unwrap();
        number.reload();
        assert_eq!(*number.now(), 2);
        assert!(Reloadable::open(&path, parse).unwrap_err().ends_with("line 1: no number"));
        std::fs::remove_file(&path).unwrap();
        assert!(Reloadable::open(&path, parse).unwrap_err().starts_with("cannot read "));
    }
}
