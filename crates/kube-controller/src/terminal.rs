//! Errors that a retry would not help.

use std::error::Error;
use std::fmt;

use tower::BoxError;

/// An error that a retry would not help: the object does not run again before it, or an object that it depends on, changes.
/// Made by [`terminal`].
#[derive(Debug)]
pub struct Terminal(Marked);

/// What is found among the causes of an error, also if a library such as anyhow hides the type of the first one.
#[derive(Debug)]
struct Marked(BoxError);

/// Marks an error as one that a retry would not help: a spec that makes no sense, a name that is taken.
///
/// ```
/// # use kube_controller::{Action, terminal};
/// fn check(url: &str) -> Result<Action, Box<dyn std::error::Error + Send + Sync>> {
///     if url.is_empty() {
///         return Err(terminal("the URL is empty").into());
///     }
///     Ok(Action::await_change())
/// }
/// ```
pub fn terminal(error: impl Into<BoxError>) -> Terminal {
    Terminal(Marked(error.into()))
}

/// Whether an error, or one of its causes, is terminal.
pub(crate) fn is_terminal(error: &(dyn Error + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.any(|error| error.is::<Terminal>() || error.is::<Marked>())
}

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Terminal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Marked {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_among_the_causes() {
        let error = anyhow::Error::from(terminal("no")).context("while checking");
        assert!(is_terminal(&*BoxError::from(error)));
        assert!(is_terminal(&*BoxError::from(anyhow::Error::from(terminal("no")))));
        assert!(is_terminal(&*BoxError::from(terminal("no"))));
        assert!(!is_terminal(&*BoxError::from("no")));
        assert_eq!(terminal("no").to_string(), "no");
    }
}
