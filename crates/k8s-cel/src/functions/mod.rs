//! What the functions of the libraries do, by cel-go's names of their overloads.

mod construct;
mod encoders;
mod format;
mod lists;
mod math;
mod named_format;
mod net;
mod optional;
mod quantity;
mod semver;
mod strings;
mod time;
mod urls;

use std::{collections::HashMap, sync::LazyLock};

pub(crate) use construct::construct;
pub(crate) use strings::{find, find_all};

use crate::value::{Error, Evaluated, List, Value};

/// The code of an overload. Arguments have the types of its signature.
pub(crate) type Implementation = for<'a, 'b> fn(&'b [Value<'a>]) -> Evaluated<'a>;

type Table = &'static [(&'static str, Implementation)];

static IMPLEMENTATIONS: LazyLock<HashMap<&str, Implementation>> = LazyLock::new(|| {
    let tables = [
        encoders::TABLE,
        format::TABLE,
        lists::TABLE,
        math::GREATEST,
        math::LEAST,
        math::TABLE,
        named_format::TABLE,
        net::TABLE,
        optional::TABLE,
        quantity::TABLE,
        semver::TABLE,
        strings::TABLE,
        time::TABLE,
        urls::TABLE,
    ];
    tables.into_iter().flatten().copied().collect()
});

/// The code of an overload; `None` for one that this crate only declares, such as an authorization check.
pub(crate) fn implementation(overload: &str) -> Option<Implementation> {
    IMPLEMENTATIONS.get(overload).copied()
}

fn mismatch<'a>() -> Evaluated<'a> {
    Err(Error::no_such_overload())
}

/// A list of strings.
fn string_list<'a>(texts: impl IntoIterator<Item = String>) -> Value<'a> {
    Value::list(texts.into_iter().map(Value::string).collect())
}

fn list<'b, 'a>(args: &'b [Value<'a>]) -> Result<&'b List<'a>, Error> {
    match args.first() {
        Some(Value::List(list)) => Ok(list),
        _ => Err(Error::no_such_overload()),
    }
}

fn int(args: &[Value<'_>], index: usize) -> Result<i64, Error> {
    match args.get(index) {
        Some(Value::Int(value)) => Ok(*value),
        _ => Err(Error::no_such_overload()),
    }
}

fn text<'b>(args: &'b [Value<'_>], index: usize) -> Result<&'b str, Error> {
    args.get(index).and_then(Value::as_str).ok_or_else(Error::no_such_overload)
}
