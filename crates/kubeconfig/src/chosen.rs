//! The chosen context, cluster or user, with the errors about it.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::merge::Entry;

/// A chosen entry with the given options, and what error messages need to name it.
pub(crate) struct Chosen<'a, T> {
    entry: String,
    /// `None` if no file defines it.
    file: Option<&'a Path>,
    pub(crate) value: &'a T,
}

impl<'a, T> Chosen<'a, T> {
    pub(crate) fn new(kind: &str, name: &str, entry: &'a Entry<T>) -> Self {
        Self { entry: format!("{kind} {name:?}"), file: Some(&entry.file), value: &entry.value }
    }

    /// An entry, if there is one, some values of which may have been replaced by options.
    pub(crate) fn merged(kind: &str, name: &str, entry: Option<&'a Entry<T>>, value: &'a T) -> Self
    where
        T: PartialEq,
    {
        let replaced = if entry.is_some_and(|entry| entry.value == *value) { "" } else { " with options" };
        Self {
            entry: format!("{kind} {name:?}{replaced}"),
            file: entry.map(|entry| entry.file.as_path()),
            value,
        }
    }

    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Error {
        let (entry, problem) = (self.entry.clone(), problem.into());
        match self.file {
            Some(file) => Error::InvalidEntry { entry, file: file.to_owned(), problem },
            None => Error::InvalidOptions { problem },
        }
    }

    pub(crate) fn unreadable(&self, field: &'static str, path: &str, source: std::io::Error) -> Error {
        let (entry, path) = (self.entry.clone(), PathBuf::from(path));
        match self.file {
            Some(file) => Error::ReadReferenced { field, path, entry, file: file.to_owned(), source },
            None => Error::ReadOption { field, path, source },
        }
    }

    pub(crate) fn readable(&self, field: &'static str, path: &str) -> Result<(), Error> {
        if path.is_empty() {
            return Ok(());
        }
        File::open(path).map(drop).map_err(|source| self.unreadable(field, path, source))
    }
}
