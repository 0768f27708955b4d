//! `Table`s of meta.k8s.io: what kubectl prints.
//!
//! The cells of a custom resource are those of its `additionalPrinterColumns`, converted as apiextensions-apiserver's
//! `tableconvertor` does; those of built-in kinds are in `builtin`.

mod builtin;
mod cluster;
mod jsonpath;
mod kinds;

use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use builtin::selector;
use jsonpath::JsonPath;

/// The columns of one resource in one version. Made once per resource, used for each answer.
#[derive(Clone, Debug)]
pub struct Columns {
    definitions: Vec<Value>,
    cells: Cells,
}

/// The head of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, as the type's author wrote it.
    pub name: &'a str,
    /// 0: always shown; above: in wide tables alone.
    pub priority: i64,
}

#[derive(Clone, Debug)]
enum Cells {
    /// The name, and then a cell per path.
    Paths(Vec<(Option<JsonPath>, String)>),
    Builtin(fn(&Value, Timestamp) -> Vec<Value>),
    /// Of a kind of which `kinds` has the columns.
    Listed(&'static [kinds::Column]),
}

/// `includeObject`: what a row carries of its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    /// A `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// Nothing.
    None,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; the error is the message of the 400.
    pub(crate) fn parse(parameter: Option<&str>) -> Result<Self, String> {
        match parameter {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {}: must be 'Metadata', 'Object', 'None', or empty",
                Value::from(other)
            )),
        }
    }
}

impl Columns {
    /// Of a custom resource: `spec.versions[*].additionalPrinterColumns` of its CRD. Without any, its age.
    pub fn custom(printer_columns: Option<&Value>) -> Self {
        let age = [json!({
            "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": builtin::AGE,
        })];
        let columns = match printer_columns.and_then(Value::as_array) {
            Some(columns) if !columns.is_empty() => columns.as_slice(),
            _ => &age,
        };
        let mut definitions = vec![builtin::name_column()];
        let mut paths = Vec::new();
        for column in columns {
            let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or_default();
            let path = text("jsonPath");
            let description = match text("description") {
                "" => format!("Custom resource definition column (in JSONPath format): {path}"),
                description => description.to_owned(),
            };
            definitions.push(json!({
                "name": text("name"),
                "type": text("type"),
                "format": text("format"),
                "description": description,
                "priority": column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            }));
            paths.push((JsonPath::parse(path).ok(), text("type").to_owned()));
        }
        Self { definitions, cells: Cells::Paths(paths) }
    }

    /// Of a built-in kind. Those that `builtin` does not know get their name and age.
    pub(crate) fn builtin(group: &str, kind: &str) -> Self {
        if let Some(columns) = kinds::columns(group, kind) {
            let others = columns.iter().map(kinds::definition);
            let definitions = std::iter::once(builtin::name_column()).chain(others).collect();
            return Self { definitions, cells: Cells::Listed(columns) };
        }
        let (definitions, cells) = builtin::columns(group, kind);
        Self { definitions, cells: Cells::Builtin(cells) }
    }

    /// The `columnDefinitions` of a Table; the second and later Tables of a watch have none.
    pub(crate) fn definitions(&self) -> Value {
        Value::Array(self.definitions.clone())
    }

    /// The names of the columns, in the order of their cells; the first one is the object's name.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.definitions.iter().map(|definition| Header {
            name: definition["name"].as_str().unwrap_or_default(),
            priority: definition["priority"].as_i64().unwrap_or_default(),
        })
    }

    /// One object's cells, in the order of the columns; null where the object has nothing there. Ages are as of `now`.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.cells {
            Cells::Builtin(cells) => cells(object, now),
            Cells::Listed(columns) => kinds::row(columns, object, now),
            Cells::Paths(paths) => {
                let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
                let cells = paths.iter().map(|(path, kind)| cell(path.as_ref(), kind, object, now));
                std::iter::once(name).chain(cells).collect()
            }
        }
    }

    /// One object's row: its cells, and as much of the object as was asked for.
    pub(crate) fn row(
        &self,
        object: Value,
        include: IncludeObject,
        group_version: &str,
        now: Timestamp,
    ) -> Value {
        let cells = self.cells(&object, now);
        let conditions = builtin::row_conditions(&object);
        let mut row = json!({"cells": cells});
        if let Some(conditions) = conditions {
            row["conditions"] = conditions;
        }
        row["object"] = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => partial_object_metadata(object, group_version),
            IncludeObject::Object => object,
        };
        row
    }
}

