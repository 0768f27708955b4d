//! The chosen context, cluster or user, with the errors about it.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::merge::Entry;

/// A chosen entry, with what error messages need to name it.
pub(crate) struct Chosen<'a, T> {
    entry: String,
    pub(crate) file: &'a Path,
    pub(crate) value: &'a T,
}

impl<'a, T> Chosen<'a, T> {
    pub(crate) fn new(kind: &str, name: &str, entry: &'a Entry<T>) -> Self {
        Self { entry: format!("{kind} {name:?}"), file: &entry.file, value: &entry.value }
    }

    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Error {
        Error::InvalidEntry { entry: self.entry.clone(), file: self.file.to_owned(), problem: problem.into() }
    }

    pub(crate) fn unreadable(&self, field: &'static str, path: &str, source: std::io::Error) -> Error {
        let path = PathBuf::from(path);
        Error::ReadReferenced { field, path, entry: self.entry.clone(), file: self.file.to_owned(), source }
    }

    pub(crate) fn readable(&self, field: &'static str, path: &str) -> Result<(), Error> {
        if path.is_empty() {
            return Ok(());
        }
        File::open(path).map(drop).map_err(|source| self.unreadable(field, path, source))
    }
}
