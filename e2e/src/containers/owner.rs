//! Who a container belongs to, so that what a killed run left can be told from what another run uses.
//!
//! An owner is a file that its process holds a lock on, and containers carry its path as a label. The kernel lets go of
//! the lock when the process ends, however it ends: a container is nobody's any more when its owner's file can be
//! locked, or is gone. Process ids would not do: they are given again.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

/// This process as the owner of containers. Dropped, it owns nothing any more.
pub struct Owner {
    file: NamedTempFile,
}

impl Owner {
    /// Of this process.
    ///
    /// # Errors
    /// When the temporary folder cannot be written to.
    pub fn new() -> Result<Owner> {
        let file =
            tempfile::Builder::new().prefix("e2e-owner-").tempfile().context("write the owner's file")?;
        file.as_file().lock().context("lock the owner's file")?;
        Ok(Owner { file })
    }

    /// What the label says.
    pub(crate) fn label(&self) -> String {
        self.file.path().display().to_string()
    }
}

/// Whether the process that this label names has ended.
pub(crate) fn is_gone(label: &str) -> bool {
    match File::open(Path::new(label)) {
        Ok(file) => !matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_there_until_it_is_dropped() {
        let owner = Owner::new().unwrap();
        let label = owner.label();
        assert!(!is_gone(&label));
        drop(owner);
        assert!(is_gone(&label));
    }

    #[test]
    fn a_file_that_nobody_locks_is_what_a_killed_owner_left() {
        let file = NamedTempFile::new().unwrap();
        assert!(is_gone(&file.path().display().to_string()));
    }
}
