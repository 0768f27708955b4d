//! The document of OpenAPI version 2 as Protobuf: the message `openapi.v2.Document` of gnostic's `OpenAPIv2.proto`.
//!
//! client-go reads the document in no other form; kubectl asks for it when an object's kind is in no document of version 3.
//! The messages are described only as far as this server's documents use them.

use serde_json::{Map, Value};

/// What kube-apiserver calls the document, and the older name that clients ask for.
pub(super) const MEDIA_TYPES: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

/// A message: its fields, and the number of the field for members that begin with `x-`.
struct Message {
    fields: &'static [(&'static str, u32, Kind)],
    extensions: u32,
}

/// How a member is encoded.
enum Kind {
    Text,
    Bool,
    Integer,
    Double,
    /// A text, or a list of texts.
    Texts,
    /// A message, or one for each item of a list.
    Message(&'static Message),
    /// `Any`, or one for each item of a list.
    Any,
    /// A message whose first field has the texts of a list, or one text.
    TextsInside,
    /// A message whose first field has the values of a list, or one value.
    Inside(&'static Kind),
    /// A message whose field with this number has the members of a map, as messages of a name and a value.
    Named(u32, &'static Kind),
    /// A message that has either a schema or a bool.
    SchemaOrBool,
    /// A message that has a parameter of one of several kinds, or a reference to one.
    Parameter,
    /// A parameter of one of several kinds.
    DefinedParameter,
}

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Kind::Text),
        ("info", 2, Kind::Message(&INFO)),
        ("paths", 8, Kind::Named(2, &Kind::Message(&PATH))),
        ("definitions", 9, Kind::Named(1, &Kind::Message(&SCHEMA))),
        ("parameters", 10, Kind::Named(1, &Kind::DefinedParameter)),
    ],
    extensions: 16,
};

static INFO: Message =
    Message { fields: &[("title", 1, Kind::Text), ("version", 2, Kind::Text)], extensions: 7 };

static PATH: Message = Message {
    fields: &[
        ("get", 2, Kind::Message(&OPERATION)),
        ("put", 3, Kind::Message(&OPERATION)),
        ("post", 4, Kind::Message(&OPERATION)),
        ("delete", 5, Kind::Message(&OPERATION)),
        ("options", 6, Kind::Message(&OPERATION)),
        ("head", 7, Kind::Message(&OPERATION)),
        ("patch", 8, Kind::Message(&OPERATION)),
        ("parameters", 9, Kind::Parameter),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Kind::Texts),
        ("summary", 2, Kind::Text),
        ("description", 3, Kind::Text),
        ("operationId", 5, Kind::Text),
        ("produces", 6, Kind::Texts),
        ("consumes", 7, Kind::Texts),
        ("parameters", 8, Kind::Parameter),
        // A response, not a reference to one.
        ("responses", 9, Kind::Named(1, &Kind::Inside(&Kind::Message(&RESPONSE)))),
        ("deprecated", 11, Kind::Bool),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Kind::Text), ("schema", 2, Kind::Inside(&Kind::Message(&SCHEMA)))],
    extensions: 5,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Kind::Text),
        ("name", 2, Kind::Text),
        ("in", 3, Kind::Text),
        ("required", 4, Kind::Bool),
        ("schema", 5, Kind::Message(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Kind::Bool),
        ("in", 2, Kind::Text),
        ("description", 3, Kind::Text),
        ("name", 4, Kind::Text),
        ("allowEmptyValue", 5, Kind::Bool),
        ("type", 6, Kind::Text),
        ("format", 7, Kind::Text),
        ("uniqueItems", 20, Kind::Bool),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Kind::Bool),
        ("in", 2, Kind::Text),
        ("description", 3, Kind::Text),
        ("name", 4, Kind::Text),
        ("type", 5, Kind::Text),
        ("format", 6, Kind::Text),
        ("uniqueItems", 19, Kind::Bool),
    ],
    extensions: 22,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Kind::Text),
        ("format", 2, Kind::Text),
        ("title", 3, Kind::Text),
        ("description", 4, Kind::Text),
        ("default", 5, Kind::Any),
        ("multipleOf", 6, Kind::Double),
        ("maximum", 7, Kind::Double),
        ("exclusiveMaximum", 8, Kind::Bool),
        ("minimum", 9, Kind::Double),
        ("exclusiveMinimum", 10, Kind::Bool),
        ("maxLength", 11, Kind::Integer),
        ("minLength", 12, Kind::Integer),
        ("pattern", 13, Kind::Text),
        ("maxItems", 14, Kind::Integer),
        ("minItems", 15, Kind::Integer),
        ("uniqueItems", 16, Kind::Bool),
        ("maxProperties", 17, Kind::Integer),
        ("minProperties", 18, Kind::Integer),
        ("required", 19, Kind::Texts),
        ("enum", 20, Kind::Any),
        ("additionalProperties", 21, Kind::SchemaOrBool),
        ("type", 22, Kind::TextsInside),
        ("items", 23, Kind::Inside(&Kind::Message(&SCHEMA))),
        ("properties", 25, Kind::Named(1, &Kind::Message(&SCHEMA))),
        ("example", 30, Kind::Any),
    ],
    extensions: 31,
};

