//! Types as they are applied to values, with references resolved.

use serde_json::Value;

use super::meta::META;
use super::node::{ListType, MapType, Node, OwnedRelation, PatchStrategy, Scalar, TypeSet};

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type<'a> {
    pub(super) set: &'a TypeSet,
    pub(super) node: &'a Node,
}

/// The values that a type admits; more than one form if the schema has no `type`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Atom<'a> {
    pub(crate) scalar: Option<Scalar>,
    pub(crate) list: Option<List<'a>>,
    pub(crate) map: Option<Map<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a> {
    pub(crate) relation: Relation<'a>,
    pub(crate) element: Type<'a>,
}

/// The relation between the items of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Relation<'a> {
    /// The list is one value.
    Atomic,
    /// Each item is a value, identified by itself.
    Set,
    /// Each item is an object, identified by these of its fields.
    Map(&'a [String]),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Map<'a> {
    pub(crate) atomic: bool,
    set: &'a TypeSet,
    /// `None`: values of any type, deduced or atomic.
    described: Option<&'a MapType>,
    values: Option<&'a Node>,
}

/// How a strategic merge patch treats one member of a map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemberStrategy<'a> {
    /// The type of the member, or of its items if it is a list. `None`: unknown.
    pub(crate) of: Option<Type<'a>>,
    pub(crate) patch: PatchStrategy,
    /// The field that identifies the items of a list.
    pub(crate) merge_key: Option<&'a str>,
}

impl TypeSet {
    pub(super) fn get<'a>(&'a self, name: &str) -> Option<Type<'a>> {
        let find = |set: &'a Self| set.types.get(name).map(|named| Type { set, node: named.node() });
        find(self).or_else(|| find(&META))
    }
}

impl<'a> Type<'a> {
    /// Returns the type that is deduced from the value.
    pub(crate) fn deduced() -> Self {
        Self { set: &META, node: &Node::Deduced }
    }

    /// Returns the type that a reference leads to, or the type itself if it is not a reference. `None` if the name is unknown
    /// or leads to another reference, which does not happen in kube-apiserver's documents.
    fn resolved(self) -> Option<Self> {
        match self.node {
            Node::Reference { name, .. } => {
                self.set.get(name).filter(|named| !matches!(named.node, Node::Reference { .. }))
            }
            _ => Some(self),
        }
    }

