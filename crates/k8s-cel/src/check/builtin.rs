//! The types that every expression can name: cel-go's registry, with the messages of protobuf's own that it has values for.

use std::sync::Arc;

use crate::{syntax::Literal, types::Type};

/// The type that a name stands for as an identifier.
pub(super) fn identifier(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "string" => Type::String,
        "type" => Type::Meta(None),
        "uint" => Type::Uint,
        "optional_type" => Type::optional(Type::Dyn),
        "net.IP" | "net.CIDR" => Type::Opaque(name.into(), [].into()),
        _ => return message(name),
    })
}

/// The type of a message of protobuf's own.
pub(super) fn message(name: &str) -> Option<Type> {
    let nullable = |of| Type::Nullable(Arc::new(of));
    Some(match name.strip_prefix("google.protobuf.")? {
        "Any" => Type::Any,
        "BoolValue" => nullable(Type::Bool),
        "BytesValue" => nullable(Type::Bytes),
        "DoubleValue" | "FloatValue" => nullable(Type::Double),
        "Int32Value" | "Int64Value" => nullable(Type::Int),
        "StringValue" => nullable(Type::String),
        "UInt32Value" | "UInt64Value" => nullable(Type::Uint),
        "Duration" => Type::Duration,
        "Timestamp" => Type::Timestamp,
        "ListValue" => Type::list(Type::Dyn),
        "Struct" => Type::map(Type::String, Type::Dyn),
        "Value" => Type::Dyn,
        "Empty" | "Struct.FieldsEntry" => Type::object(name),
        _ => return None,
    })
}

/// The type of a field of such a message.
pub(super) fn field(message: &str, field: &str) -> Option<Type> {
    Some(match (message.strip_prefix("google.protobuf.")?, field) {
        ("Any", "type_url")
        | ("StringValue", "value")
        | ("Struct.FieldsEntry", "key")
        | ("Value", "string_value") => Type::String,
        ("Any" | "BytesValue", "value") => Type::Bytes,
        ("BoolValue", "value") | ("Value", "bool_value") => Type::Bool,
        ("DoubleValue" | "FloatValue", "value") | ("Value", "number_value") => Type::Double,
        ("Int32Value" | "Int64Value", "value")
        | ("Duration" | "Timestamp", "seconds" | "nanos")
        | ("Value", "null_value") => Type::Int,
        ("UInt32Value" | "UInt64Value", "value") => Type::Uint,
        ("Struct", "fields") | ("Value", "struct_value") => Type::map(Type::String, Type::Dyn),
        ("ListValue", "values") | ("Value", "list_value") => Type::list(Type::Dyn),
        ("Struct.FieldsEntry", "value") => Type::Dyn,
        _ => return None,
    })
}

/// The name of the message with the fields of a type that is not an object: cel-go's `getWellKnownTypeName`.
pub(super) fn message_name(of: &Type) -> Option<&'static str> {
    Some(match of {
        Type::Any => "google.protobuf.Any",
        Type::Duration => "google.protobuf.Duration",
        Type::Timestamp => "google.protobuf.Timestamp",
        Type::Dyn => "google.protobuf.Value",
        Type::Null => "google.protobuf.NullValue",
        Type::List(element) if **element == Type::Dyn => "google.protobuf.ListValue",
        Type::Map(entry) if entry.0 == Type::String && entry.1 == Type::Dyn => "google.protobuf.Struct",
        Type::Nullable(inner) => match **inner {
            Type::Bool => "google.protobuf.BoolValue",
            Type::Bytes => "google.protobuf.BytesValue",
            Type::Double => "google.protobuf.DoubleValue",
            Type::Int => "google.protobuf.Int64Value",
            Type::String => "google.protobuf.StringValue",
            Type::Uint => "google.protobuf.UInt64Value",
            _ => return None,
        },
        _ => return None,
    })
}

/// The value of a constant. There is one enumeration, with one name.
pub(super) fn constant(name: &str) -> Option<Literal> {
    (name == "google.protobuf.NullValue.NULL_VALUE").then_some(Literal::Int(0))
}
