//! Values as JSON that keeps their types.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value as Json, json};

use crate::{
    go,
    program::Value,
    types::Type,
    value::{self, Key},
};

impl Value<'_> {
    /// The value as an object with its type: `{"int": "5"}`, `{"list": [{"string": "a"}]}`.
    ///
    /// The types are `null`, `bool`, `int`, `uint`, `double` (numbers are texts, because readers of JSON round them),
    /// `string`, `bytes` (base64), `duration` (nanoseconds), `timestamp` (RFC 3339), `list`, `map` (pairs), `optional`
    /// (`null` without a value), `type`, and `opaque` for values of libraries, with the text of the value beside it.
    #[must_use]
    pub fn to_typed_json(&self) -> Json {
        encode(&self.0)
    }
}

impl Value<'static> {
    /// Reads what [`Value::to_typed_json`] writes. `None` for other JSON, and for values of libraries.
    #[must_use]
    pub fn from_typed_json(json: &Json) -> Option<Self> {
        decode(json).map(Value)
    }
}

macro_rules! plain {
    ($($from:ty => $variant:ident;)*) => {$(
        impl From<$from> for Value<'_> {
            fn from(value: $from) -> Self {
                Self(value::Value::$variant(value))
            }
        }
    )*};
}

plain! {
    bool => Bool;
    i64 => Int;
    u64 => Uint;
    f64 => Double;
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self(value::Value::string(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self(value::Value::string(text))
    }
}

fn encode(value: &value::Value<'_>) -> Json {
    use value::Value::{
        Bool, Bytes, Double, Duration, Int, List, Map, Null, Object, Opaque, Optional, String, Timestamp,
        Type, Uint,
    };
    match value {
        Null => json!({"null": null}),
        Bool(value) => json!({"bool": value}),
        Int(value) => json!({"int": value.to_string()}),
        Uint(value) => json!({"uint": value.to_string()}),
        Double(value) => json!({"double": go::format_general(*value)}),
        String(text) => json!({"string": &**text}),
        Bytes(bytes) => json!({"bytes": BASE64_STANDARD.encode(&**bytes)}),
        Duration(nanos) => json!({"duration": nanos.to_string()}),
        Timestamp(time) => json!({"timestamp": go::format_rfc3339(*time)}),
        List(list) => {
            let elements: Vec<_> = list.iter().map(|element| evaluated(&element)).collect();
            json!({"list": elements})
        }
        Map(map) => {
            let mut entries: Vec<_> =
                map.entries().map(|(key, value)| [encode(&key), evaluated(&value)]).collect();
            entries.sort_by_cached_key(|[key, _]| key.to_string());
            json!({"map": entries})
        }
        Optional(None) => json!({"optional": null}),
        Optional(Some(value)) => json!({"optional": encode(value)}),
        Type(value) => json!({"type": value.name()}),
        Object(object) => {
            json!({"opaque": &*object.type_name, "string": value.to_string()})
        }
        Opaque(opaque) => {
            json!({"opaque": value.type_name(), "string": opaque.display()})
        }
    }
}

fn evaluated(value: &value::Evaluated<'_>) -> Json {
    match value {
        Ok(value) => encode(value),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn decode(json: &Json) -> Option<value::Value<'static>> {
    let (kind, content) = json.as_object().filter(|fields| fields.len() == 1)?.iter().next()?;
    let text = || content.as_str();
    Some(match kind.as_str() {
        "null" => value::Value::Null,
        "bool" => value::Value::Bool(content.as_bool()?),
        "int" => value::Value::Int(text()?.parse().ok()?),
        "uint" => value::Value::Uint(text()?.parse().ok()?),
        "double" => value::Value::Double(go::parse_float(text()?)?),
        "string" => value::Value::string(text()?.to_owned()),
        "bytes" => value::Value::Bytes(BASE64_STANDARD.decode(text()?).ok()?.into()),
        "duration" => value::Value::Duration(text()?.parse().ok()?),
        "timestamp" => value::Value::Timestamp(go::parse_rfc3339(text()?).ok()?),
        "list" => value::Value::list(content.as_array()?.iter().map(decode).collect::<Option<_>>()?),
        "map" => {
            let mut entries = BTreeMap::new();
            for entry in content.as_array()? {
                entries.insert(Key::of(decode(entry.get(0)?)?).ok()?, decode(entry.get(1)?)?);
            }
            value::Value::Map(entries.into())
        }
        "optional" if content.is_null() => value::Value::Optional(None),
        "optional" => value::Value::Optional(Some(Arc::new(decode(content)?))),
        "type" => value::Value::type_value(
            Type::parse(text()?).unwrap_or_else(|| Type::object(text().unwrap_or_default())),
        ),
        _ => return None,
    })
}
