//! Converts a message to the JSON that Go writes for the same struct: `encoding/json` with its tags.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::well_known;
use crate::malformed::Malformed;
use crate::messages::{Field, FieldType, Message, Messages, Shape};
use crate::wire::{Raw, Reader, WireType, text};

/// The maximum number of values of an object. A body of 3 MiB from a client has fewer. Without a limit, a body of empty
/// messages, two bytes each, would become gigabytes.
pub(super) const MAX_VALUES: usize = 500_000;
/// The maximum nesting depth of messages, for schemas of the depth that JSON may have.
pub(super) const MAX_DEPTH: usize = 100;

/// Decodes one object.
#[derive(Debug)]
pub(super) struct Decoder {
    messages: &'static Messages,
    /// The number of values that may still be created.
    left: usize,
    depth: usize,
}

/// The data read for a field.
enum Found<'a> {
    Nothing,
    /// The value is created when all of it was read: a message may be split into parts.
    Scalar(Raw<'a>),
    Message(Cow<'a, [u8]>),
    List(Vec<Value>),
    Map(Map<String, Value>),
}

impl Decoder {
    pub(super) fn new(messages: &'static Messages) -> Self {
        Self { messages, left: MAX_VALUES, depth: 0 }
    }

    /// Converts a message to an object.
    pub(super) fn object(
        &mut self,
        message: &Message,
        bytes: &[u8],
    ) -> Result<Map<String, Value>, Malformed> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Malformed::TooDeep(MAX_DEPTH));
        }
        let found = self.read(message, bytes)?;
        let mut object = Map::new();
        for (field, found) in message.fields.iter().zip(found) {
            self.add(&mut object, field, found)?;
        }
        self.depth -= 1;
        Ok(object)
    }

    /// Converts the message of a JSON schema in a CRD to an object.
    fn schema(&mut self, bytes: &[u8]) -> Result<Value, Malformed> {
        self.spend(1)?;
        match self.messages.find("apiextensions.k8s.io/v1", "JSONSchemaProps") {
            Some(message) => self.object(message, bytes).map(Value::Object),
            None => Ok(Value::Null),
        }
    }

    /// Counts values, or copied bytes: copies of nested partial messages could be many times the size of the body.
    fn spend(&mut self, count: usize) -> Result<(), Malformed> {
        self.left = self.left.checked_sub(count).ok_or(Malformed::TooMany(MAX_VALUES))?;
        Ok(())
    }

    fn read<'a>(&mut self, message: &Message, bytes: &'a [u8]) -> Result<Vec<Found<'a>>, Malformed> {
        let mut all: Vec<_> = message.fields.iter().map(|_| Found::Nothing).collect();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag(message.name)? {
            let place = message.fields.binary_search_by_key(&tag.number, |field| field.number);
            let Some((field, found)) = place.ok().and_then(|at| message.fields.get(at).zip(all.get_mut(at)))
            else {
                reader.skip(tag)?;
                continue;
            };
            match field.shape {
                Shape::List => {
                    reader.packed(tag, field.r#type.wire(), field.name, |raw| {
                        found.push(self.value(field.r#type, raw)?);
                        Ok(())
                    })?;
                }
                Shape::Map => {
                    let (key, value) = self.entry(field, reader.bytes(tag, field.name)?)?;
                    found.insert(key, value);
                }
                Shape::Value | Shape::Pointer => {
                    let raw = reader.value(tag, field.r#type.wire(), field.name)?;
                    self.spend(found.merge(field.r#type, raw))?;
                }
            }
        }
        Ok(all)
    }

    /// Adds a field to an object, according to its tag.
    fn add(
        &mut self,
        object: &mut Map<String, Value>,
        field: &Field,
        found: Found<'_>,
    ) -> Result<(), Malformed> {
        // In Go nil, not a zero value.
        let nil = matches!(found, Found::Nothing)
            && (field.shape != Shape::Value || matches!(field.r#type, FieldType::Bytes | FieldType::Strings));
        let value = match found {
            Found::Nothing if nil => Value::Null,
            Found::Nothing => self.value(field.r#type, field.r#type.zero())?,
            Found::Scalar(raw) => self.value(field.r#type, raw)?,
            Found::Message(bytes) => self.value(field.r#type, Raw::Bytes(&bytes))?,
            Found::List(values) => values.into(),
            Found::Map(values) => values.into(),
        };
        let Some(name) = field.json else {
            if let Value::Object(embedded) = value {
                object.extend(embedded);
            }
            return Ok(());
        };
        let empty = nil || field.shape == Shape::Value && field.r#type.is_empty(&value);
        let zero = field.shape == Shape::Value && value.is_null();
        if !(field.omit_empty && empty || field.omit_zero && zero) {
            object.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// Converts one value of a type.
    fn value(&mut self, r#type: FieldType, raw: Raw<'_>) -> Result<Value, Malformed> {
        self.spend(1)?;
        let bytes = match raw {
            // Truncated, as in Go.
            Raw::Varint(number) => {
                return Ok(match r#type {
                    FieldType::Bool => (number != 0).into(),
                    FieldType::Int32 => (number as i32).into(),
                    _ => (number as i64).into(),
                });
            }
            Raw::Fixed64(bits) => return well_known::double(f64::from_bits(bits)),
            Raw::Bytes(bytes) => bytes,
        };
        match r#type {
            FieldType::Bytes => Ok(BASE64_STANDARD.encode(bytes).into()),
            FieldType::Strings => self.strings(bytes),
            FieldType::Time => well_known::time(bytes),
            FieldType::MicroTime => well_known::micro_time(bytes),
            FieldType::Quantity => well_known::quantity(bytes),
            FieldType::IntOrString => well_known::int_or_string(bytes),
            FieldType::Json => well_known::json(bytes),
            FieldType::SchemaOrArray => self.schema_or_array(bytes),
            FieldType::SchemaOrBool => self.schema_or_bool(bytes),
            FieldType::SchemaOrStrings => self.schema_or_strings(bytes),
            FieldType::Message(index) => match self.messages.at(index) {
                Some(message) => self.object(message, bytes).map(Value::Object),
                None => Ok(Value::Null),
            },
            FieldType::String | FieldType::Bool | FieldType::Int32 | FieldType::Int64 | FieldType::Double => {
                Ok(text(bytes).into())
            }
        }
    }

    /// Converts a map's entry to its key and value.
    fn entry(&mut self, field: &Field, bytes: &[u8]) -> Result<(String, Value), Malformed> {
        let mut key = String::new();
        let mut value = field.r#type.zero();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag(field.name)? {
            match tag.number {
                1 => key = text(reader.bytes(tag, field.name)?),
                2 => value = reader.value(tag, field.r#type.wire(), field.name)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok((key, self.value(field.r#type, value)?))
    }

    /// Converts apiextensions' `JSONSchemaPropsOrArray`.
    fn schema_or_array(&mut self, bytes: &[u8]) -> Result<Value, Malformed> {
        let (mut schema, mut schemas) = (Value::Null, Vec::new());
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("JSONSchemaPropsOrArray")? {
            match tag.number {
                1 => schema = self.schema(reader.bytes(tag, "Schema")?)?,
                2 => schemas.push(self.schema(reader.bytes(tag, "JSONSchemas")?)?),
                _ => reader.skip(tag)?,
            }
        }
        Ok(if schemas.is_empty() { schema } else { schemas.into() })
    }

    /// Converts apiextensions' `JSONSchemaPropsOrBool`.
    fn schema_or_bool(&mut self, bytes: &[u8]) -> Result<Value, Malformed> {
        let (mut allows, mut schema) = (false, None);
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("JSONSchemaPropsOrBool")? {
            match tag.number {
                1 => allows = well_known::integer(reader.value(tag, WireType::Varint, "Allows")?) != 0,
                2 => schema = Some(self.schema(reader.bytes(tag, "Schema")?)?),
                _ => reader.skip(tag)?,
            }
        }
        Ok(schema.unwrap_or_else(|| allows.into()))
    }

    /// Converts apiextensions' `JSONSchemaPropsOrStringArray`.
    fn schema_or_strings(&mut self, bytes: &[u8]) -> Result<Value, Malformed> {
        let (mut schema, mut strings) = (Value::Null, Vec::new());
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("JSONSchemaPropsOrStringArray")? {
            match tag.number {
                1 => schema = self.schema(reader.bytes(tag, "Schema")?)?,
                2 => strings.push(Value::from(text(reader.bytes(tag, "Property")?))),
                _ => reader.skip(tag)?,
            }
        }
        Ok(if strings.is_empty() { schema } else { strings.into() })
    }

    fn strings(&mut self, bytes: &[u8]) -> Result<Value, Malformed> {
        let mut strings = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Strings")? {
            match tag.number {
                1 => strings.push(self.value(FieldType::String, Raw::Bytes(reader.bytes(tag, "Items")?))?),
                _ => reader.skip(tag)?,
            }
        }
        Ok(strings.into())
    }
}

impl<'a> Found<'a> {
    fn push(&mut self, value: Value) {
        match self {
            Self::List(values) => values.push(value),
            _ => *self = Self::List(vec![value]),
        }
    }

    fn insert(&mut self, key: String, value: Value) {
        match self {
            Self::Map(values) => drop(values.insert(key, value)),
            _ => *self = Self::Map(Map::from_iter([(key, value)])),
        }
    }

    /// Adds another value of the same field: the last one wins, and parts of a message are merged. Returns the number of
    /// copied bytes.
    fn merge(&mut self, r#type: FieldType, raw: Raw<'a>) -> usize {
        match (raw, r#type, &mut *self) {
            (Raw::Varint(_) | Raw::Fixed64(_), ..) | (_, FieldType::String | FieldType::Bytes, _) => {
                *self = Self::Scalar(raw);
                0
            }
            (Raw::Bytes(bytes), _, Self::Message(before)) => {
                let copied = if matches!(before, Cow::Borrowed(_)) { before.len() } else { 0 };
                before.to_mut().extend_from_slice(bytes);
                copied + bytes.len()
            }
            (Raw::Bytes(bytes), ..) => {
                *self = Self::Message(bytes.into());
                0
            }
        }
    }
}

impl FieldType {
    /// Returns the encoding of an absent value.
    fn zero(self) -> Raw<'static> {
        match self.wire() {
            WireType::Varint => Raw::Varint(0),
            WireType::Fixed64 => Raw::Fixed64(0),
            WireType::Bytes => Raw::Bytes(&[]),
        }
    }

    /// Returns whether `omitempty` omits a value; a struct is never omitted.
    fn is_empty(self, value: &Value) -> bool {
        match self {
            Self::String | Self::Bytes => value.as_str().is_some_and(str::is_empty),
            Self::Bool => *value == Value::Bool(false),
            Self::Int32 | Self::Int64 | Self::Double => value.as_f64() == Some(0.0),
            Self::Strings => value.as_array().is_some_and(Vec::is_empty),
            _ => false,
        }
    }
}