    /// Returns all forms that the type admits.
    pub(crate) fn atom(self) -> Atom<'a> {
        let set = self.set;
        match self.node {
            Node::Scalar(scalar) => Atom { scalar: Some(*scalar), ..Atom::default() },
            Node::List(list) => Atom { list: Some(List::of(set, list)), ..Atom::default() },
            Node::Map(map) => Atom { map: Some(Map::of(set, map)), ..Atom::default() },
            Node::Any(both) => Atom {
                scalar: Some(Scalar::Any),
                list: Some(List::of(set, &both.0)),
                map: Some(Map::of(set, &both.1)),
            },
            Node::Deduced => any(set, &Node::Deduced, false),
            Node::Atomic => any(set, &Node::Atomic, true),
            Node::Reference { atomic, .. } => match self.resolved() {
                Some(Self { set, node: Node::Map(map) }) => {
                    let map = Map { atomic: atomic.unwrap_or(map.atomic), ..Map::of(set, map) };
                    Atom { map: Some(map), ..Atom::default() }
                }
                Some(named) => named.atom(),
                None => any(set, &Node::Deduced, false),
            },
        }
    }

    /// Returns the form of a value, if the type admits it; otherwise all forms, so that validation can report the error.
    pub(crate) fn atom_of(self, value: Option<&Value>) -> Atom<'a> {
        let atom = self.atom();
        match value {
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if atom.scalar.is_some() => {
                Atom { scalar: atom.scalar, ..Atom::default() }
            }
            Some(Value::Array(_)) if atom.list.is_some() => Atom { list: atom.list, ..Atom::default() },
            Some(Value::Object(_)) if atom.map.is_some() => Atom { map: atom.map, ..Atom::default() },
            _ => atom,
        }
    }

    /// Returns a value of the type before anything is written to it. A write of what Go already has there gets no owner.
    pub(crate) fn zero(self) -> Value {
        match self.resolved().map(|it| (it.set, it.node)) {
            Some((set, Node::Map(map))) if map.values.is_none() => {
                let embedded = map.embedded(set).map(|(name, field)| (name.to_owned(), field.zero()));
                let always = map.zero.iter().map(|(name, value)| (name.clone(), value.clone()));
                Value::Object(embedded.chain(always).collect())
            }
            _ => Value::Null,
        }
    }

    /// Returns an object as Go decodes it: embedded structs exist, and null counts as absent.
    pub(crate) fn decoded(self, object: &Value) -> Value {
        let (Node::Map(map), Value::Object(members)) = (self.node, object) else {
            return object.clone();
        };
        let mut members = members.clone();
        members.retain(|_, value| !value.is_null());
        for (name, field) in map.embedded(self.set) {
            if !members.contains_key(name) {
                members.insert(name.to_owned(), field.zero());
            }
        }
        Value::Object(members)
    }

    /// Returns how a strategic merge patch treats the member `name`.
    pub(crate) fn member_strategy(self, name: &str) -> MemberStrategy<'a> {
        let Some(Self { set, node: Node::Map(map) }) = self.resolved() else {
            return MemberStrategy::default();
        };
        let Some(node) = map.fields.get(name).or(map.values.as_deref()) else {
            return MemberStrategy::default();
        };
        match node {
            Node::List(list) => MemberStrategy {
                of: Some(Type { set, node: &list.items }),
                patch: list.patch,
                merge_key: list.merge_key.as_deref(),
            },
            Node::Reference { patch, .. } => MemberStrategy {
                of: Some(Type { set, node }),
                patch: PatchStrategy { merge: false, ..*patch },
                merge_key: None,
            },
            _ => MemberStrategy { of: Some(Type { set, node }), ..MemberStrategy::default() },
        }
    }
}

impl<'a> List<'a> {
    fn of(set: &'a TypeSet, list: &'a ListType) -> Self {
        let relation = match &list.relation {
            OwnedRelation::Atomic => Relation::Atomic,
            OwnedRelation::Set => Relation::Set,
            OwnedRelation::Map(keys) => Relation::Map(keys),
        };
        Self { relation, element: Type { set, node: &list.items } }
    }
}

impl MapType {
    /// Returns the fields that are structs in Go, and so always exist.
    fn embedded<'a>(&'a self, set: &'a TypeSet) -> impl Iterator<Item = (&'a str, Type<'a>)> {
        let embedded =
            self.fields.iter().filter(|(_, node)| matches!(node, Node::Reference { embedded: true, .. }));
        embedded.map(move |(name, node)| (name.as_str(), Type { set, node }))
    }
}

impl<'a> Map<'a> {
    fn of(set: &'a TypeSet, map: &'a MapType) -> Self {
        Self { atomic: map.atomic, set, described: Some(map), values: map.values.as_deref() }
    }

    /// Returns the type of the value under `name`, and whether it is a field. `None` if there is no such member.
    pub(crate) fn member(self, name: &str) -> Option<(Type<'a>, bool)> {
        let field = self.described.and_then(|map| map.fields.get(name)).map(|node| (node, true));
        let (node, is_field) = field.or(self.values.map(|node| (node, false)))?;
        Some((Type { set: self.set, node }, is_field))
    }

    /// Returns the value of a field that is omitted.
    pub(crate) fn default_of(self, name: &str) -> Option<Value> {
        self.described?.defaults.get(name).cloned()
    }

    /// Returns whether it has no fields and accepts any value, so that nothing is known about atomic parts.
    pub(crate) fn is_untyped(self) -> bool {
        matches!(self.values, Some(Node::Deduced)) && self.described.is_none_or(|map| map.fields.is_empty())
    }
}

fn any<'a>(set: &'a TypeSet, values: &'a Node, atomic: bool) -> Atom<'a> {
    Atom {
        scalar: Some(Scalar::Any),
        list: Some(List { relation: Relation::Atomic, element: Type { set, node: &Node::Atomic } }),
        map: Some(Map { atomic, set, described: None, values: Some(values) }),
    }
}
