//! Go's names of types, in errors.

use crate::value::{Error, Value};

/// Fails for values that cannot be between brackets, whatever is in front of them.
pub(super) fn check_qualifier(key: &Value<'_>) -> Result<(), Error> {
    match key {
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_) => Ok(()),
        other => Err(Error::new(format!("invalid qualifier type: {}", go_type(other)))),
    }
}

/// What Go prints for the type of a value with `%T`.
pub(super) fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Duration(_) => "types.Duration",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Optional(_) => "*types.Optional",
        Value::Type(_) => "*types.Type",
        Value::List(list) if list.is_typed() => "*common.unstructuredList",
        Value::Map(map) if map.is_typed() => "*common.unstructuredMap",
        Value::List(_) => "*types.baseList",
        Value::Map(_) => "*types.baseMap",
        Value::Object(object) => object.go_type(),
        Value::Opaque(value) => value.go_type(),
    }
}
