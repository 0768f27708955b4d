//! Protobuf bodies, in which client-go's typed clients send objects of built-in kinds and options.
//!
//! A body is `k8s` and a zero byte, then apimachinery's `runtime.Unknown`, which names the type of the object in it. The
//! fields of these types are in `types.txt`, which `types.awk` makes. The value is that which the same client would send
//! as JSON.

mod wire;

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use jiff::Timestamp;
use serde_json::{Map, Value};

use self::wire::{Field, Payload};

/// What a Protobuf body begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may be in each other: as JSON may be.
const MAX_DEPTH: usize = 128;

/// Why a body is no object.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It is not what it claims to be.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// It ends early, or has what no Protobuf has.
    #[error("the protobuf message is malformed")]
    Malformed,
    /// A type that this server cannot read.
    #[error("the type {0:?} has no known protobuf form")]
    UnknownType(String),
}

/// All types, by `package.Name`.
#[derive(Debug, Default)]
struct Types {
    structs: HashMap<String, HashMap<u32, Member>>,
    aliases: HashMap<String, String>,
}

/// A field of a struct.
#[derive(Debug)]
struct Member {
    /// None: its fields are the holder's.
    json: Option<&'static str>,
    /// Whether it is written even if it is empty.
    required: bool,
    /// As Go has it, names with their packages.
    kind: String,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| Types::parse(include_str!("types.txt")));