/// A Table. `list_metadata` is a list's `metadata`, or that of an object of its own with its resourceVersion;
/// `group_version` is the asked one, `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
pub(crate) fn table(
    columns: &Columns,
    objects: impl IntoIterator<Item = Value>,
    list_metadata: Value,
    include: IncludeObject,
    group_version: &str,
    now: Timestamp,
) -> Value {
    let rows = objects.into_iter().map(|object| columns.row(object, include, group_version, now));
    let mut table = json!({
        "kind": "Table",
        "apiVersion": group_version,
        "columnDefinitions": columns.definitions(),
        "rows": rows.collect::<Vec<_>>(),
    });
    table["metadata"] = list_metadata;
    table
}

/// An object as `PartialObjectMetadata` of `meta.k8s.io/v1` or `v1beta1`.
pub(crate) fn partial_object_metadata(mut object: Value, group_version: &str) -> Value {
    let metadata = object.get_mut("metadata").map_or_else(|| json!({}), Value::take);
    json!({"kind": "PartialObjectMetadata", "apiVersion": group_version, "metadata": metadata})
}

/// How long ago a time was, in two or three figures (`k8s.io/apimachinery/pkg/util/duration.HumanDuration`).
pub(crate) fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => pair(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => pair(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

/// How long ago a timestamp of an object was; `<unknown>` without one.
fn since(time: Option<&str>, now: Timestamp) -> Option<String> {
    match time {
        None | Some("") => Some("<unknown>".to_owned()),
        Some(time) => Some(human_duration(now.as_second() - time.parse::<Timestamp>().ok()?.as_second())),
    }
}

fn cell(path: Option<&JsonPath>, kind: &str, object: &Value, now: Timestamp) -> Value {
    let found = path.and_then(|path| path.find(object).ok()).unwrap_or_default();
    let Some(value) = found.first().map(AsRef::as_ref) else {
        return Value::Null;
    };
    match (kind, value) {
        ("string", value) => Value::from(text(value)),
        ("integer", Value::Number(number)) => {
            // As Go converts: towards zero.
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and a cell is for people")]
            let truncated = || number.as_f64().map(|float| float as i64);
            number.as_i64().or_else(truncated).map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(number)) => Value::Number(number.clone()),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(time)) => {
            Value::from(since(Some(time), now).unwrap_or_else(|| "<invalid>".to_owned()))
        }
        _ => Value::Null,
    }
}

/// A value as a cell of type string: itself, or JSON as Go writes it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => {
            let mut json = String::new();
            write_json(value, &mut json);
            json
        }
        Value::Number(number) => go_number(number),
        Value::Bool(bool) => bool.to_string(),
    }
}

/// Sorted keys, `<`, `>` and `&` escaped.
fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(&Value::from(key.as_str()), out);
                out.push(':');
                write_json(item, out);
            }
            out.push('}');
        }
        Value::Number(number) => out.push_str(&go_number(number)),
        other => {
            let json = other.to_string();
            out.push_str(&json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
        }
    }
}

/// A number as Go prints one: no fraction for a whole float, an exponent from 1e21 on.
fn go_number(number: &serde_json::Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    if float == 0.0 || (1e-6..1e21).contains(&float.abs()) {
        return float.to_string();
    }
    // Rust writes 1.25e30, 1e-7; Go 1.25e+30, 1e-07.
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{mantissa}e-{exponent:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests;
