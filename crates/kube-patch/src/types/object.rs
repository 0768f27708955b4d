//! The types of whole objects.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::meta::META;
use super::node::{MapType, Node, OBJECT_META, TypeSet};
use super::resolved::Type;
use super::{openapi, structural};

/// The types of an OpenAPI document: how objects of each kind merge.
///
/// Building them takes time linear in the document, and about as much memory. Keep them.
#[derive(Debug, Default)]
pub struct Definitions(TypeSet);

/// The type of a custom resource in one version.
#[derive(Debug)]
pub struct StructuralType {
    root: Node,
    set: TypeSet,
}

/// Describes how an object of one kind merges. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct ObjectType<'a> {
    pub(crate) root: Type<'a>,
    pub(crate) source: Source,
}

/// The source of a type, which affects details of how kube-apiserver treats its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A Go struct: fields exist before anything is written to them.
    OpenApi,
    /// A CRD.
    Structural,
    /// Only the object.
    Deduced,
}

impl Definitions {
    /// Reads the schemas of a document, by name: `components.schemas` of OpenAPI v3, `definitions` of v2.
    ///
    /// References may be `#/components/schemas/NAME`, `#/definitions/NAME` or just the name, either directly or as the only
    /// member of an `allOf`. A schema that is not understood merges like a value without a schema.
    pub fn from_openapi<'a>(schemas: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Self {
        Self(openapi::types(schemas))
    }

    /// As [`from_openapi`](Self::from_openapi), from the names of the schemas and their JSON. Each is parsed when it is first
    /// used, because it is looked up or a type in use refers to it. JSON that is malformed counts as a schema that is not
    /// understood.
    pub fn on_demand(schemas: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        Self(openapi::on_demand(schemas))
    }

    /// Returns the type of a kind by the name of its schema: `io.k8s.api.core.v1.Pod`.
    pub fn get(&self, name: &str) -> Option<ObjectType<'_>> {
        let node = self.0.types.get(name)?.node();
        Some(ObjectType { root: Type { set: &self.0, node }, source: Source::OpenApi })
    }
}

impl StructuralType {
    /// Reads the `openAPIV3Schema` of a version of a CRD. A schema that kube-apiserver would refuse also yields a type.
    pub fn from_schema(openapi: &Value) -> Self {
        Self { root: structural::root(openapi), set: TypeSet::default() }
    }

    /// Returns the type of whole objects.
    pub fn object(&self) -> ObjectType<'_> {
        ObjectType { root: Type { set: &self.set, node: &self.root }, source: Source::Structural }
    }
}

impl ObjectType<'static> {
    /// Returns the type of an object without a schema: maps merge by key, lists are atomic, and `metadata` merges as in any
    /// other object.
    pub fn deduced() -> Self {
        static ROOT: LazyLock<Node> = LazyLock::new(|| {
            let metadata = Node::reference(OBJECT_META);
            Node::Map(MapType {
                fields: BTreeMap::from([("metadata".to_owned(), metadata)]),
                values: Some(Box::new(Node::Deduced)),
                ..MapType::default()
            })
        });
        Self { root: Type { set: &META, node: &ROOT }, source: Source::Deduced }
    }
}