/// Reads a body.
pub(super) fn decode(body: &[u8]) -> Result<Value, Error> {
    let unknown = body.strip_prefix(MAGIC).ok_or(Error::Prefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in wire::fields(unknown) {
        match field? {
            Field { number: 1, payload: Payload::Bytes(meta) } => {
                for field in wire::fields(meta) {
                    match field? {
                        Field { number: 1, payload: Payload::Bytes(text) } => api_version = text_of(text)?,
                        Field { number: 2, payload: Payload::Bytes(text) } => kind = text_of(text)?,
                        _ => {}
                    }
                }
            }
            Field { number: 2, payload: Payload::Bytes(bytes) } => raw = bytes,
            _ => {}
        }
    }
    let name = type_name(&api_version, &kind);
    if !TYPES.structs.contains_key(&name) {
        return Err(Error::UnknownType(format!("{api_version}, Kind={kind}")));
    }
    let mut object = Map::new();
    message(&name, raw, &mut object, MAX_DEPTH)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// The Go type of a kind.
fn type_name(api_version: &str, kind: &str) -> String {
    if kind.ends_with("Options") && TYPES.structs.contains_key(&format!("meta/v1.{kind}")) {
        return format!("meta/v1.{kind}");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    format!("{group}/{version}.{kind}")
}

/// Reads a message's fields into an object.
fn message(name: &str, bytes: &[u8], object: &mut Map<String, Value>, depth: usize) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or(Error::Malformed)?;
    let members = TYPES.structs.get(name).ok_or_else(|| Error::UnknownType(name.to_owned()))?;
    for field in wire::fields(bytes) {
        let field = field?;
        // Fields of a newer client are left out, as they are of JSON.
        let Some(member) = members.get(&field.number) else { continue };
        let (Some(json), payload) = (member.json, field.payload) else {
            let Payload::Bytes(bytes) = field.payload else { return Err(Error::Malformed) };
            message(&member.kind, bytes, object, depth)?;
            continue;
        };
        let json = json.to_owned();
        if let Some(item) = member.kind.strip_prefix("[]").filter(|item| *item != "byte") {
            let items = object.entry(json).or_insert_with(|| Value::Array(Vec::new()));
            items.as_array_mut().ok_or(Error::Malformed)?.push(value(item, payload, depth)?);
        } else if let Some((_, item)) = member.kind.strip_prefix("map[").and_then(|kind| kind.split_once(']'))
        {
            let (key, item) = entry(item, payload, depth)?;
            let items = object.entry(json).or_insert_with(|| Value::Object(Map::new()));
            items.as_object_mut().ok_or(Error::Malformed)?.insert(key, item);
        } else {
            let pointer = member.kind.strip_prefix('*');
            let value = value(pointer.unwrap_or(&member.kind), payload, depth)?;
            if pointer.is_some() || member.required || !is_zero(&value) {
                object.insert(json, value);
            }
        }
    }
    Ok(())
}

/// Reads one entry of a map.
fn entry(kind: &str, payload: Payload<'_>, depth: usize) -> Result<(String, Value), Error> {
    let Payload::Bytes(bytes) = payload else { return Err(Error::Malformed) };
    let (mut key, mut item) = (String::new(), Value::Null);
    for field in wire::fields(bytes) {
        match field? {
            Field { number: 1, payload: Payload::Bytes(text) } => key = text_of(text)?,
            Field { number: 2, payload } => item = value(kind, payload, depth)?,
            _ => {}
        }
    }
    Ok((key, item))
}

/// Reads one value of a Go type.
fn value(kind: &str, payload: Payload<'_>, depth: usize) -> Result<Value, Error> {
    match (kind, payload) {
        ("bool", Payload::Number(number)) => Ok((number != 0).into()),
        // Negative numbers are written in two's complement.
        ("int" | "int32" | "int64", Payload::Number(number)) => Ok(number.cast_signed().into()),
        ("uint32" | "uint64", Payload::Number(number)) => Ok(number.into()),
        ("string" | "types.UID" | "types.NodeName", Payload::Bytes(text)) => Ok(text_of(text)?.into()),
        ("[]byte", Payload::Bytes(bytes)) => Ok(base64::prelude::BASE64_STANDARD.encode(bytes).into()),
        ("meta/v1.Time", Payload::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ"),
        ("meta/v1.MicroTime", Payload::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ"),
        ("meta/v1.FieldsV1" | "runtime.RawExtension", Payload::Bytes(bytes)) => {
            match first_bytes(bytes, 1)? {
                Some(json) => serde_json::from_slice(json).map_err(|_| Error::Malformed),
                None => Ok(Value::Null),
            }
        }
        ("resource.Quantity", Payload::Bytes(bytes)) => {
            Ok(first_bytes(bytes, 1)?.map(text_of).transpose()?.unwrap_or_default().into())
        }
        ("intstr.IntOrString", Payload::Bytes(bytes)) => int_or_string(bytes),
        (kind, payload) => match (TYPES.aliases.get(kind).map(String::as_str), payload) {
            // A list with a name of its own is a message of that list.
            (Some("[]string"), Payload::Bytes(bytes)) => {
                let mut items = Vec::new();
                for field in wire::fields(bytes) {
                    if let Field { number: 1, payload: Payload::Bytes(text) } = field? {
                        items.push(Value::String(text_of(text)?));
                    }
                }
                Ok(Value::Array(items))
            }
            (Some(alias), payload) => value(alias, payload, depth.checked_sub(1).ok_or(Error::Malformed)?),
            (None, Payload::Bytes(bytes)) => {
                let mut object = Map::new();
                message(kind, bytes, &mut object, depth)?;
                Ok(Value::Object(object))
            }
            (None, Payload::Number(_)) => Err(Error::Malformed),
        },
    }
}

fn time(bytes: &[u8], format: &str) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in wire::fields(bytes) {
        match field? {
            Field { number: 1, payload: Payload::Number(number) } => seconds = number.cast_signed(),
            Field { number: 2, payload: Payload::Number(number) } => nanos = number.cast_signed(),
            _ => {}
        }
    }
    if (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| Error::Malformed)?;
    let time = Timestamp::new(seconds, nanos).map_err(|_| Error::Malformed)?;
    Ok(time.strftime(format).to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in wire::fields(bytes) {
        match field? {
            Field { number: 1, payload: Payload::Number(kind) } => is_text = kind == 1,
            Field { number: 2, payload: Payload::Number(value) } => number = value.cast_signed(),
            Field { number: 3, payload: Payload::Bytes(value) } => text = text_of(value)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn first_bytes(bytes: &[u8], number: u32) -> Result<Option<&[u8]>, Error> {
    for field in wire::fields(bytes) {
        match field? {
            Field { number: it, payload: Payload::Bytes(bytes) } if it == number => return Ok(Some(bytes)),
            _ => {}
        }
    }
    Ok(None)
}

fn text_of(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Malformed)
}

/// Whether Go's JSON encoder would leave a value out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

impl Types {
    fn parse(text: &'static str) -> Self {
        let mut types = Self::default();
        let (mut package, mut current) = ("", String::new());
        for line in text.lines() {
            let parts: Vec<&'static str> = line.split(' ').collect();
            match parts[..] {
                ["=", name] => package = name,
                ["a", name, kind] => {
                    types.aliases.insert(format!("{package}.{name}"), qualify(package, kind));
                }
                ["m", name] => {
                    current = format!("{package}.{name}");
                    types.structs.entry(current.clone()).or_default();
                }
                [number, json, kind] => {
                    let Ok(number) = number.parse() else { continue };
                    let member = Member {
                        json: (json != "-").then(|| json.trim_end_matches('!')),
                        required: json.ends_with('!'),
                        kind: qualify(package, kind),
                    };
                    types.structs.entry(current.clone()).or_default().insert(number, member);
                }
                _ => {}
            }
        }
        types
    }
}

/// A Go type with the package of its name.
fn qualify(package: &str, kind: &str) -> String {
    let start = kind.rfind(['*', ']']).map_or(0, |at| at + 1);
    let (prefix, name) = kind.split_at(start);
    let own = name.starts_with(|c: char| c.is_ascii_uppercase());
    if own { format!("{prefix}{package}.{name}") } else { kind.to_owned() }
}

#[cfg(test)]
mod tests;
