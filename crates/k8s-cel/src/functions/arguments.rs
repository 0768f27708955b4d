//! What the tables of functions have in common.

use crate::value::{Error, Evaluated, List, Value};

/// The code of an overload. Arguments have the types of its signature.
pub(crate) type Implementation = for<'a, 'b> fn(&'b [Value<'a>]) -> Evaluated<'a>;

pub(super) type Table = &'static [(&'static str, Implementation)];

pub(super) fn mismatch<'a>() -> Evaluated<'a> {
    Err(Error::no_such_overload())
}

/// A list of strings.
pub(super) fn string_list<'a>(texts: impl IntoIterator<Item = String>) -> Value<'a> {
    Value::list(texts.into_iter().map(Value::string).collect())
}

pub(super) fn list<'b, 'a>(args: &'b [Value<'a>]) -> Result<&'b List<'a>, Error> {
    match args.first() {
        Some(Value::List(list)) => Ok(list),
        _ => Err(Error::no_such_overload()),
    }
}

pub(super) fn int(args: &[Value<'_>], index: usize) -> Result<i64, Error> {
    match args.get(index) {
        Some(Value::Int(value)) => Ok(*value),
        _ => Err(Error::no_such_overload()),
    }
}

pub(super) fn text<'b>(args: &'b [Value<'_>], index: usize) -> Result<&'b str, Error> {
    args.get(index).and_then(Value::as_str).ok_or_else(Error::no_such_overload)
}