/// The document as Protobuf.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    DOCUMENT.write(document, &mut out);
    out
}

impl Message {
    fn write(&self, value: &Value, out: &mut Vec<u8>) {
        let Some(members) = value.as_object() else { return };
        for (name, number, kind) in self.fields {
            if let Some(member) = members.get(*name) {
                kind.write(*number, member, out);
            }
        }
        let extensions = members.iter().filter(|(name, _)| name.starts_with("x-"));
        extensions.for_each(|(name, value)| named(self.extensions, name, &Kind::Any, value, out));
    }
}

impl Kind {
    fn write(&self, number: u32, value: &Value, out: &mut Vec<u8>) {
        match self {
            Self::Text => value.as_str().into_iter().for_each(|text| bytes(number, text.as_bytes(), out)),
            // False and zero are what a reader assumes.
            Self::Bool if *value == true => varint(number, 1, out),
            Self::Bool => {}
            Self::Integer => value.as_u64().into_iter().for_each(|integer| varint(number, integer, out)),
            Self::Double => {
                if let Some(double) = value.as_f64() {
                    tag(number, 1, out);
                    out.extend_from_slice(&double.to_le_bytes());
                }
            }
            Self::Texts => each(value, |value| Self::Text.write(number, value, out)),
            Self::Message(of) => each(value, |value| message(number, out, |out| of.write(value, out))),
            Self::Any => each(value, |value| any(number, value, out)),
            Self::TextsInside => message(number, out, |out| Self::Texts.write(1, value, out)),
            Self::Inside(kind) => message(number, out, |out| kind.write(1, value, out)),
            Self::Named(inner, kind) => message(number, out, |out| members(*inner, kind, value, out)),
            Self::SchemaOrBool => message(number, out, |out| match value {
                // The choice is made by the field, even if it is false.
                Value::Bool(any) => varint(2, u64::from(*any), out),
                schema => Self::Message(&SCHEMA).write(1, schema, out),
            }),
            Self::Parameter => each(value, |value| parameter(number, value, out)),
            Self::DefinedParameter => defined_parameter(number, value, out),
        }
    }
}

/// Calls `write` with the items of a list, or with a value that is no list.
fn each(value: &Value, mut write: impl FnMut(&Value)) {
    match value {
        Value::Array(items) => items.iter().for_each(write),
        value => write(value),
    }
}

fn members(number: u32, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    let members = value.as_object().into_iter().flat_map(Map::iter);
    members.for_each(|(name, value)| named(number, name, kind, value, out));
}

/// A message with a name and a value.
fn named(number: u32, name: &str, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    message(number, out, |out| {
        bytes(1, name.as_bytes(), out);
        match kind {
            // A list is one value here.
            Kind::Any => any(2, value, out),
            kind => kind.write(2, value, out),
        }
    });
}

