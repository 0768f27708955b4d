//! Optional values: cel-go's `cel/library.go`; and what macros with two variables expand to.

use std::{collections::BTreeMap, sync::Arc};

use super::arguments::{Table, list, mismatch};
use crate::value::{Error, Evaluated, Key, Map, Value};

pub(super) const TABLE: Table = &[
    ("optional_of", |args| match args {
        [value] => Ok(Value::some(value.clone())),
        _ => mismatch(),
    }),
    ("optional_ofNonZeroValue", |args| match args {
        [value] if value.is_zero() => Ok(Value::Optional(None)),
        [value] => Ok(Value::some(value.clone())),
        _ => mismatch(),
    }),
    ("optional_none", |_| Ok(Value::Optional(None))),
    ("optional_value", |args| match args {
        [Value::Optional(Some(value))] => Ok(Value::clone(value)),
        [Value::Optional(None)] => Err(Error::new("optional.none() dereference")),
        _ => mismatch(),
    }),
    ("optional_hasValue", |args| match args {
        [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
        _ => mismatch(),
    }),
    ("optional_unwrap", unwrap),
    ("optional_unwrapOpt", unwrap),
    ("list_first", |args| match list(args)?.get(0) {
        Some(first) => first.map(Value::some),
        None => Ok(Value::Optional(None)),
    }),
    ("list_last", |args| {
        let list = list(args)?;
        match list.len().checked_sub(1).and_then(|last| list.get(last)) {
            Some(last) => last.map(Value::some),
            None => Ok(Value::Optional(None)),
        }
    }),
    ("@mapInsert_map_map", |args| match args {
        [Value::Map(left), Value::Map(right)] => {
            let mut entries = entries(left)?;
            for (key, value) in right.entries() {
                insert(&mut entries, key, value?)?;
            }
            Ok(Value::Map(entries.into()))
        }
        _ => mismatch(),
    }),
    ("@mapInsert_map_key_value", |args| match args {
        [Value::Map(map), key, value] => {
            let mut entries = entries(map)?;
            insert(&mut entries, key.clone(), value.clone())?;
            Ok(Value::Map(entries.into()))
        }
        _ => mismatch(),
    }),
];

fn unwrap<'a>(args: &[Value<'a>]) -> Evaluated<'a> {
    let mut values = Vec::new();
    for element in list(args)?.iter() {
        match element? {
            Value::Optional(value) => values.extend(value.map(Arc::unwrap_or_clone)),
            other => {
                return Err(Error::new(format!("value {other} is not optional")));
            }
        }
    }
    Ok(Value::list(values))
}

fn entries<'a>(map: &Map<'a>) -> Result<BTreeMap<Key<'a>, Value<'a>>, Error> {
    match map {
        Map::Values(entries) => Ok(BTreeMap::clone(entries)),
        map @ Map::Json(..) => map.entries().map(|(key, value)| Ok((Key::of(key)?, value?))).collect(),
    }
}

fn insert<'a>(
    entries: &mut BTreeMap<Key<'a>, Value<'a>>,
    key: Value<'a>,
    value: Value<'a>,
) -> Result<(), Error> {
    let shown = key.to_string();
    if entries.insert(Key::of(key)?, value).is_some() {
        return Err(Error::new(format!("insert failed: key {shown} already exists")));
    }
    Ok(())
}
