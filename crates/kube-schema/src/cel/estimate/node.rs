//! The estimate for a part of an expression: its type, its place in the declarations, and its size.

use std::rc::Rc;

use kube_cel::cel::common::ast::LiteralValue;

use crate::cel::declared::{self, Declared};

/// The cost of creating a list.
pub(super) const NEW_LIST: u64 = 10;

/// The type of an expression.
#[derive(Clone, Debug)]
pub(super) enum Type {
    Dyn,
    /// Numbers, booleans and times, which all have the same size.
    Scalar,
    String,
    Bytes,
    List(Rc<Type>),
    /// The types of keys and of values.
    Map(Rc<Type>, Rc<Type>),
    Object(Rc<Declared>),
    Optional(Rc<Type>),
    /// A type of Kubernetes' own, named after the function that creates it.
    Opaque(&'static str),
}

/// The place of a value in the declarations.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The expression creates the value.
    Nowhere,
    /// The value is not declared.
    Lost,
    At(Rc<Declared>),
}

/// The minimum and maximum size of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) min: u64,
    pub(super) max: u64,
}

/// The sizes of the keys and values of a list or map that the expression creates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) is_list: bool,
    pub(super) key: Size,
    pub(super) value: Size,
}

/// The estimate for a part of an expression.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) cost: u64,
    pub(super) kind: Type,
    pub(super) place: Place,
    pub(super) size: Option<Size>,
    pub(super) entry: Option<Entry>,
}

impl Node {
    pub(super) fn new(cost: u64, kind: Type) -> Self {
        let size = kind.size();
        Self { cost, kind, place: Place::Nowhere, size, entry: None }
    }

    pub(super) fn literal(literal: &LiteralValue) -> Self {
        let (kind, size) = match literal {
            LiteralValue::String(text) => (Type::String, text.inner().chars().count() as u64),
            LiteralValue::Bytes(bytes) => (Type::Bytes, bytes.inner().len() as u64),
            LiteralValue::Null => (Type::Dyn, 1),
            _ => (Type::Scalar, 1),
        };
        Self { size: Some(Size::fixed(size)), ..Self::new(0, kind) }
    }

    pub(super) fn at(self, place: Place) -> Self {
        let size = place.size().or(self.size);
        Self { place, size, ..self }
    }

    pub(super) fn size_or_unknown(&self) -> Size {
        self.size.unwrap_or(Size { min: 0, max: u64::MAX })
    }

    /// Returns the size of a list's items, according to their declaration.
    pub(super) fn items(&self) -> Size {
        let items = match &self.place {
            Place::At(declared) => declared.element(),
            _ => Place::Lost,
        };
        items.size().unwrap_or(Size { min: 0, max: u64::MAX })
    }

    /// Returns a key of this list or map, as a macro's variable.
    pub(super) fn key(&self, is_list: bool, root: &Rc<Declared>) -> Self {
        let kind = match &self.kind {
            Type::Map(key, _) => (**key).clone(),
            _ if is_list => Type::Scalar,
            _ => Type::Dyn,
        };
        let place = self.place.within(root, |declared| match &declared.kind {
            declared::Kind::Map(_) if !is_list => Place::At(declared::key()),
            _ => Place::Lost,
        });
        Self { place, size: self.entry.map(|entry| entry.key), ..Self::new(0, kind) }
    }

    /// Returns a value of this list or map, as a macro's variable.
    pub(super) fn value(&self, root: &Rc<Declared>) -> Self {
        let place = self.place.within(root, Declared::element);
        Self { place, size: self.entry.map(|entry| entry.value), ..Self::new(0, self.kind.element()) }
    }
}

impl Place {
    /// Returns a place inside this one. As in cel-go's estimate, anything inside a value without a place is at the root.
    pub(super) fn within(&self, root: &Rc<Declared>, inside: impl FnOnce(&Declared) -> Self) -> Self {
        match self {
            Self::Nowhere => Self::At(Rc::clone(root)),
            Self::Lost => Self::Lost,
            Self::At(declared) => inside(declared),
        }
    }

    pub(super) fn size(&self) -> Option<Size> {
        match self {
            Self::At(declared) => Some(Size { min: 0, max: declared.max }),
            Self::Nowhere | Self::Lost => None,
        }
    }
}

impl Declared {
    pub(super) fn field(&self, name: &str) -> Place {
        match &self.kind {
            declared::Kind::Object(fields) => {
                fields.get(name).map_or(Place::Lost, |field| Place::At(Rc::clone(field)))
            }
            _ => Place::Lost,
        }
    }