/// An `Any`, which has the value as YAML. JSON is YAML, too.
fn any(number: u32, value: &Value, out: &mut Vec<u8>) {
    message(number, out, |out| bytes(2, format!("{value}\n").as_bytes(), out));
}

/// A `ParametersItem` with a `Parameter`, or a `JsonReference` to one.
fn parameter(number: u32, value: &Value, out: &mut Vec<u8>) {
    message(number, out, |out| match value["$ref"].as_str() {
        Some(target) => message(2, out, |out| bytes(1, target.as_bytes(), out)),
        None => defined_parameter(1, value, out),
    });
}

/// A `Parameter`, which is the body, or another one in a further message.
fn defined_parameter(number: u32, value: &Value, out: &mut Vec<u8>) {
    let item = |out: &mut Vec<u8>| match value["in"].as_str() {
        Some("body") => message(1, out, |out| BODY_PARAMETER.write(value, out)),
        Some("path") => message(2, out, |out| message(4, out, |out| PATH_PARAMETER.write(value, out))),
        _ => message(2, out, |out| message(3, out, |out| QUERY_PARAMETER.write(value, out))),
    };
    message(number, out, item);
}

/// A field with a message that `write` appends.
fn message(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(number, &inner, out);
}

fn bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    tag(number, 2, out);
    raw_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(number: u32, value: u64, out: &mut Vec<u8>) {
    tag(number, 0, out);
    raw_varint(value, out);
}

/// The number and the wire type of a field.
fn tag(number: u32, wire_type: u64, out: &mut Vec<u8>) {
    raw_varint(u64::from(number) << 3 | wire_type, out);
}

fn raw_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_encoded() {
        assert_eq!(encode(&json!({"swagger": "2.0"})), b"\x0a\x032.0");
        let info = json!({"info": {"title": "a", "version": "b", "other": 1}});
        assert_eq!(encode(&info), b"\x12\x06\x0a\x01a\x12\x01b");
        // definitions > additional_properties > name and value > type > value
        let definitions = json!({"definitions": {"A": {"type": "object"}}});
        assert_eq!(encode(&definitions), b"\x4a\x12\x0a\x10\x0a\x01A\x12\x0b\xb2\x01\x08\x0a\x06object");
        let schema = |schema: Value| {
            let mut out = Vec::new();
            SCHEMA.write(&schema, &mut out);
            out
        };
        assert_eq!(schema(json!({"x-a": [1]})), b"\xfa\x01\x0d\x0a\x03x-a\x12\x06\x12\x04[1]\n");
        assert_eq!(schema(json!({"maxLength": 300, "uniqueItems": false})), b"\x58\xac\x02");
        assert_eq!(schema(json!({"additionalProperties": false})), b"\xaa\x01\x02\x10\x00");
        assert_eq!(schema(json!({"enum": ["a", 1]})), b"\xa2\x01\x06\x12\x04\"a\"\n\xa2\x01\x04\x12\x021\n");
    }

    #[test]
    fn parameters_are_told_apart() {
        let of = |place: &str| {
            let mut out = Vec::new();
            parameter(1, &json!({"in": place, "name": "n"}), &mut out);
            out
        };
        assert_eq!(of("body"), b"\x0a\x0d\x0a\x0b\x0a\x09\x12\x01n\x1a\x04body");
        assert_eq!(of("path"), b"\x0a\x0f\x0a\x0d\x12\x0b\x22\x09\x12\x04path\x22\x01n");
        let mut reference = Vec::new();
        parameter(1, &json!({"$ref": "#/parameters/p"}), &mut reference);
        assert_eq!(reference, b"\x0a\x12\x12\x10\x0a\x0e#/parameters/p");
        assert_eq!(of("query"), b"\x0a\x10\x0a\x0e\x12\x0c\x1a\x0a\x12\x05query\x22\x01n");
    }
}
