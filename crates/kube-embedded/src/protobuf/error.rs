//! What is wrong with a body, in the words of kube-apiserver.

/// Why a body is no object.
#[derive(Debug)]
pub(crate) struct Error {
    /// The API version and the kind of the object, once the body told them.
    pub(crate) kind: Option<(String, String)>,
    /// What is wrong.
    pub(crate) why: Malformed,
}

/// What is wrong with the bytes.
///
/// The texts up to `WireType` are those of gogo/protobuf's generated code and of apimachinery's serializer.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("empty data")]
    Empty,
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    #[error("empty body")]
    EmptyBody,
    #[error(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
    )]
    NoKind { api_version: String, kind: String },
    #[error("unexpected EOF")]
    UnexpectedEof,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: negative length found during unmarshaling")]
    NegativeLength,
    #[error("proto: {message}: wiretype end group for non-group")]
    EndGroup { message: String },
    #[error("proto: unexpected end of group")]
    UnexpectedEndOfGroup,
    #[error("proto: {message}: illegal tag {number} (wire type {wire})")]
    IllegalTag { message: String, number: i32, wire: u64 },
    #[error("proto: illegal wireType {0}")]
    IllegalWireType(u8),
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType { wire: u8, field: String },
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Quantity,
    #[error("impossible IntOrString.Type")]
    IntOrString,
    #[error("a time lies outside of the years that RFC 3339 can write")]
    Time,
    #[error("a number is infinite or none")]
    Number,
    #[error("the JSON in a field is malformed: {0}")]
    Json(String),
    #[error("messages lie in more than {0} others")]
    TooDeep(usize),
    #[error("more than {0} values")]
    TooMany(usize),
}
