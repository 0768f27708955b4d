//! Parse errors.

/// The reason why a selector or a path was refused.
///
/// For a selector, the text is the message of kube-apiserver's 400 `BadRequest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) String);
