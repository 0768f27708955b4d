//! The data of values: they hold each other.

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value as Json;

use super::{Error, Octets, Text, work};
use crate::{
    go::Timestamp,
    schema::{Declaration, ListKind},
    types::{OPTIONAL, Type},
};

/// A list, with the rules for equality and `+` that a schema gave to it or to the list that it was made from.
#[derive(Clone, Debug)]
pub(crate) enum List<'a> {
    Values(Arc<Vec<Value<'a>>>, &'a ListKind),
    /// Elements become values when they are read. Reading fails for an element that does not have the declared type.
    Json(&'a [Json], &'a Declaration),
}

impl<'a> From<Vec<Value<'a>>> for List<'a> {
    fn from(values: Vec<Value<'a>>) -> Self {
        Self::Values(Arc::new(values), &ListKind::Atomic)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Map<'a> {
    Values(Arc<BTreeMap<Key<'a>, Value<'a>>>),
    /// An object with declared properties, a map with declared values, or an object about whose keys nothing is known.
    Json(&'a serde_json::Map<String, Json>, &'a Declaration),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(crate) enum Key<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Duration(i64),
    Timestamp(Timestamp),
}

/// An object that an expression of a mutating policy makes.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    pub(crate) type_name: Arc<str>,
    pub(crate) fields: BTreeMap<Arc<str>, Value<'a>>,
}

/// A value while an expression is evaluated. It may borrow from the object and from the program, which live for `'a`.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Octets<'a>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    Type(Arc<Type>),
    Object(Arc<Object<'a>>),
    /// A value of a library, such as a quantity.
    Opaque(Arc<dyn Opaque>),
}

/// A value whose type a library defines.
pub(crate) trait Opaque: fmt::Debug + Any + Send + Sync {
    fn type_of(&self) -> Type;

    /// Whether this value equals another one of any type.
    fn equal(&self, other: &Value<'_>) -> Result<bool, Error>;

    /// As Go prints it with `%v`, or with its `String` method where that would show the inside of a value.
    fn display(&self) -> String {
        self.text().unwrap_or_else(|| self.type_of().runtime())
    }

    /// How much an operation over the whole value costs: cel-go's `Sizer`. 1 for values without a size.
    fn size(&self) -> u64 {
        1
    }

    fn is_zero(&self) -> bool {
        false
    }

    /// What `string(x)` gives, if the type has that conversion.
    fn text(&self) -> Option<String> {
        None
    }

    /// What Go prints for the type of the value with `%T`.
    fn go_type(&self) -> &'static str {
        "ref.Val"
    }

    /// The size of the pattern behind a named format.
    fn regex_size(&self) -> u64 {
        0
    }
}

pub(crate) type Evaluated<'a> = Result<Value<'a>, Error>;

impl<'a> Value<'a> {
    pub(crate) fn string(text: impl Into<Text<'a>>) -> Self {
        Self::String(text.into())
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(List::from(items))
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub(crate) fn type_value(value: Type) -> Self {
        Self::Type(Arc::new(value))
    }

    pub(crate) fn opaque(value: impl Opaque) -> Self {
        Self::Opaque(Arc::new(value))
    }

    /// The library's value, if it has the type `T`.
    pub(crate) fn downcast<T: Opaque>(&self) -> Option<&T> {
        match self {
            Self::Opaque(value) => (&**value as &dyn Any).downcast_ref(),
            _ => None,
        }
    }

    /// The type at run time: parameters are dynamic.
    pub(crate) fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(_) => Type::Meta(None),
            Self::Object(object) => Type::Object(Arc::clone(&object.type_name)),
            Self::Opaque(value) => value.type_of(),
        }
    }

    /// The name of the type at run time.
    pub(crate) fn type_name(&self) -> String {
        match self {
            Self::Optional(_) => OPTIONAL.to_owned(),
            other => other.type_of().name().to_owned(),
        }
    }

    /// The number of elements, entries, characters or bytes: `size(x)`. `None` if the value has no size.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::String(text) => Some(text.chars().count()),
            Self::Bytes(bytes) => Some(bytes.len()),
            Self::List(list) => Some(list.len()),
            Self::Map(map) => Some(map.len()),
            _ => None,
        }
    }

    /// How much an operation over the whole value costs: cel-go's `actualSize`.
    pub(crate) fn cost_size(&self) -> u64 {
        match self {
            // Characters are counted; the end of the evaluation is up to the next step.
            Self::String(text) if work(text.len() / 8).is_err() => 1,
            Self::Optional(Some(value)) => value.cost_size(),
            Self::Opaque(value) => value.size(),
            other => other.size().map_or(1, |size| size as u64),
        }
    }

    /// Whether this is the type's zero: cel-go's `IsZeroValue`.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Timestamp(time) => time.seconds == Timestamp::ZERO.seconds && time.nanos == 0,
            // Values of a schema have no zero, as there.
            Self::List(list) => list.len() == 0 && !list.is_typed(),
            Self::Map(map) => map.len() == 0 && !map.is_typed(),
            Self::Optional(_) | Self::Type(_) => false,
            Self::Object(object) => object.fields.is_empty() && !object.is_patch(),
            Self::Opaque(value) => value.is_zero(),
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
