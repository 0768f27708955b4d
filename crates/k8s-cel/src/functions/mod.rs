//! What the functions of the libraries do, by the names of their overloads.

use std::sync::Arc;

use crate::value::{Error, Evaluated, Value};

/// The code of an overload. Arguments have the types of its signature.
pub(crate) type Implementation = for<'a, 'b> fn(&'b [Value<'a>]) -> Evaluated<'a>;

pub(crate) fn implementation(overload: &str) -> Option<Implementation> {
    let _ = overload;
    None
}

/// Makes an object of a type, such as `google.protobuf.Duration{seconds: 5}`.
pub(crate) fn construct<'a>(type_name: &str, fields: Vec<(Arc<str>, Value<'a>)>) -> Evaluated<'a> {
    let _ = fields;
    Err(Error::new(format!("unknown type '{type_name}'")))
}
