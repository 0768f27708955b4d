//! Columns of built-in kinds that have one function per cell.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::builtin;
use crate::cells::{age_of, name};

/// Prints one cell of an object.
type Cell = fn(&Value, Timestamp) -> Value;

/// The name of a column and the function that prints its cells. A name that starts with `*` is shown by `-o wide` only.
/// One that ends in `#` is a column of integers, in `?` of booleans.
pub(super) type Column = (&'static str, Cell);

pub(super) const AGE: Column = ("Age", age_of);

/// Returns the row of an object under such columns.
pub(super) fn row(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    std::iter::once(name(object)).chain(columns.iter().map(|(_, cell)| cell(object, now))).collect()
}

/// Returns the definition of such a column.
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
    let description = if name == AGE.0 { builtin::AGE } else { "" };
    json!({"name": name, "type": kind, "format": "", "description": description, "priority": priority})
}
