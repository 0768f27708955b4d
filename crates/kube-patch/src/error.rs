//! The errors of patches.

/// The reason why a JSON, merge or strategic merge patch was refused. The variants are the codes of kube-apiserver's
/// responses, the text is the message of its `Status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// 400 `BadRequest`: the patch is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// 413 `RequestEntityTooLarge`: it has too many operations.
    #[error("Request entity too large: {0}")]
    TooLarge(String),
    /// 422 `Invalid`: it does not fit the object. kube-apiserver gives no further detail.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable,
    /// 422 `Invalid`: an operation of a JSON patch does not fit the object. What does not fit, in the words of
    /// evanphx/json-patch v4, only clients of admission see.
    #[error("the server rejected our request due to an error in our request")]
    Inapplicable(String),
    /// 422 `Invalid`: a `test` of a JSON patch found another value. Mutating admission policies then change nothing.
    #[error("the server rejected our request due to an error in our request")]
    TestFailed(String),
    /// 500 without a reason: a strategic merge patch does not fit the type.
    #[error("{0}")]
    Internal(String),
}
