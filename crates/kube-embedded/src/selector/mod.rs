//! Label and field selectors, as apimachinery parses, words and matches them.
//!
//! A selector that parsed always matches in time linear in its own length; the errors are the messages of kube-apiserver's
//! 400 answers.

mod fields;
mod labels;

pub use fields::FieldSelector;
pub use labels::LabelSelector;

/// Why a selector was refused: the message of a 400 `BadRequest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);
