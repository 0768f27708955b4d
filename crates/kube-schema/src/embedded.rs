//! Decodes the type and the metadata of embedded resources, as apiextensions-apiserver's `objectmeta.Coerce` does.

use kube_validation::{FieldError, FieldPath};
use serde_json::{Map, Value};

use crate::schema::Schema;

/// Decodes metadata into Go's struct and writes it again, or fails with Go's message.
pub(super) type DecodeMetadata<'a> = &'a dyn Fn(&Value) -> Result<Value, String>;

/// Decodes the embedded resources inside `value`. Fails with the first error.
pub(super) fn decode(
    value: &mut Value,
    schema: &Schema,
    path: &FieldPath<'_>,
    decode_metadata: DecodeMetadata<'_>,
) -> Result<(), FieldError> {
    match value {
        Value::Object(map) => {
            if schema.embedded_resource {
                resource(map, path, decode_metadata)?;
            }
            for (name, value) in map {
                if let Some(property) = schema.properties.get(name) {
                    decode(value, property, &path.child(name), decode_metadata)?;
                } else if let Some(property) = schema.property(name) {
                    decode(value, property, &path.key(name), decode_metadata)?;
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = schema.items.as_deref() else { return Ok(()) };
            for (index, item) in list.iter_mut().enumerate() {
                decode(item, items, &path.index(index), decode_metadata)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn resource(
    map: &mut Map<String, Value>,
    path: &FieldPath<'_>,
    decode_metadata: DecodeMetadata<'_>,
) -> Result<(), FieldError> {
    for field in ["apiVersion", "kind"] {
        if let Some(value) = map.get(field).filter(|value| !value.is_string()) {
            return Err(FieldError::invalid(path.child(field), value, "must be a string"));
        }
    }
    if let Some(metadata) = map.get_mut("metadata") {
        *metadata = decode_metadata(metadata)
            .map_err(|why| FieldError::invalid(path.child("metadata"), metadata, &why))?;
    }
    Ok(())
}
