//! `subresources.scale` of a definition's version: where its objects keep their replicas.

use kube_validation::{
    FieldError,
    go::{unstructured_type, value as go_value},
};
use serde_json::{Map, Value};

/// The paths of `subresources.scale`: simple JSON paths such as `.spec.replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    spec_replicas: String,
    status_replicas: String,
    label_selector: Option<String>,
}

impl Scale {
    /// The paths of the desired and of the current replicas, and of the text of a selector for their pods.
    pub fn new(spec_replicas: &str, status_replicas: &str, label_selector: Option<&str>) -> Self {
        Self {
            spec_replicas: spec_replicas.to_owned(),
            status_replicas: status_replicas.to_owned(),
            label_selector: label_selector.map(str::to_owned),
        }
    }

    /// Reads `subresources.scale`. `None` if it is absent: the objects have no `/scale`.
    pub fn parse(scale: &Value) -> Option<Self> {
        let text = |field: &str| scale[field].as_str();
        let replicas = |field: &str| text(field).unwrap_or_default();
        scale.is_object().then(|| {
            Self::new(replicas("specReplicasPath"), replicas("statusReplicasPath"), text("labelSelectorPath"))
        })
    }

    /// The path of the desired replicas.
    pub fn spec_replicas_path(&self) -> &str {
        &self.spec_replicas
    }

    /// Returns the desired replicas of an object. `None` if it has none.
    ///
    /// # Errors
    /// Fails if they, or what contains them, have another type, with the message of apimachinery's `NestedInt64`.
    pub fn spec_replicas(&self, object: &Value) -> Result<Option<i64>, String> {
        integer(object, &self.spec_replicas)
    }

    /// Whether the managed fields of an object name an owner of its desired replicas.
    pub fn has_owner(&self, object: &Value) -> bool {
        let owns = |entry: &Value| {
            let mut fields = &entry["fieldsV1"];
            names(&self.spec_replicas).all(|name| {
                fields = &fields[format!("f:{name}")];
                !fields.is_null()
            })
        };
        object["metadata"]["managedFields"].as_array().is_some_and(|entries| entries.iter().any(owns))
    }

    /// Returns the current replicas of an object. `None` if it has none.
    ///
    /// # Errors
    /// As [`Scale::spec_replicas`].
    pub fn status_replicas(&self, object: &Value) -> Result<Option<i64>, String> {
        integer(object, &self.status_replicas)
    }

    /// Returns the text of the selector of an object's pods. `None` if it has none.
    ///
    /// # Errors
    /// As [`Scale::spec_replicas`], with the message of `NestedString`.
    pub fn label_selector<'a>(&self, object: &'a Value) -> Result<Option<&'a str>, String> {
        let Some(path) = &self.label_selector else { return Ok(None) };
        let read = |value: &'a Value| value.as_str();
        nested(object, path, "string", read)
    }

    /// Writes the desired replicas, and the objects that contain them.
    ///
    /// # Errors
    /// Fails if something other than an object is in the way, with the message of `SetNestedField`.
    pub fn set_spec_replicas(&self, object: &mut Value, replicas: i32) -> Result<(), String> {
        let mut value = object;
        let mut seen = String::new();
        for name in names(&self.spec_replicas) {
            let Value::Object(map) = value else {
                return Err(format!("value cannot be set because {seen} is not a map[string]interface{{}}"));
            };
            seen = format!("{seen}.{name}");
            value = map.entry(name).or_insert_with(|| Map::new().into());
        }
        *value = replicas.into();
        Ok(())
    }

    /// Adds the errors in the desired replicas of an object.
    pub(crate) fn validate_spec(&self, object: &Value, errors: &mut Vec<FieldError>) {
        validate_replicas(&self.spec_replicas, self.spec_replicas(object), errors);
    }

    /// Adds the errors in the current replicas of an object, and in its selector.
    pub(crate) fn validate_status(&self, object: &Value, errors: &mut Vec<FieldError>) {
        validate_replicas(&self.status_replicas, self.status_replicas(object), errors);
        if let Err(why) = self.label_selector(object) {
            let path = self.label_selector.as_deref().unwrap_or_default();
            errors.push(FieldError::invalid(path, &"".into(), &why));
        }
    }
}

fn validate_replicas(path: &str, replicas: Result<Option<i64>, String>, errors: &mut Vec<FieldError>) {
    let (replicas, why) = match replicas {
        Ok(replicas) => match replicas.unwrap_or_default() {
            negative @ ..0 => (negative, "should be a non-negative integer".to_owned()),
            huge if huge > i64::from(i32::MAX) => {
                (huge, format!("should be less than or equal to {}", i32::MAX))
            }
            _ => return,
        },
        Err(why) => (0, why),
    };
    errors.push(FieldError::invalid(path, &replicas.into(), &why));
}

fn integer(object: &Value, path: &str) -> Result<Option<i64>, String> {
    nested(object, path, "int64", Value::as_i64)
}

/// Reads the value at a simple JSON path. What is in a `null` is absent, but a `null` itself has the wrong type.
fn nested<'a, T>(
    object: &'a Value,
    path: &str,
    expected: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, String> {
    let wrong = |seen: &str, value: &Value, expected: &str| {
        let (shown, found) = (go_value(value), unstructured_type(value));
        format!("{seen} accessor error: {shown} is of the type {found}, expected {expected}")
    };
    let mut value = object;
    let mut seen = String::new();
    for name in names(path) {
        seen = format!("{seen}.{name}");
        value = match value {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(name) {
                Some(value) => value,
                None => return Ok(None),
            },
            other => return Err(wrong(&seen, other, "map[string]interface{}")),
        };
    }
    read(value).map(Some).ok_or_else(|| wrong(&seen, value, expected))
}

/// The names of the fields in a simple JSON path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('.').unwrap_or(path).split('.')
}
