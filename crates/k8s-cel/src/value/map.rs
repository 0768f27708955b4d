//! Maps: made by the expression, or objects and maps read from JSON as they are.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{Error, Evaluated, Key, Map, VISIT, Value, json, work};
use crate::go::Timestamp;

impl Key<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Uint(_) => 3,
            Self::Double(_) => 4,
            Self::String(_) => 5,
            Self::Duration(_) => 6,
            Self::Timestamp(_) => 7,
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Uint(left), Self::Uint(right)) => left.cmp(right),
            (Self::Double(left), Self::Double(right)) => left.total_cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::Duration(left), Self::Duration(right)) => left.cmp(right),
            (Self::Timestamp(left), Self::Timestamp(right)) => {
                // As keys of Go's maps: one moment in two zones is two keys.
                let parts = |it: &Timestamp| (it.seconds, it.nanos, it.offset);
                parts(left).cmp(&parts(right))
            }
            (left, right) => left.rank().cmp(&right.rank()),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_> {}

impl<'a> Key<'a> {
    pub(crate) fn of(value: Value<'a>) -> Result<Self, Error> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Int(value) => Self::Int(value),
            Value::Uint(value) => Self::Uint(value),
            Value::Double(value) => Self::Double(value),
            Value::String(text) => Self::String(text),
            Value::Duration(value) => Self::Duration(value),
            Value::Timestamp(value) => Self::Timestamp(value),
            Value::Bytes(_) => return Err(unhashable_bytes()),
            other => return Err(Error::new(format!("unsupported key type: {}", other.type_name()))),
        })
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::Double(value) => Value::Double(*value),
            Self::String(text) => Value::String(text.clone()),
            Self::Duration(value) => Value::Duration(*value),
            Self::Timestamp(value) => Value::Timestamp(*value),
        }
    }
}

/// kube-apiserver panics when it looks up bytes, which are a slice, in a map of Go.
pub(crate) fn unhashable_bytes() -> Error {
    Error::Internal("runtime error: hash of unhashable type types.Bytes".to_owned())
}

impl<'a> From<BTreeMap<Key<'a>, Value<'a>>> for Map<'a> {
    fn from(entries: BTreeMap<Key<'a>, Value<'a>>) -> Self {
        Self::Values(Arc::new(entries))
    }
}

impl<'a> Map<'a> {
    /// The number of entries; of an object, also those that the schema does not declare.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Values(entries) => entries.len(),
            Self::Json(entries, _) => entries.len(),
        }
    }

    /// Whether a schema describes the map: kube-apiserver has other rules for such maps than cel-go.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(self, Self::Json(_, declaration) if !declaration.is_dynamic())
    }

    /// The value of a key. Fails if the key cannot be a key of the map; `Some(Err)` if the value does not have its declared
    /// type.
    pub(crate) fn find(&self, key: &Value<'a>) -> Result<Option<Evaluated<'a>>, Error> {
        match self {
            Self::Values(entries) => Ok(find_number(entries, key).map(Ok)),
            Self::Json(entries, declaration) => match key {
                Value::String(name) => Ok(json::read_entry(entries, name, declaration)),
                _ if declaration.is_dynamic() => Ok(None),
                _ => Err(Error::no_such_overload()),
            },
        }
    }

    /// The keys by which values are found, in their order.
    pub(crate) fn keys(&self) -> Box<dyn Iterator<Item = Value<'a>> + '_> {
        match self {
            Self::Values(entries) => Box::new(entries.keys().map(Key::value)),
            Self::Json(entries, declaration) => {
                Box::new(entries.keys().filter_map(|name| json::key(name, declaration)).map(Value::String))
            }
        }
    }

    /// The keys with their values.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Value<'a>, Evaluated<'a>)> + '_ {
        self.keys().filter_map(|key| {
            let value = self.find(&key).ok()??;
            Some((key, value))
        })
    }

    pub(super) fn equal(&self, other: &Self) -> Result<bool, Error> {
        if self.len() != other.len() {
            return Ok(false);
        }
        work(self.len().saturating_mul(VISIT))?;
        let (Self::Json(entries, declaration), true) = (self, self.is_typed()) else {
            for (key, left) in self.entries() {
                let Some(right) = other.find(&key)? else { return Ok(false) };
                // As in cel-go, values that cannot be compared do not make the maps unequal.
                if let (Ok(left), Ok(right)) = (left, right) {
                    match left.equal(&right) {
                        Ok(false) => return Ok(false),
                        Err(error) if error.is_final() => return Err(error),
                        _ => {}
                    }
                }
            }
            return Ok(true);
        };
        for (name, value) in *entries {
            if json::is_declared(name, declaration) {
                let key = Value::string(name.as_str());
                let (left, right) = (self.find(&key)?, other.find(&key)?);
                match (left.transpose()?, right) {
                    (None, None) => {}
                    (Some(left), Some(Ok(right))) if left.equal_strictly(&right)? => {}
                    _ => return Ok(false),
                }
            } else {
                let Self::Json(others, _) = other else { return Err(Error::no_such_overload()) };
                if others.get(name).is_some_and(|other| other != value) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// A value by its key. Numbers of different types with the same value are the same key.
fn find_number<'a>(entries: &BTreeMap<Key<'a>, Value<'a>>, key: &Value<'a>) -> Option<Value<'a>> {
    let key = Key::of(key.clone()).ok()?;
    if let Some(found) = entries.get(&key) {
        return Some(found.clone());
    }
    let candidates = match key {
        Key::Int(value) => [u64::try_from(value).ok().map(Key::Uint), None],
        Key::Uint(value) => [i64::try_from(value).ok().map(Key::Int), None],
        Key::Double(value) => [
            super::convert::lossless_int(value).map(Key::Int),
            super::convert::lossless_uint(value).map(Key::Uint),
        ],
        _ => [None, None],
    };
    candidates.into_iter().flatten().find_map(|key| entries.get(&key)).cloned()
}
