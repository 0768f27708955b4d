//! The JSON of a built-in kind as Go writes it after decoding it into its struct.
//!
//! The recursion depth is that of the JSON, which its parser limits.

use kube_validation::{
    Quantity,
    go::{self, json_type},
};
use serde_json::{Map, Value};

use crate::messages::{Field, FieldType, Message, Messages, Shape};
use crate::{base64, time};

/// How many unknown fields are reported, as by `sigs.k8s.io/json`.
const MAX_UNKNOWN: usize = 100;

/// An object as its Go type writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object as Go writes it.
    pub object: Value,
    /// The paths of members that are not fields of the type, in order, at most 100. They are not in the object.
    pub unknown: Vec<String>,
}

/// The error of a value with the wrong type. The text is Go's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{json}")]
pub struct TypeMismatch {
    json: String,
    unstructured: Option<String>,
}

impl TypeMismatch {
    /// Returns the message of apimachinery's `FromUnstructured`, which reads the result of a strategic merge patch.
    pub fn unstructured(&self) -> &str {
        self.unstructured.as_deref().unwrap_or(&self.json)
    }
}

impl From<String> for TypeMismatch {
    fn from(json: String) -> Self {
        Self { json, unstructured: None }
    }
}

/// Reads an object of a kind into its Go type and writes it again. `None` if the kind is not built in.
///
/// Members that the type does not have are dropped and reported, null counts as absent, fields that Go never omits are added,
/// and quantities, times and base64 are written in their canonical form.
///
/// # Errors
/// Fails if a value has the wrong type, with the message of `encoding/json`.
pub fn decode(api_version: &str, kind: &str, object: &Value) -> Option<Result<Decoded, TypeMismatch>> {
    let messages = Messages::get();
    let message = messages.find(api_version, kind)?;
    let mut decoder = Decoder { messages, unknown: Vec::new(), mismatch: None };
    Some(decoder.whole(message, object, &["apiVersion", "kind"]))
}

/// Reads the metadata of any object into `ObjectMeta` and writes it again, as [`decode`] does for an object.
///
/// # Errors
/// Fails if a value has the wrong type, with the message of `encoding/json`.
pub fn decode_metadata(metadata: &Value) -> Result<Decoded, TypeMismatch> {
    let messages = Messages::get();
    let mut decoder = Decoder { messages, unknown: Vec::new(), mismatch: None };
    match (messages.find("meta.k8s.io/v1", "ObjectMeta"), metadata) {
        // Go leaves the struct as it is.
        (Some(message), Value::Null) => decoder.whole(message, &Value::Object(Map::new()), &[]),
        (Some(message), metadata) => decoder.whole(message, metadata, &[]),
        (None, metadata) => Ok(Decoded { object: metadata.clone(), unknown: Vec::new() }),
    }
}

/// Returns the status of a kind before anything is written to it: null, or the fields that Go never omits.
pub fn zero_status(api_version: &str, kind: &str) -> Value {
    let decoded = decode(api_version, kind, &Value::Object(Map::new()));
    decoded.and_then(Result::ok).map_or(Value::Null, |mut it| it.object["status"].take())
}

/// The place of a value: the struct that has it as a field, and the names of the fields above it.
#[derive(Clone, Copy)]
struct Place<'a> {
    structure: &'a str,
    /// As Go reports it, without indices.
    fields: &'a str,
    /// As clients know it.
    path: &'a str,
}

struct Decoder {
    messages: &'static Messages,
    unknown: Vec<String>,
    /// Go continues after a value of the wrong type, and reports the first one in the end.
    mismatch: Option<TypeMismatch>,
}

/// The type that a value should have.
struct Expected {
    /// As Go prints it.
    name: String,
    /// Its kind in Go's reflection. `None`: the type reads its JSON itself.
    kind: Option<&'static str>,
}

