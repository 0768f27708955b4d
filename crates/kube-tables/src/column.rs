//! Columns of built-in kinds that have a function for each cell.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cells::{age_of, name};

/// What is printed of an object under one column.
type Cell = fn(&Value, Timestamp) -> Value;

/// The name of a column and its cells. With `*` before it, it is for `-o wide` alone; one that ends in `#` is a number's, in
/// `?` a boolean's.
pub(super) type Column = (&'static str, Cell);

pub(super) const AGE: Column = ("Age", age_of);

/// The row of an object under such columns.
pub(super) fn row(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    std::iter::once(name(object)).chain(columns.iter().map(|(_, cell)| cell(object, now))).collect()
}

/// The definition of such a column.
pub(super) fn definition((name, _): &Column) -> Value {
    let (name, priority) = match name.strip_prefix('*') {
        Some(name) => (name, 1),
        None => (*name, 0),
    };
    let (name, kind) = match (name.strip_suffix('#'), name.strip_suffix('?')) {
        (Some(name), _) => (name, "integer"),
        (_, Some(name)) => (name, "boolean"),
        _ => (name, "string"),
    };
    json!({"name": name, "type": kind, "format": "", "description": "", "priority": priority})
}
