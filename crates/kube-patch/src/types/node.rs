//! Types as they are described.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Types by name.
#[derive(Debug, Default)]
pub(super) struct TypeSet {
    pub(super) types: HashMap<String, Node>,
}

/// A type as it is described.
#[derive(Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    List(Box<ListType>),
    Map(MapType),
    /// A custom resource's value without a `type`: any scalar, or a list or map as described.
    Any(Box<(ListType, MapType)>),
    /// The type that a value shows: maps merge by key, lists are atomic (`__untyped_deduced_`).
    Deduced,
    /// Anything, as one (`__untyped_atomic_`).
    Atomic,
    /// A type with a name.
    Reference {
        name: String,
        /// `x-kubernetes-map-type`, where the reference has its own.
        atomic: Option<bool>,
        patch: PatchStrategy,
        /// In Go the field is a struct and not a pointer to one, so that it is always there.
        embedded: bool,
    },
}

/// What a scalar may be.
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
    /// The type of the members that are no fields. `None`: there are no others.
    pub(super) values: Option<Box<Node>>,
    /// What a field is when it is left out.
    pub(super) defaults: BTreeMap<String, Value>,
    /// What Go writes of a struct that nobody has written to: lists, null at first, and scalars that it never leaves out.
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
