//! Errors of evaluation, with cel-go's texts.

use std::{borrow::Cow, fmt};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Error {
    /// An error of an operation; `||`, `&&` and `has` may swallow it.
    Message(Cow<'static, str>),
    /// The limit of the cost is exceeded: nothing swallows that.
    Cancelled,
    /// kube-apiserver's evaluation ends with a panic here, which becomes an error: nothing swallows that either.
    Internal(String),
}

impl Error {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Message(message.into())
    }

    /// Whether the error ends the whole evaluation.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Message(_))
    }

    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    pub(crate) fn no_such_key(key: impl fmt::Display) -> Self {
        Self::new(format!("no such key: {key}"))
    }

    pub(crate) fn index_out_of_bounds(index: impl fmt::Display) -> Self {
        Self::new(format!("index out of bounds: {index}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.write_str(message),
            Self::Internal(message) => write!(f, "internal error: {message}"),
            Self::Cancelled => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

impl std::error::Error for Error {}

/// An overflow of `what`: `integer`, `unsigned integer`, `duration` or `timestamp`.
pub(crate) fn overflow(what: &str) -> Error {
    Error::new(format!("{what} overflow"))
}