impl Decoder {
    /// Decodes a whole value. Members in `kept` are not fields of the type, and stay.
    fn whole(&mut self, message: &Message, object: &Value, kept: &[&str]) -> Result<Decoded, TypeMismatch> {
        let Value::Object(members) = object else {
            let json = format!(
                "json: cannot unmarshal {} into Go value of type {}",
                json_type(object),
                message.go_name()
            );
            return Err(json.into());
        };
        let mut out = Map::new();
        let mut rest: Vec<&str> = members.keys().map(String::as_str).collect();
        rest.retain(|key| !kept.contains(key));
        let place = Place { structure: message.name, fields: "", path: "" };
        self.structure(message, members, place, &mut rest, &mut out)?;
        self.unknown.extend(rest.into_iter().map(str::to_owned));
        if let Some(mismatch) = self.mismatch.take() {
            return Err(mismatch);
        }
        for name in kept {
            if let Some(value) = members.get(*name) {
                out.insert((*name).to_owned(), value.clone());
            }
        }
        let mut unknown = std::mem::take(&mut self.unknown);
        unknown.sort_by_cached_key(|path| place_in_order(path));
        unknown.truncate(MAX_UNKNOWN);
        Ok(Decoded { object: out.into(), unknown })
    }

    /// Decodes the fields of a struct, or of one that is embedded in that of the place, and removes them from `rest`.
    fn structure<'a>(
        &mut self,
        message: &Message,
        members: &'a Map<String, Value>,
        place: Place<'_>,
        rest: &mut Vec<&'a str>,
        out: &mut Map<String, Value>,
    ) -> Result<(), String> {
        for field in &message.fields {
            let join = |base: &str, name: &str| {
                if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") }
            };
            let Some(name) = field.json else {
                // An embedded struct: its fields are among the others.
                if let FieldType::Message(index) = field.r#type
                    && let Some(embedded) = self.messages.at(index)
                {
                    let fields = join(place.fields, field.name);
                    self.structure(embedded, members, Place { fields: &fields, ..place }, rest, out)?;
                }
                continue;
            };
            rest.retain(|key| *key != name);
            let place = Place { fields: &join(place.fields, name), path: &join(place.path, name), ..place };
            let value = match members.get(name) {
                None | Some(Value::Null) => None,
                Some(value) => self.field(field, value, place)?,
            };
            self.put(field, name, value, out);
        }
        Ok(())
    }

    /// Adds a field to an object, according to its tag. `None`: nil, or the zero value of an unset field.
    fn put(&mut self, field: &Field, name: &str, value: Option<Value>, out: &mut Map<String, Value>) {
        let is_empty = match &value {
            // Go's nil, and zero values such as the empty string, which `omitempty` omits; a struct is never empty.
            None => field.shape != Shape::Value || !matches!(field.r#type, FieldType::Message(_)),
            Some(_) if field.shape == Shape::Pointer => false,
            Some(Value::String(text)) => {
                text.is_empty() && matches!(field.r#type, FieldType::String | FieldType::Bytes)
            }
            Some(Value::Bool(value)) => !value,
            Some(Value::Number(number)) => {
                number.as_f64() == Some(0.0) && field.r#type != FieldType::IntOrString
            }
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(members)) => members.is_empty() && field.shape == Shape::Map,
            Some(Value::Null) => true,
        };
        if field.omit_empty && is_empty && !(value.is_none() && never_empty(field)) {
            return;
        }
        if field.omit_zero && value.is_none() {
            return;
        }
        let value = value.unwrap_or_else(|| match field.shape {
            Shape::Value => self.zero(field.r#type),
            Shape::Pointer | Shape::List | Shape::Map => Value::Null,
        });
        out.insert(name.to_owned(), value);
    }

    /// Returns the value of a field. `None` if it has the wrong type.
    fn field(&mut self, field: &Field, value: &Value, place: Place<'_>) -> Result<Option<Value>, String> {
        match (field.shape, value) {
            (Shape::Value | Shape::Pointer, value) => self.value(field, value, place),
            (Shape::List, Value::Array(items)) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{}[{index}]", place.path);
                    list.push(self.element(field, item, Place { path: &path, ..place })?);
                }
                Ok(Some(list.into()))
            }
            (Shape::Map, Value::Object(members)) => {
                let mut map = Map::new();
                for (key, value) in members {
                    let path = format!("{}.{key}", place.path);
                    map.insert(key.clone(), self.element(field, value, Place { path: &path, ..place })?);
                }
                Ok(Some(map.into()))
            }
            (Shape::List, other) => {
                let expected =
                    Expected { name: format!("[]{}", self.element_name(field)), kind: Some("slice") };
                Ok(self.mismatch(other, place, &expected))
            }
            (Shape::Map, other) => {
                let name = match field.map_name {
                    Some(name) => name.to_owned(),
                    None => format!("map[string]{}", self.element_name(field)),
                };
                Ok(self.mismatch(other, place, &Expected { name, kind: Some("map") }))
            }
        }
    }

    fn element(&mut self, field: &Field, value: &Value, place: Place<'_>) -> Result<Value, String> {
        let decoded = if value.is_null() { None } else { self.value(field, value, place)? };
        Ok(decoded.unwrap_or_else(|| self.zero(field.r#type)))
    }

    fn value(&mut self, field: &Field, value: &Value, place: Place<'_>) -> Result<Option<Value>, String> {
        let integer = |number: &serde_json::Number, bits: u32| {
            number.as_i64().is_some_and(|it| bits == 64 || i32::try_from(it).is_ok())
        };
        Ok(match (field.r#type, value) {
            (FieldType::Message(index), value) => match (self.messages.at(index), value) {
                (Some(message), Value::Object(members)) => {
                    let mut out = Map::new();
                    let mut rest: Vec<&str> = members.keys().map(String::as_str).collect();
                    let within = Place { structure: message.name, ..place };
                    self.structure(message, members, within, &mut rest, &mut out)?;
                    self.unknown.extend(rest.into_iter().map(|key| format!("{}.{key}", place.path)));
                    Some(out.into())
                }
                (Some(message), other) => {
                    self.mismatch(other, place, &Expected { name: message.go_name(), kind: Some("struct") })
                }
                (None, other) => Some(other.clone()),
            },
            (FieldType::String, Value::String(_))
            | (FieldType::Bool, Value::Bool(_))
            | (FieldType::Double, Value::Number(_)) => Some(value.clone()),
            (FieldType::Int32, Value::Number(number)) if integer(number, 32) => Some(value.clone()),
            (FieldType::Int64, Value::Number(number)) if integer(number, 64) => Some(value.clone()),
            (FieldType::Bytes, Value::String(text)) => Some(base64::canonical(text)?.into()),
            (FieldType::Time, Value::String(text)) => Some(time::seconds(text)?.into()),
            (FieldType::MicroTime, Value::String(text)) => Some(time::micros(text)?.into()),
            (FieldType::Quantity, Value::String(text)) => Some(quantity(field, text.trim())?.into()),
            (FieldType::Quantity, other) => Some(quantity(field, &other.to_string())?.into()),
            (FieldType::IntOrString, Value::String(_)) => Some(value.clone()),
            (FieldType::IntOrString, Value::Number(number)) if integer(number, 32) => Some(value.clone()),
            (FieldType::Strings, Value::Array(items)) => {
                let items = items.iter().map(|item| match item {
                    Value::String(_) => item.clone(),
                    Value::Null => "".into(),
                    other => {
                        let expected = Expected { name: "string".to_owned(), kind: Some("string") };
                        self.mismatch(other, place, &expected).unwrap_or_else(|| "".into())
                    }
                });
                Some(items.collect())
            }
            // These are checked elsewhere.
            (
                FieldType::Json
                | FieldType::SchemaOrArray
                | FieldType::SchemaOrBool
                | FieldType::SchemaOrStrings,
                value,
            ) => Some(value.clone()),
            (_, value) => {
                let expected = Expected { name: self.element_name(field), kind: kind(field.r#type) };
                self.mismatch(value, place, &expected)
            }
        })
    }

    /// Records that a value has the wrong type.
    fn mismatch(&mut self, value: &Value, place: Place<'_>, expected: &Expected) -> Option<Value> {
        let Place { structure, fields, .. } = place;
        let Expected { name, kind } = expected;
        let what = json_type(value);
        // The number itself is shown only if an integer is expected.
        let what = match value {
            Value::Number(number) if name.starts_with("int") => format!("{what} {number}"),
            _ => what.to_owned(),
        };
        self.mismatch.get_or_insert_with(|| TypeMismatch {
            json: format!(
                "json: cannot unmarshal {what} into Go struct field {structure}.{fields} of type {name}"
            ),
            unstructured: Some(match kind {
                Some(kind) => cannot_convert(value, kind, name),
                None => format!("json: cannot unmarshal {what} into Go value of type {name}"),
            }),
        });
        None
    }

    /// Returns the value of a field that is not set.
    fn zero(&mut self, r#type: FieldType) -> Value {
        match r#type {
            FieldType::String => "".into(),
            FieldType::Bool => false.into(),
            FieldType::Int32 | FieldType::Int64 | FieldType::Double | FieldType::IntOrString => 0.into(),
            FieldType::Quantity => "0".into(),
            FieldType::Message(index) => {
                let mut out = Map::new();
                let Some(message) = self.messages.at(index) else { return Value::Null };
                let nothing = Map::new();
                let place = Place { structure: "", fields: "", path: "" };
                // Absent values cannot have the wrong type.
                let _ = self.structure(message, &nothing, place, &mut Vec::new(), &mut out);
                out.into()
            }
            _ => Value::Null,
        }
    }

    /// The name that Go prints for the type of a field's elements.
    fn element_name(&self, field: &Field) -> String {
        if let Some(name) = field.element_name {
            return name.to_owned();
        }
        match field.r#type {
            FieldType::String | FieldType::Time | FieldType::MicroTime => "string".to_owned(),
            FieldType::Bool => "bool".to_owned(),
            FieldType::Int32 | FieldType::IntOrString => "int32".to_owned(),
            FieldType::Int64 => "int64".to_owned(),
            FieldType::Double => "float64".to_owned(),
            FieldType::Bytes => "[]uint8".to_owned(),
            FieldType::Strings => "[]string".to_owned(),
            FieldType::Quantity => "resource.Quantity".to_owned(),
            FieldType::Message(index) => self.messages.at(index).map(Message::go_name).unwrap_or_default(),
            FieldType::Json
            | FieldType::SchemaOrArray
            | FieldType::SchemaOrBool
            | FieldType::SchemaOrStrings => String::new(),
        }
    }
}

/// Returns the kind of a type in Go's reflection. `None`: it reads its JSON itself.
fn kind(r#type: FieldType) -> Option<&'static str> {
    match r#type {
        FieldType::String => Some("string"),
        FieldType::Bool => Some("bool"),
        FieldType::Int32 => Some("int32"),
        FieldType::Int64 => Some("int64"),
        FieldType::Double => Some("float64"),
        FieldType::Bytes | FieldType::Strings => Some("slice"),
        _ => None,
    }
}

/// Returns the error of `FromUnstructured` for a value that should have another type.
fn cannot_convert(value: &Value, kind: &str, name: &str) -> String {
    let found = match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        scalar => go::unstructured_type(scalar),
    };
    match (kind, found) {
        ("struct", _) => format!("cannot restore struct from: {found}"),
        ("map" | "slice", _) => format!("cannot restore {kind} from {found}"),
        // Go can convert these, but not JSON.
        ("string", "int64") | ("int32" | "int64", "float64") => {
            format!("cannot convert {found} to {name}")
        }
        _ => format!("unrecognized type: {kind}"),
    }
}

