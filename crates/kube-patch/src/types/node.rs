//! Types as a schema describes them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde_json::Value;

pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Types by name.
#[derive(Debug, Default)]
pub(super) struct TypeSet {
    pub(super) types: HashMap<Cow<'static, str>, Named>,
}

/// A type with a name.
#[derive(Debug)]
pub(super) struct Named {
    /// Made when it is first used.
    pub(super) node: OnceLock<Box<Node>>,
    /// The schema that it is made of, unless it exists from the start.
    pub(super) schema: &'static str,
}

/// A type as a schema describes it.
#[derive(Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    List(Box<ListType>),
    Map(MapType),
    /// A custom resource's value without a `type`: any scalar, or a list or map as described here.
    Any(Box<(ListType, MapType)>),
    /// The type is deduced from the value: maps merge by key, lists are atomic (`__untyped_deduced_`).
    Deduced,
    /// Any value, which is atomic (`__untyped_atomic_`).
    Atomic,
    /// A named type.
    Reference {
        name: String,
        /// `x-kubernetes-map-type`, if the reference has its own.
        atomic: Option<bool>,
        patch: PatchStrategy,
        /// The field in Go is a struct and not a pointer to one, so it always exists.
        embedded: bool,
    },
}

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Number,
    String,
    Boolean,
    /// Any scalar: a time, a quantity, an integer or a string.
    Any,
}

#[derive(Debug)]
pub(super) struct ListType {
    pub(super) items: Node,
    pub(super) relation: OwnedRelation,
    pub(super) patch: PatchStrategy,
    /// `x-kubernetes-patch-merge-key`
    pub(super) merge_key: Option<String>,
}

#[derive(Debug)]
pub(super) enum OwnedRelation {
    Atomic,
    Set,
    Map(Vec<String>),
}

#[derive(Debug, Default)]
pub(super) struct MapType {
    pub(super) atomic: bool,
    pub(super) fields: BTreeMap<String, Node>,
    /// The type of the members that are not fields. `None`: there are no such members.
    pub(super) values: Option<Box<Node>>,
    /// The values of fields that are omitted.
    pub(super) defaults: BTreeMap<String, Value>,
    /// The members that Go writes for an empty struct: lists, which are null at first, and scalars that it never omits.
    pub(super) zero: BTreeMap<String, Value>,
}

/// `x-kubernetes-patch-strategy`
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PatchStrategy {
    pub(crate) merge: bool,
    pub(crate) replace: bool,
}

impl Node {
    pub(super) fn reference(name: &str) -> Self {
        Self::Reference {
            name: name.to_owned(),
            atomic: None,
            patch: PatchStrategy::default(),
            embedded: false,
        }
    }
}

impl ListType {
    pub(super) fn atomic(items: Node) -> Self {
        Self { items, relation: OwnedRelation::Atomic, patch: PatchStrategy::default(), merge_key: None }
    }
}

impl PatchStrategy {
    pub(super) fn parse(text: &str) -> Self {
        let has = |wanted: &str| text.split(',').any(|strategy| strategy == wanted);
        Self { merge: has("merge"), replace: has("replace") }
    }
}
