//! Objects that expressions of mutating policies make: apiserver's `pkg/cel/mutation`.

use std::{collections::BTreeMap, sync::Arc};

use super::{Error, Evaluated, Key, List, Map, Text, VISIT, Value, data::Object, work};

/// The type of an operation of a JSON patch, whose texts are empty where they are not given.
const PATCH: &str = "JSONPatch";

impl<'a> Object<'a> {
    /// Makes an object of the type `JSONPatch`, or `Object` and the names that begin with `Object.`, which have any field.
    pub(crate) fn make(
        type_name: &Arc<str>,
        fields: impl IntoIterator<Item = (Arc<str>, Value<'a>)>,
    ) -> Evaluated<'a> {
        let mut object = Self { type_name: Arc::clone(type_name), fields: fields.into_iter().collect() };
        if object.is_patch() {
            for (name, value) in &mut object.fields {
                match (&**name, &*value) {
                    ("value", _) | ("op" | "path" | "from", Value::String(_)) => {}
                    // A type is the text of its name, in Go.
                    ("op" | "path" | "from", Value::Type(named)) => {
                        *value = Value::string(named.name().to_owned());
                    }
                    ("op" | "path" | "from", other) => {
                        let found = native_type(other);
                        return Err(Error::new(format!(
                            "unexpected type {found} for JSONPatchType '{name}' field"
                        )));
                    }
                    _ => return Err(Error::new(format!("unexpected JSONPatchType field: {name}"))),
                }
            }
            object.fields.retain(|name, value| &**name == "value" || value.as_str() != Some(""));
        }
        Ok(Value::Object(Arc::new(object)))
    }

    pub(crate) fn is_patch(&self) -> bool {
        &*self.type_name == PATCH
    }

    /// Go's name of the type.
    pub(crate) fn go_type(&self) -> &'static str {
        if self.is_patch() { "*mutation.JSONPatchVal" } else { "*dynamic.ObjectVal" }
    }

    /// The value of a field of a patch, or of an object about which the checker knows that it is one. `present`: whether absence
    /// is `None`.
    pub(crate) fn find(&self, key: &Value<'a>, present: bool) -> Result<Option<Value<'a>>, Error> {
        let name = key.as_str().unwrap_or_default();
        if self.is_patch() && !matches!(name, "op" | "path" | "from" | "value") {
            let what = if present { "field" } else { "indexer" };
            return Err(Error::new(format!("unsupported {what}: {key}")));
        }
        match self.fields.get(name) {
            Some(value) if self.is_patch() => Ok(Some(value.clone())),
            Some(value) => plain(value).map(Some),
            None if present => Ok(None),
            None if self.is_patch() && name != "value" => Ok(Some(Value::string(""))),
            None => Ok(Some(Value::Null)),
        }
    }

    pub(super) fn equal(&self, other: &Self) -> Result<bool, Error> {
        if !self.is_patch() || !other.is_patch() {
            return self.is_identical(other);
        }
        for name in ["op", "path", "from"] {
            if self.fields.get(name).and_then(Value::as_str) != other.fields.get(name).and_then(Value::as_str)
            {
                return Ok(false);
            }
        }
        match (self.fields.get("value"), other.fields.get("value")) {
            (Some(left), Some(right)) => left.equal_strictly(right),
            (left, right) => Ok(left.is_none() && right.is_none()),
        }
    }

    fn is_identical(&self, other: &Self) -> Result<bool, Error> {
        Ok(self.type_name == other.type_name && are_identical(&self.fields, &other.fields)?)
    }
}

fn are_identical<'a, K: Ord>(
    left: &BTreeMap<K, Value<'a>>,
    right: &BTreeMap<K, Value<'a>>,
) -> Result<bool, Error> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for ((key, left), (other, right)) in left.iter().zip(right) {
        if key != other || !is_identical(left, right)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether values are the same for Go's `reflect.DeepEqual`, with which kube-apiserver compares what is in objects: numbers have
/// the same type, and a list equals nothing but itself, because it has a function inside.
fn is_identical(left: &Value<'_>, right: &Value<'_>) -> Result<bool, Error> {
    work(VISIT)?;
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Uint(left), Value::Uint(right)) => left == right,
        (Value::Double(left), Value::Double(right)) => left == right,
        (Value::Timestamp(left), Value::Timestamp(right)) => {
            (left.seconds, left.nanos, left.offset) == (right.seconds, right.nanos, right.offset)
        }
        (Value::List(List::Values(left, _)), Value::List(List::Values(right, _))) => Arc::ptr_eq(left, right),
        (Value::List(_), _) => false,
        (Value::Map(Map::Values(left)), Value::Map(Map::Values(right))) => are_identical(left, right)?,
        (Value::Map(Map::Json(left, _)), Value::Map(Map::Json(right, _))) => {
            work(left.len().saturating_mul(VISIT))?;
            left == right
        }
        (Value::Map(_), _) => false,
        (Value::Optional(Some(left)), Value::Optional(Some(right))) => is_identical(left, right)?,
        (Value::Object(left), Value::Object(right)) => left.is_identical(right)?,
        (Value::Opaque(left), Value::Opaque(right)) if Arc::ptr_eq(left, right) => true,
        (Value::Opaque(left), _) => left.equal(right).unwrap_or(false),
        (Value::Null, other) => matches!(other, Value::Null),
        _ => std::mem::discriminant(left) == std::mem::discriminant(right) && left.equal_strictly(right)?,
    })
}

/// A field as an expression sees it: objects in it become maps.
fn plain<'a>(value: &Value<'a>) -> Evaluated<'a> {
    work(VISIT)?;
    Ok(match value {
        Value::Object(object) if !object.is_patch() => {
            let entries = object
                .fields
                .iter()
                .map(|(name, value)| Ok((Key::String(Text::Shared(Arc::clone(name))), plain(value)?)));
            Value::Map(entries.collect::<Result<BTreeMap<_, _>, Error>>()?.into())
        }
        Value::List(List::Values(values, kind))
            if values.iter().any(|value| matches!(value, Value::Object(_))) =>
        {
            let values = values.iter().map(plain).collect::<Result<_, _>>()?;
            Value::List(List::Values(Arc::new(values), kind))
        }
        Value::Map(Map::Values(entries))
            if entries.values().any(|value| matches!(value, Value::Object(_))) =>
        {
            let entries = entries.iter().map(|(key, value)| Ok((key.clone(), plain(value)?)));
            Value::Map(entries.collect::<Result<BTreeMap<_, _>, Error>>()?.into())
        }
        other => other.clone(),
    })
}

/// Go's type of what cel-go has inside of a value.
pub(crate) fn native_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "structpb.NullValue",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Uint(_) => "uint64",
        Value::Double(_) => "float64",
        Value::String(_) | Value::Type(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::Duration(_) => "time.Duration",
        Value::Timestamp(_) => "time.Time",
        Value::List(List::Values(..)) => "[]ref.Val",
        Value::List(List::Json(..)) => "[]interface {}",
        Value::Map(Map::Values(_)) => "map[ref.Val]ref.Val",
        Value::Map(Map::Json(..)) => "map[string]interface {}",
        Value::Optional(Some(value)) => native_type(value),
        Value::Optional(None) => "<nil>",
        Value::Object(object) if object.is_patch() => "*mutation.JSONPatchVal",
        Value::Object(_) => "map[string]interface {}",
        Value::Opaque(value) => value.go_type(),
    }
}
