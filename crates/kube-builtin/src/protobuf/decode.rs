//! A message to the JSON that Go writes of the same struct: `encoding/json` with its tags.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::well_known;
use crate::malformed::Malformed;
use crate::messages::{Field, FieldType, Message, Messages, Shape};
use crate::wire::{Raw, Reader, WireType, text};

/// How many values an object may have. A body of 3 MiB that a client wrote has fewer; without a bound one of empty
/// messages, two bytes each, would become gigabytes.
pub(super) const MAX_VALUES: usize = 500_000;
/// How many messages may lie in one another: a schema of the depth that JSON may have.
pub(super) const MAX_DEPTH: usize = 100;

/// Decodes one object.
#[derive(Debug)]
pub(super) struct Decoder {
    messages: &'static Messages,
    /// How many values may still be made.
    left: usize,
    depth: usize,
}

/// What was read of a field.
enum Found<'a> {
    Nothing,
    /// A single value is made once it is whole: a message can come in parts, which are then one.
    Scalar(Raw<'a>),
    Message(Cow<'a, [u8]>),
    List(Vec<Value>),
    Map(Map<String, Value>),
}

impl Decoder {
    pub(super) fn new(messages: &'static Messages) -> Self {
        Self { messages, left: MAX_VALUES, depth: 0 }
    }

    /// A message as an object.
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

    /// The message that is JSON's schema in a CRD, as an object.
    fn schema(&mut self, bytes: &[u8]) -> Result<Value, Malformed> {
        self.spend(1)?;
        match self.messages.find("apiextensions.k8s.io/v1", "JSONSchemaProps") {
            Some(message) => self.object(message, bytes).map(Value::Object),
            None => Ok(Value::Null),
        }
    }

    /// Counts values, or bytes that are copied: parts of messages in parts of messages could be many times the body.
    fn spend(&mut self, count: usize) -> Result<(), Malformed> {
        self.left = self.left.checked_sub(count).ok_or(Malformed::TooMany(MAX_VALUES))?;
        Ok(())
    }

    fn read<'a>(&mut self, message: &Message, bytes: &'a [u8]) -> Result<Vec<Found<'a>>, Malformed> {
        let mut all: Vec<_> = message.fields.iter().map(|_| Found::Nothing).collect();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag(&message.name)? {
            let place = message.fields.binary_search_by_key(&tag.number, |field| field.number);
            let Some((field, found)) = place.ok().and_then(|at| message.fields.get(at).zip(all.get_mut(at)))
            else {
                reader.skip(tag)?;
                continue;
            };
            match field.shape {
                Shape::List => {
                    reader.packed(tag, field.r#type.wire(), &field.name, |raw| {
                        found.push(self.value(field.r#type, raw)?);
                        Ok(())
                    })?;
                }
                Shape::Map => {
                    let (key, value) = self.entry(field, reader.bytes(tag, &field.name)?)?;
                    found.insert(key, value);
                }
                Shape::Value | Shape::Pointer => {
                    let raw = reader.value(tag, field.r#type.wire(), &field.name)?;
                    self.spend(found.merge(field.r#type, raw))?;
                }
            }
        }
        Ok(all)
    }

    /// Adds a field to an object, as its tag says.
    fn add(
        &mut self,
        object: &mut Map<String, Value>,
        field: &Field,
        found: Found<'_>,
    ) -> Result<(), Malformed> {
        // Nil in Go, and not a zero value.
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
        let Some(name) = &field.json else {
            if let Value::Object(embedded) = value {
                object.extend(embedded);
            }
            return Ok(());
        };
        let empty = nil || field.shape == Shape::Value && field.r#type.is_empty(&value);
        let zero = field.shape == Shape::Value && value.is_null();
        if !(field.omit_empty && empty || field.omit_zero && zero) {
            object.insert(name.clone(), value);
        }
        Ok(())
    }

    /// One value of a type.
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

    /// A key of a map and its value.
    fn entry(&mut self, field: &Field, bytes: &[u8]) -> Result<(String, Value), Malformed> {
        let mut key = String::new();
        let mut value = field.r#type.zero();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag(&field.name)? {
            match tag.number {
                1 => key = text(reader.bytes(tag, &field.name)?),
                2 => value = reader.value(tag, field.r#type.wire(), &field.name)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok((key, self.value(field.r#type, value)?))
    }

    /// apiextensions' `JSONSchemaPropsOrArray`.
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

    /// apiextensions' `JSONSchemaPropsOrBool`.
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

    /// apiextensions' `JSONSchemaPropsOrStringArray`.
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

    /// Another value of the same field: the last counts, and parts of a message are one. Returns how much is copied.
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
    /// What stands for a value that is not there.
    fn zero(self) -> Raw<'static> {
        match self.wire() {
            WireType::Varint => Raw::Varint(0),
            WireType::Fixed64 => Raw::Fixed64(0),
            WireType::Bytes => Raw::Bytes(&[]),
        }
    }

    /// Whether `omitempty` leaves a value out; it never does a struct.
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
