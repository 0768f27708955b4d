//! Lists: made by the expression, or read from the object as it is.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value as Json;

use super::{ELEMENT, Error, Evaluated, List, Map, Text, VISIT, Value, json, work};
use crate::schema::ListKind;

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Values(values, _) => values.len(),
            Self::Json(items, _) => items.len(),
        }
    }

    /// Whether a schema describes the list: kube-apiserver has other rules for such lists than cel-go.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(self, Self::Json(_, declaration) if !declaration.is_dynamic())
    }

    /// The element at an index; `None` behind the end.
    pub(crate) fn get(&self, index: usize) -> Option<Evaluated<'a>> {
        match self {
            Self::Values(values, _) => values.get(index).cloned().map(Ok),
            Self::Json(items, declaration) => {
                items.get(index).map(|item| json::read_element(item, declaration))
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Evaluated<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The elements; those of a list that the expression made are not cloned.
    fn elements(&self) -> impl Iterator<Item = Result<Cow<'_, Value<'a>>, Error>> {
        (0..self.len()).filter_map(|index| match self {
            Self::Values(values, _) => values.get(index).map(|value| Ok(Cow::Borrowed(value))),
            Self::Json(..) => self.get(index).map(|value| value.map(Cow::Owned)),
        })
    }

    /// All elements, if each can be read.
    pub(crate) fn values(&self) -> Result<Vec<Value<'a>>, Error> {
        self.iter().collect()
    }

    fn kind(&self) -> &'a ListKind {
        match self {
            Self::Values(_, kind) => kind,
            Self::Json(_, declaration) => declaration.list_kind(),
        }
    }

    /// `self + other`: a union of sets, a merge of maps by their keys, else one list behind the other.
    ///
    /// The elements of a list that nobody else holds are not copied.
    pub(crate) fn add(self, other: &Self) -> Evaluated<'a> {
        let kind = self.kind();
        work((self.len() + other.len()).saturating_mul(ELEMENT))?;
        let mut values = match self {
            Self::Values(values, _) => Arc::unwrap_or_clone(values),
            Self::Json(..) => self.values()?,
        };
        match kind {
            ListKind::Atomic => {
                values.reserve(other.len());
                for value in other.iter() {
                    values.push(value?);
                }
            }
            ListKind::Set => {
                let mut seen = values.iter().map(Scalar::of_element).collect::<Result<HashSet<_>, _>>()?;
                for value in other.iter() {
                    let value = value?;
                    if seen.insert(Scalar::of_element(&value)?) {
                        values.push(value);
                    }
                }
            }
            ListKind::Map(keys) => {
                let mut places: HashMap<_, _> =
                    values.iter().zip(0..).map(|(value, index)| (keys_of(value, keys), index)).collect();
                for value in other.iter() {
                    let value = value?;
                    let key = keys_of(&value, keys);
                    match places.get(&key).and_then(|index: &usize| values.get_mut(*index)) {
                        Some(place) => *place = value,
                        None => values.push(value),
                    }
                }
                places.clear();
            }
        }
        Ok(Value::List(Self::Values(Arc::new(values), kind)))
    }

    pub(super) fn equal(&self, other: &Self) -> Result<bool, Error> {
        if self.len() != other.len() {
            return Ok(false);
        }
        work(self.len().saturating_mul(VISIT))?;
        match (self, self.kind()) {
            (_, ListKind::Atomic) if !self.is_typed() => {
                // As in cel-go, elements that cannot be compared do not make the lists unequal.
                for (left, right) in self.elements().zip(other.elements()) {
                    let (Ok(left), Ok(right)) = (left, right) else { continue };
                    match left.equal(&right) {
                        Ok(false) => return Ok(false),
                        Err(error) if error.is_final() => return Err(error),
                        _ => {}
                    }
                }
                Ok(true)
            }
            (_, ListKind::Atomic) => {
                for (left, right) in self.iter().zip(other.iter()) {
                    let left = left?;
                    match right {
                        Ok(right) if left.equal_strictly(&right)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            (_, ListKind::Set) => {
                let scalars = |list: &Self| {
                    list.iter()
                        .map(|value| Scalar::of_element(&value?))
                        .collect::<Result<HashSet<_>, Error>>()
                };
                let left = scalars(self)?;
                Ok(left == scalars(other)? && !left.iter().any(Scalar::is_of_odd_zone))
            }
            (_, ListKind::Map(keys)) => {
                let key_of = |value: &Value<'a>| match self {
                    Self::Values(..) => Some(keys_of(value, keys)),
                    Self::Json(..) => raw_keys_of(value, keys),
                };
                let mut left = HashMap::new();
                for value in self.iter() {
                    let value = value?;
                    left.insert(key_of(&value), value);
                }
                let mut seen = HashSet::new();
                for value in other.iter() {
                    let Ok(value) = value else { return Ok(false) };
                    let key = key_of(&value);
                    let Some(counterpart) = left.get(&key).filter(|_| key.is_some()) else {
                        return Ok(false);
                    };
                    if !counterpart.equal_strictly(&value)? {
                        return Ok(false);
                    }
                    seen.insert(key);
                }
                Ok(seen.len() == left.len())
            }
        }
    }

    /// `needle in self`.
    pub(crate) fn contains(&self, needle: &Value<'a>) -> Result<bool, Error> {
        let is_typed = self.is_typed();
        let mut failed = false;
        for value in self.elements() {
            let equal = if is_typed {
                value.and_then(|value| value.equal_strictly(needle))
            } else {
                value.and_then(|value| needle.equal_strictly(&value))
            };
            match equal {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.is_final() => return Err(error),
                Err(_) => failed = true,
            }
        }
        if failed && is_typed { Err(Error::no_such_overload()) } else { Ok(false) }
    }
}

/// The keys of an element of a list of type map; `None` for a key that is absent.
fn keys_of<'a>(value: &Value<'a>, keys: &[String]) -> Vec<Option<Scalar<'a>>> {
    let Value::Map(map) = value else { return Vec::new() };
    keys.iter()
        .map(|key| {
            map.find(&Value::string(key.clone())).ok().flatten().and_then(|value| Scalar::of(&value.ok()?))
        })
        .collect()
}