    pub(super) fn element(&self) -> Place {
        match &self.kind {
            declared::Kind::List(element) | declared::Kind::Map(element) => Place::At(Rc::clone(element)),
            _ => Place::Lost,
        }
    }
}

impl Type {
    pub(super) fn of(declared: &Rc<Declared>) -> Self {
        match &declared.kind {
            declared::Kind::Dyn => Self::Dyn,
            declared::Kind::String => Self::String,
            declared::Kind::Bytes => Self::Bytes,
            declared::Kind::List(items) => Self::List(Self::of(items).into()),
            declared::Kind::Map(values) => Self::Map(Self::String.into(), Self::of(values).into()),
            declared::Kind::Object(_) => Self::Object(Rc::clone(declared)),
            declared::Kind::Bool
            | declared::Kind::Int
            | declared::Kind::Double
            | declared::Kind::Duration
            | declared::Kind::Timestamp => Self::Scalar,
        }
    }

    pub(super) fn field(&self, name: &str) -> Self {
        match self {
            Self::Object(declared) => match declared.field(name) {
                Place::At(field) => Self::of(&field),
                _ => Self::Dyn,
            },
            Self::Map(_, value) => (**value).clone(),
            Self::Optional(inner) => Self::Optional(inner.field(name).into()),
            _ => Self::Dyn,
        }
    }

    pub(super) fn element(&self) -> Self {
        match self {
            Self::List(item) => (**item).clone(),
            Self::Map(_, value) => (**value).clone(),
            _ => Self::Dyn,
        }
    }

    /// Returns the common type of two alternatives.
    pub(super) fn joined(left: &Self, right: &Self) -> Self {
        match (left, right) {
            (Self::List(item), Self::List(other)) => Self::List(Self::joined(item, other).into()),
            (Self::Map(key, value), Self::Map(..)) => Self::Map(Rc::clone(key), Rc::clone(value)),
            // The type of null, or of an empty list's items, is unknown.
            (Self::Dyn, other) | (other, Self::Dyn) => other.clone(),
            (Self::Scalar, Self::Scalar) => Self::Scalar,
            (Self::String, Self::String) => Self::String,
            (Self::Bytes, Self::Bytes) => Self::Bytes,
            (Self::Object(declared), Self::Object(_)) => Self::Object(Rc::clone(declared)),
            (Self::Optional(inner), Self::Optional(_)) => Self::Optional(Rc::clone(inner)),
            (Self::Opaque(name), Self::Opaque(other)) if name == other => Self::Opaque(name),
            _ => Self::Dyn,
        }
    }

    /// Returns the size of the type's values, if they all have the same size.
    pub(super) fn size(&self) -> Option<Size> {
        match self {
            Self::Scalar => Some(Size::fixed(1)),
            Self::Optional(inner) => inner.size(),
            _ => None,
        }
    }
}

impl Size {
    pub(super) fn fixed(size: u64) -> Self {
        Self { min: size, max: size }
    }

    pub(super) fn of_all(nodes: &[Node]) -> Self {
        let sizes = nodes.iter().map(Node::size_or_unknown);
        sizes.reduce(Self::union).unwrap_or(Self::fixed(0))
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Returns the cost of processing the maximum size at `factor` per unit, rounded up.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    pub(super) fn cost(self, factor: f64) -> u64 {
        // Casts from floating point saturate.
        (self.max as f64 * factor).ceil() as u64
    }

    /// Returns the size of a text of this size after replacing `old` by `new`.
    pub(super) fn replaced(self, old: Self, new: Self) -> Self {
        // An empty text matches before, between and after all characters.
        let max = if old.min == 0 {
            self.max.saturating_add(1).saturating_mul(new.max).saturating_add(self.max)
        } else if new.max <= old.min {
            self.max
        } else {
            self.max.div_ceil(old.min).saturating_mul(new.max)
        };
        let min = if old.max == 0 {
            self.min.saturating_add(1).saturating_mul(new.min).saturating_add(self.min)
        } else if old.max <= new.min {
            self.min
        } else {
            self.min.div_ceil(old.max).saturating_mul(new.min)
        };
        Self { min, max }
    }
}

impl Entry {
    pub(super) fn union(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        let (left, right) = (left?, right?);
        Some(Self {
            is_list: left.is_list,
            key: left.key.union(right.key),
            value: left.value.union(right.value),
        })
    }
}