/// Returns a quantity as it is stored: in a list of resources, of thousandths.
fn quantity(field: &Field, text: &str) -> Result<String, String> {
    let stored = Quantity::canonicalize(text).map_err(|error| error.to_string())?;
    // `SetDefaults_ResourceList`, which RuntimeClasses do not have.
    if field.map_name != Some("v1.ResourceList") || field.json == Some("podFixed") {
        return Ok(stored);
    }
    let amount = text.parse::<Quantity>().ok().map(|amount| (amount, amount.rounded_up(-3)));
    let rounded = amount.filter(|(amount, rounded)| amount != rounded);
    Ok(rounded.map_or(stored, |(_, rounded)| rounded.to_string()))
}

/// Returns the sort key that puts paths in the order of an object with sorted members.
fn place_in_order(path: &str) -> Vec<(String, usize)> {
    let parts = path.split(['.', '[']);
    parts
        .map(|part| match part.strip_suffix(']').map(str::parse) {
            Some(Ok(index)) => (String::new(), index),
            _ => (part.to_owned(), 0),
        })
        .collect()
}

/// Returns whether Go writes an unset value despite `omitempty`: a struct with its own JSON encoding.
fn never_empty(field: &Field) -> bool {
    field.shape == Shape::Value
        && matches!(
            field.r#type,
            FieldType::Time | FieldType::MicroTime | FieldType::Quantity | FieldType::IntOrString
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: &Value) -> Result<Decoded, TypeMismatch> {
        decode("v1", "Pod", &json!({"kind": "Pod", "metadata": {"name": "a"}, "spec": spec})).unwrap()
    }

    #[test]
    fn is_written_as_go_does() {
        let spec = json!({
            "containers": [{"name": "a", "stdin": false, "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}],
            "volumes": null,
            "nodeSelector": {},
            "bar": 1,
            "hostNetwork": true,
        });
        let decoded = pod(&spec).unwrap();
        assert_eq!(decoded.unknown, ["spec.bar"]);
        let container = json!({"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}});
        let expected = json!({
            "kind": "Pod", "metadata": {"name": "a"}, "status": {},
            "spec": {"containers": [container], "hostNetwork": true},
        });
        assert_eq!(decoded.object, expected);
        assert_eq!(decode("v1", "Pod", &decoded.object).unwrap().unwrap().object, decoded.object);
    }

    #[test]
    fn wrong_types_have_the_message_of_go() {
        let with = |container: Value| json!({"containers": [container]});
        for (spec, words) in [
            (json!(3), "number into Go struct field Pod.spec of type v1.PodSpec"),
            (
                json!({"containers": {}}),
                "object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (
                with(json!({"ports": [{"containerPort": 1.5}]})),
                "number 1.5 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
            ),
            (
                with(json!({"livenessProbe": {"httpGet": {"port": []}}})),
                "array into Go struct field HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port of type \
                 int32",
            ),
            (
                with(json!({"command": [true]})),
                "bool into Go struct field Container.spec.containers.command of type string",
            ),
        ] {
            assert_eq!(pod(&spec).unwrap_err().to_string(), format!("json: cannot unmarshal {words}"));
        }
    }

    #[test]
    fn types_have_their_go_names() {
        for (spec, typed, unstructured) in [
            (
                json!({"restartPolicy": 3}),
                "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
                "cannot convert int64 to v1.RestartPolicy",
            ),
            (
                json!({"volumes": [{"hostPath": 3}]}),
                "number into Go struct field Volume.spec.volumes.VolumeSource.hostPath of type v1.HostPathVolumeSource",
                "cannot restore struct from: int64",
            ),
            (
                json!({"overhead": []}),
                "array into Go struct field PodSpec.spec.overhead of type v1.ResourceList",
                "cannot restore map from slice",
            ),
            (
                json!({"hostNetwork": "x"}),
                "string into Go struct field PodSpec.spec.hostNetwork of type bool",
                "unrecognized type: bool",
            ),
        ] {
            let error = pod(&spec).unwrap_err();
            assert_eq!(error.to_string(), format!("json: cannot unmarshal {typed}"));
            assert_eq!(error.unstructured(), unstructured);
        }
    }

    #[test]
    fn metadata_is_decoded_without_its_object() {
        let metadata =
            json!({"labels": null, "finalizers": [], "annotations": {"a": null}, "kind": "x", "foo": 1});
        let decoded = decode_metadata(&metadata).unwrap();
        assert_eq!(decoded.object, json!({"annotations": {"a": ""}}));
        assert_eq!(decoded.unknown, ["foo", "kind"]);
        assert_eq!(decode_metadata(&Value::Null).unwrap().object, json!({}));
        for (metadata, words) in [
            (json!("x"), "string into Go value of type v1.ObjectMeta"),
            (json!({"labels": []}), "array into Go struct field ObjectMeta.labels of type map[string]string"),
        ] {
            let message = format!("json: cannot unmarshal {words}");
            assert_eq!(decode_metadata(&metadata).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn an_unknown_kind_is_not_decoded() {
        assert_eq!(decode("example.com/v1", "Pod", &json!({})), None);
    }
}