/// The same of an element that was read; `None` for one that was not. As in kube-apiserver, a key whose name CEL escapes is not
/// found, so that all elements have the same.
fn raw_keys_of<'a>(value: &Value<'a>, keys: &[String]) -> Option<Vec<Option<Scalar<'a>>>> {
    let Value::Map(Map::Json(entries, _)) = value else { return None };
    let scalar = |json: &'a Json| Scalar::of(&json::read(json, json::dynamic()).ok()?);
    Some(keys.iter().map(|key| entries.get(key.as_str()).and_then(scalar)).collect())
}

/// A value that can be looked up: Go's comparable values. Values of different types are different.
#[derive(Eq, Hash, PartialEq)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(u64),
    String(Text<'a>),
    Bytes(Vec<u8>),
    Duration(i64),
    Timestamp(i64, u32, i32),
    Other(String),
}

impl<'a> Scalar<'a> {
    fn of(value: &Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Uint(value) => Self::Uint(*value),
            // Zeros are equal, whatever their sign.
            Value::Double(value) => Self::Double((value + 0.0).to_bits()),
            Value::String(text) => Self::String(text.clone()),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Value::Duration(nanos) => Self::Duration(*nanos),
            Value::Timestamp(time) => Self::Timestamp(time.seconds, time.nanos, time.offset),
            Value::Type(_) | Value::Optional(_) | Value::Opaque(_) | Value::Object(_) => {
                Self::Other(value.to_string())
            }
            Value::List(_) | Value::Map(_) => return None,
        })
    }

    /// Whether this is a time in a zone of which Go makes a new one each time, so that it does not equal itself in a set: it
    /// only keeps those of whole hours from -12 to 14.
    fn is_of_odd_zone(&self) -> bool {
        matches!(self, Self::Timestamp(_, _, offset) if offset % 3600 != 0 || !(-12..=14).contains(&(offset / 3600)))
    }

    fn of_element(value: &Value<'a>) -> Result<Self, Error> {
        Self::of(value)
            .ok_or_else(|| Error::new("listSet operations are only supported on lists of scalar values"))
    }
}
