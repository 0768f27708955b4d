//! A bearer token in a file that someone else replaces, such as the kubelet. Source: client-go
//! `transport/token_source.go`.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::credential::Credential;

/// How long a token is used before the file is read again: client-go's minute minus its leeway of 10 s.
const PERIOD: Duration = Duration::from_secs(50);

/// Reads the token at most once per [`PERIOD`], and after each refusal. If reading fails, the last token is used.
pub(crate) struct TokenFile {
    path: PathBuf,
    /// The kubeconfig's `token`, next to its `tokenFile`.
    fallback: Option<Credential>,
    last: Mutex<Option<(Credential, Instant)>>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    #[error("cannot read token file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("token file {} {problem}", path.display())]
    Content { path: PathBuf, problem: &'static str },
}

impl TokenFileError {
    /// Returns the cause, or what is wrong with the content, for callers that name the file themselves.
    pub(crate) fn into_io(self) -> Result<io::Error, &'static str> {
        match self {
            Self::Read { source, .. } => Ok(source),
            Self::Content { problem, .. } => Err(problem),
        }
    }
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf, fallback: &str) -> Self {
        let fallback = Credential::bearer(fallback).filter(|_| !fallback.is_empty());
        Self { path, fallback, last: Mutex::new(None) }
    }

    pub(crate) fn token(&self) -> Result<Credential, TokenFileError> {
        self.token_at(Instant::now())
    }

    /// Reads the file now, unless a token other than `refused` is known already.
    pub(super) fn renew(&self, refused: &Credential) -> Result<Credential, TokenFileError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match last {
            Some((last, _)) if last != *refused => Ok(last),
            _ => self.read(Instant::now()),
        }
    }

    fn token_at(&self, now: Instant) -> Result<Credential, TokenFileError> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match last {
            Some((last, read)) if now.saturating_duration_since(read) < PERIOD => Ok(last),
            _ => self.read(now),
        }
    }

    fn read(&self, now: Instant) -> Result<Credential, TokenFileError> {
        let content = self.content();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match (content, &mut *last, &self.fallback) {
            (Ok(token), last, _) => {
                *last = Some((token.clone(), now));
                Ok(token)
            }
            (Err(error), Some((token, read)), _) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot re-read the token, using the last one"
                );
                *read = now;
                Ok(token.clone())
            }
            // The file may still appear.
            (Err(_), None, Some(token)) => Ok(token.clone()),
            (Err(error), None, None) => Err(error),
        }
    }

    fn content(&self) -> Result<Credential, TokenFileError> {
        let content = |problem| TokenFileError::Content { path: self.path.clone(), problem };
        let text = std::fs::read_to_string(&self.path)
            .map_err(|source| TokenFileError::Read { path: self.path.clone(), source })?;
        match text.trim() {
            "" => Err(content("is empty")),
            token => Credential::bearer(token)
                .ok_or_else(|| content("contains a character that is not allowed in a header")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(token: &str) -> Credential {
        Credential::bearer(token).unwrap()
    }

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn row_11_the_token_is_trimmed() {
        let (_dir, path) = file(" one\n");
        assert!(TokenFile::new(path, "").token().unwrap() == bearer("one"));
    }

    #[test]
    fn the_file_is_read_again_after_its_period() {
        let (_dir, path) = file("one");
        let source = TokenFile::new(path.clone(), "");
        let start = Instant::now();
        assert!(source.token_at(start).unwrap() == bearer("one"));
        std::fs::write(&path, "two").unwrap();
        assert!(source.token_at(start + PERIOD - Duration::from_millis(1)).unwrap() == bearer("one"));
        assert!(source.token_at(start + PERIOD).unwrap() == bearer("two"));
    }

    #[test]
    fn a_file_that_vanishes_leaves_the_last_token() {
        let (dir, path) = file("one");
        let source = TokenFile::new(path, "");
        let start = Instant::now();
        assert!(source.token_at(start).is_ok());
        dir.close().unwrap();
        assert!(source.token_at(start + PERIOD).unwrap() == bearer("one"));
    }

    #[test]
    fn row_10_the_file_is_taken_before_the_token_beside_it() {
        let (dir, path) = file("from-file");
        assert!(TokenFile::new(path.clone(), "static").token().unwrap() == bearer("from-file"));
        dir.close().unwrap();
        assert!(TokenFile::new(path, "static").token().unwrap() == bearer("static"));
    }

    #[test]
    fn an_empty_file_is_an_error_that_names_it() {
        let (_dir, path) = file("\n");
        let Err(error) = TokenFile::new(path.clone(), "").token() else { panic!("an empty token was taken") };
        assert_eq!(error.to_string(), format!("token file {} is empty", path.display()));
    }
}
