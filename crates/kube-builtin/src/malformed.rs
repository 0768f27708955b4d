//! The errors of protobuf bodies, with the messages of kube-apiserver.

use kube_validation::ParseQuantityError;

/// The reason why the bytes of a protobuf body are malformed.
///
/// The texts up to [`Malformed::WireType`] are those of the code that gogo/protobuf generates, and of apimachinery's
/// serializer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// There are no bytes.
    #[error("empty data")]
    Empty,
    /// They do not begin with `k8s\0`.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// Nothing follows the prefix.
    #[error("empty body")]
    EmptyBody,
    /// The type is not that of a built-in kind.
    #[error(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
    )]
    NoKind {
        /// The `apiVersion` in the body.
        api_version: String,
        /// The `kind` in the body.
        kind: String,
    },
    /// They end inside a value.
    #[error("unexpected EOF")]
    UnexpectedEof,
    /// A number has more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A length is negative.
    #[error("proto: negative length found during unmarshaling")]
    NegativeLength,
    /// A group ends that did not start.
    #[error("proto: {message}: wiretype end group for non-group")]
    EndGroup {
        /// The message around it.
        message: String,
    },
    /// A group ends outside of one.
    #[error("proto: unexpected end of group")]
    UnexpectedEndOfGroup,
    /// A field has a number below 1.
    #[error("proto: {message}: illegal tag {number} (wire type {wire})")]
    IllegalTag {
        /// The message with the field.
        message: String,
        /// The number of the field.
        number: i32,
        /// The wire type of the field.
        wire: u64,
    },
    /// A wire type that does not exist.
    #[error("proto: illegal wireType {0}")]
    IllegalWireType(u8),
    /// A field has a wire type other than that of its type.
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType {
        /// The wire type of the field.
        wire: u8,
        /// Its name in Go.
        field: String,
    },
    /// A quantity is malformed.
    #[error(transparent)]
    Quantity(ParseQuantityError),
    /// An `IntOrString` is neither an integer nor a string.
    #[error("impossible IntOrString.Type")]
    IntOrString,
    /// A number is infinite or NaN, which JSON cannot represent.
    #[error("a number is infinite or NaN")]
    Number,
    /// The JSON in a field is malformed.
    #[error("the JSON in a field is malformed: {0}")]
    Json(String),
    /// Messages are nested more deeply than the limit of 100.
    #[error("messages are nested more than {0} levels deep")]
    TooDeep(usize),
    /// There are more values than the limit of 500,000.
    #[error("more than {0} values")]
    TooMany(usize),
}
