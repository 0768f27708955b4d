#![doc = include_str!("../README.md")]

mod age;
mod builtin;
mod cells;
mod cluster;
mod column;
mod custom_columns;
mod kinds;
mod sort;

use std::fmt;

use jiff::Timestamp;
use kube_selectors::JsonPath;
use kube_validation::go;
use serde_json::{Value, json};

pub use self::age::human_duration;
pub use self::custom_columns::{CustomColumns, CustomColumnsError};
pub use self::sort::{SortBy, SortError};

/// The columns of one resource in one version. Parsing a CRD's columns costs more than using them, so keep this value.
#[derive(Clone, Debug)]
pub struct Columns {
    definitions: Vec<Value>,
    cells: Cells,
}

/// The header of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name as the type's author wrote it. kubectl prints it in upper case.
    pub name: &'a str,
    /// 0: always shown. Greater values: shown only in wide tables.
    pub priority: i64,
}

/// How the rows of a `Table` are created.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions<'a> {
    /// The part of its object that a row carries.
    pub include: IncludeObject,
    /// `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`, whichever the client asked for.
    pub group_version: &'a str,
    /// The time at which ages are computed.
    pub now: Timestamp,
}

/// The `includeObject` parameter: the part of its object that a row carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// A `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// Nothing.
    None,
    /// The whole object.
    Object,
}

/// An invalid `includeObject` parameter. The text is the message of kube-apiserver's 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidIncludeObject(String);

#[derive(Clone, Debug)]
enum Cells {
    /// The name, and then one cell per path, converted to the column's type. A path that does not parse yields empty cells.
    Paths(Vec<(Option<JsonPath>, String)>),
    /// A built-in kind with one function for the whole row.
    Row(fn(&Value, Timestamp) -> Vec<Value>),
    /// A built-in kind with one function per cell.
    Columns(&'static [column::Column]),
}

impl IncludeObject {
    /// Parses the parameter. If it is absent or empty, returns [`IncludeObject::Metadata`].
    ///
    /// # Errors
    /// Fails for any other value.
    pub fn parse(parameter: Option<&str>) -> Result<Self, InvalidIncludeObject> {
        match parameter {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(InvalidIncludeObject(other.to_owned())),
        }
    }
}

impl fmt::Display for InvalidIncludeObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = go::quote(&self.0);
        write!(
            f,
            "Unable to convert to Table as requested: includeObject: Invalid value: {given}: must be 'Metadata', 'Object', \
             'None', or empty"
        )
    }
}

impl std::error::Error for InvalidIncludeObject {}

impl Columns {
    /// Returns the columns of a custom resource: `spec.versions[*].additionalPrinterColumns` of its CRD. Without printer
    /// columns, a table shows the age.
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

    /// Returns the columns of a built-in kind; name and age for an unknown kind.
    pub fn builtin(group: &str, kind: &str) -> Self {
        if let Some(columns) = kinds::columns(group, kind).or_else(|| cluster::columns(group, kind)) {
            let others = columns.iter().map(column::definition);
            let definitions = std::iter::once(builtin::name_column()).chain(others).collect();
            return Self { definitions, cells: Cells::Columns(columns) };
        }
        let (definitions, row) = builtin::columns(group, kind);
        Self { definitions, cells: Cells::Row(row) }
    }

    /// Returns the `columnDefinitions` of a `Table`.
    pub fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    /// Returns the headers of the columns, in the order of their cells. The first column is the object's name, except for
    /// Events.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.definitions.iter().map(|definition| Header {
            name: definition["name"].as_str().unwrap_or_default(),
            priority: definition["priority"].as_i64().unwrap_or_default(),
        })
    }

    /// Returns the cells of one object, one per column. A cell is null if the column's path yields no value of the column's
    /// type. Ages are computed at `now`.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.cells {
            Cells::Row(row) => row(object, now),
            Cells::Columns(columns) => column::row(columns, object, now),
            Cells::Paths(paths) => {
                let name = object.pointer("/metadata/name").cloned().unwrap_or_default();
                let cells = paths.iter().map(|(path, kind)| cell(path.as_ref(), kind, object, now));
                std::iter::once(name).chain(cells).collect()
            }
        }
    }

    /// Returns a `Table` of objects. `metadata` is that of the list, or `{"resourceVersion": ...}` for a single object.
    pub fn table(
        &self,
        objects: impl IntoIterator<Item = Value>,
        metadata: Value,
        options: TableOptions<'_>,
    ) -> Value {
        let rows = objects.into_iter().map(|object| self.row(object, options)).collect();
        self.table_of_rows(rows, metadata, options)
    }

    /// Returns a `Table` of rows created by [`Columns::row`], for callers that do not want to create all rows of a long
    /// table in one go.
    pub fn table_of_rows(&self, rows: Vec<Value>, metadata: Value, options: TableOptions<'_>) -> Value {
        let mut table = json!({
            "kind": "Table", "apiVersion": options.group_version, "columnDefinitions": self.definitions,
        });
        table["metadata"] = metadata;
        table["rows"] = rows.into();
        table
    }

    /// Returns one of the `rows` of a `Table`.
    pub fn row(&self, object: Value, options: TableOptions<'_>) -> Value {
        let cells = self.cells(&object, options.now);
        let conditions = builtin::row_conditions(&object);
        let mut row = json!({"cells": cells});
        if let Some(conditions) = conditions {
            row["conditions"] = conditions;
        }
        row["object"] = match options.include {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => partial_object_metadata(object, options.group_version),
            IncludeObject::Object => object,
        };
        row
    }
}

/// Converts an object to a `PartialObjectMetadata` of `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
pub fn partial_object_metadata(mut object: Value, group_version: &str) -> Value {
    let metadata = object.get_mut("metadata").map_or_else(|| json!({}), Value::take);
    json!({"kind": "PartialObjectMetadata", "apiVersion": group_version, "metadata": metadata})
}

fn cell(path: Option<&JsonPath>, kind: &str, object: &Value, now: Timestamp) -> Value {
    let found = path.and_then(|path| path.find(object).ok()).unwrap_or_default();
    let Some(&value) = found.first() else {
        return Value::Null;
    };
    match (kind, value) {
        ("string", value) => Value::from(text(value)),
        ("integer", Value::Number(number)) => {
            // Go truncates towards zero.
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and cells are for display")]
            let truncated = || number.as_f64().map(|float| float as i64);
            number.as_i64().or_else(truncated).map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(number)) => Value::Number(number.clone()),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(time)) => Value::from(cells::ago(time, now)),
        _ => Value::Null,
    }
}

/// Formats a value as a cell of type string: a string as it is, other values as Go prints them.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Array(_) | Value::Object(_) => go::json(value),
        other => go::value(other),
    }
}

#[cfg(test)]
mod tests;
