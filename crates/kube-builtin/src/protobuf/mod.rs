//! Converts request bodies in `application/vnd.kubernetes.protobuf` to JSON. client-go's typed clients, kubectl and
//! controller-runtime send these for built-in kinds.
//!
//! Such a body is the bytes `k8s\0` followed by a `runtime.Unknown`, which names the type and has the object's own message
//! in its `raw`. Bodies are interpreted as by kube-apiserver (unknown fields, a message in several parts, zero values that
//! JSON omits), and errors have its messages. No input causes a panic, and at most 500,000 values are created.

mod decode;
mod well_known;

#[cfg(test)]
mod tests;

use serde_json::Value;

use self::decode::Decoder;
pub use crate::malformed::Malformed;
use crate::messages::Messages;
use crate::wire::{self, Reader};

/// The media type of such a body.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The first bytes of a body.
const PREFIX: &[u8] = b"k8s\0";

/// The reason why a body cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The `apiVersion` and the `kind` of the object, if the envelope could be read.
    pub type_meta: Option<(String, String)>,
    /// The error.
    pub problem: Malformed,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for DecodeError {}

/// Decodes the object in a body. `api_version` and `kind` are its type if the body does not name one.
///
/// Takes time and memory linear in the size of the body, and creates at most 500,000 values.
///
/// # Errors
/// Fails if the bytes are malformed, or the type is not a built-in kind.
pub fn decode(body: &[u8], api_version: &str, kind: &str) -> Result<Value, DecodeError> {
    let unrecognized = |problem| DecodeError { type_meta: None, problem };
    if body.is_empty() {
        return Err(unrecognized(Malformed::Empty));
    }
    let envelope = body.strip_prefix(PREFIX).ok_or_else(|| unrecognized(Malformed::Prefix))?;
    if envelope.is_empty() {
        return Err(unrecognized(Malformed::EmptyBody));
    }
    let mut unknown = Unknown::parse(envelope).map_err(unrecognized)?;
    if unknown.kind.is_empty() {
        kind.clone_into(&mut unknown.kind);
    }
    // apimachinery treats a text with two slashes as no version at all.
    if unknown.api_version.is_empty() || unknown.api_version.matches('/').count() > 1 {
        api_version.clone_into(&mut unknown.api_version);
    }
    let Unknown { api_version, kind, raw } = unknown;
    match object(&api_version, &kind, &raw) {
        Ok(object) => Ok(object),
        Err(problem) => Err(DecodeError { type_meta: Some((api_version, kind)), problem }),
    }
}

/// Decodes the `DeleteOptions` in the body of a DELETE.
///
/// # Errors
/// Fails if the bytes are malformed, or of another type.
pub fn delete_options(body: &[u8]) -> Result<Value, Malformed> {
    let options = decode(body, "v1", "DeleteOptions").map_err(|error| error.problem)?;
    let text = |field: &str| options[field].as_str().unwrap_or_default().to_owned();
    match text("kind") {
        kind if kind == "DeleteOptions" => Ok(options),
        kind => Err(Malformed::NoKind { api_version: text("apiVersion"), kind }),
    }
}

fn object(api_version: &str, kind: &str, raw: &[u8]) -> Result<Value, Malformed> {
    let messages = Messages::get();
    let message = messages
        .find(api_version, kind)
        .ok_or_else(|| Malformed::NoKind { api_version: api_version.to_owned(), kind: kind.to_owned() })?;
    let mut object = Decoder::new(messages).object(message, raw)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(object.into())
}

/// apimachinery's `runtime.Unknown`. Its `contentEncoding` and `contentType` are ignored there, too.
#[derive(Default)]
struct Unknown {
    api_version: String,
    kind: String,
    raw: Vec<u8>,
}

impl Unknown {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut unknown = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Unknown")? {
            match tag.number {
                1 => unknown.parse_type(reader.bytes(tag, "TypeMeta")?)?,
                2 => unknown.raw = reader.bytes(tag, "Raw")?.to_vec(),
                3 => drop(reader.bytes(tag, "ContentEncoding")?),
                4 => drop(reader.bytes(tag, "ContentType")?),
                _ => reader.skip(tag)?,
            }
        }
        Ok(unknown)
    }

    fn parse_type(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("TypeMeta")? {
            match tag.number {
                1 => self.api_version = wire::text(reader.bytes(tag, "APIVersion")?),
                2 => self.kind = wire::text(reader.bytes(tag, "Kind")?),
                _ => reader.skip(tag)?,
            }
        }
        Ok(())
    }
}
