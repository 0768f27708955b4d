//! A resource, and what its CustomResourceDefinition defines.

use std::sync::{Arc, LazyLock};

use kube_patch::{Definitions, ObjectType};
use kube_schema::{Scale, Schema};
use kube_tables::Columns;
use serde_json::Value;

use super::names::{GroupKind, GroupResource, api_version, qualified};
use super::versions::Versions;

/// A resource in one of its versions.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) namespaced: bool,
    /// As discovery lists them.
    pub(crate) verbs: Vec<String>,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) subresources: Vec<Subresource>,
    /// The store's name for its objects, from [`Resource::stored_as`].
    pub(crate) collection: Arc<str>,
    /// The columns that kubectl prints.
    pub(crate) columns: Columns,
    /// From its CustomResourceDefinition. `None` for a built-in resource.
    pub(crate) custom: Option<Custom>,
}

/// What a definition defines for one version.
#[derive(Debug)]
pub(crate) struct Custom {
    /// The name of the definition.
    pub(crate) definition: String,
    /// This version and the others.
    pub(crate) versions: Arc<Versions>,
    pub(crate) scale: Option<Scale>,
    /// The JSON paths that field selectors may use, without the leading dot.
    pub(crate) selectable: Vec<String>,
    /// The warning for clients that use this version.
    pub(crate) deprecation: Option<String>,
}

/// A subresource in discovery.
#[derive(Clone, Debug)]
pub(crate) struct Subresource {
    pub(crate) name: String,
    /// The type that it takes and returns; empty if it is its resource's.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) verbs: Vec<String>,
}

impl Resource {
    /// `group/version`, or `version` in the core group.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Its group and kind.
    pub(crate) fn group_kind(&self) -> GroupKind<'_> {
        GroupKind { group: &self.group, kind: &self.kind }
    }

    /// The resource as which its objects are stored. Another resource may share it: the Events of both groups are
    /// stored together.
    pub(crate) fn stored_as(&self) -> GroupResource<'_> {
        GroupResource::new(&self.collection)
    }

    /// `plural.group`, or `plural` in the core group: the resource's name in messages.
    pub(crate) fn qualified(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    /// `Kind.group`, or `Kind` in the core group.
    pub(crate) fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }

    /// Its subresource with this name.
    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|it| it.name == name)
    }

    /// The group, version and kind of its objects, or of what a subresource takes.
    pub(crate) fn kind_of(&self, subresource: &str) -> (&str, &str, &str) {
        match self.subresource(subresource) {
            Some(own) if !own.version.is_empty() => (&own.group, &own.version, &own.kind),
            Some(own) if !own.kind.is_empty() => (&self.group, &self.version, &own.kind),
            _ => (&self.group, &self.version, &self.kind),
        }
    }

    /// Whether `status` can only be written through its subresource.
    pub(crate) fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// The key of an object in its collection.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
    }

    /// Where kube-apiserver has its objects in etcd, below `/registry`, which some messages show: `SpecialDefaultResourcePrefixes`
    /// of kubernetes' `pkg/kubeapiserver`.
    pub(crate) fn storage_prefix(&self) -> &str {
        match (&*self.collection, self.custom.is_some()) {
            ("/replicationcontrollers", _) => "controllers",
            ("/endpoints", _) => "services/endpoints",
            ("/nodes", _) => "minions",
            ("/services", _) => "services/specs",
            ("networking.k8s.io/ingresses", _) => "ingress",
            ("apiextensions.k8s.io/customresourcedefinitions" | "apiregistration.k8s.io/apiservices", _)
            | (_, true) => &self.collection,
            _ => &self.plural,
        }
    }

    /// How its objects are merged.
    pub(crate) fn merge_type(&self) -> ObjectType<'_> {
        let merge_type = match &self.custom {
            Some(custom) => custom.versions.merge_type(&self.api_version()),
            None => builtin_merge_type(&self.api_version(), &self.kind),
        };
        match merge_type {
            Some(known) => known,
            None => ObjectType::deduced(),
        }
    }

    /// How its objects are merged, or what a subresource takes.
    ///
    /// # Errors
    /// Fails with the name of the type if the OpenAPI document of its version does not have it: of other groups, such as Scale.
    #[cfg(feature = "cel")]
    pub(crate) fn merge_type_of(&self, subresource: &str) -> Result<ObjectType<'_>, String> {
        let of = self.kind_of(subresource);
        if of == self.kind_of("") {
            return Ok(self.merge_type());
        }
        let (group, version, kind) = of;
        let api_version = api_version(group, version);
        let own = (group, version) == (&*self.group, &*self.version);
        let known = if own { builtin_merge_type(&api_version, kind) } else { None };
        known.ok_or_else(|| format!("{api_version}, Kind={kind}"))
    }

    /// How objects are merged in all their versions, by `apiVersion`. Empty if they have the same fields in all of them.
    pub(crate) fn merge_versions(&self) -> Vec<(&str, ObjectType<'_>)> {
        match &self.custom {
            Some(custom) => custom.versions.merge_types(),
            None => {
                let versions = kube_builtin::versions(&self.api_version(), &self.kind).iter();
                versions.filter_map(|it| Some((*it, builtin_merge_type(it, &self.kind)?))).collect()
            }
        }
    }

    /// A version in which a manager of a custom resource wrote, and which its definition does not have any more. kube-apiserver
    /// can then not convert the object to compare what the manager owns.
    pub(crate) fn gone_version<'a>(&self, object: &'a Value) -> Option<&'a str> {
        self.custom.as_ref()?.versions.gone_version(object)
    }

    /// Whether the other is of the same definition, with the same versions; always for built-in resources.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.custom, &other.custom) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one.versions, &other.versions),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// The schema of a custom resource. `None` for a built-in one.
    pub(crate) fn schema(&self) -> Option<&Arc<Schema>> {
        self.custom.as_ref()?.versions.schema(&self.api_version())
    }

    /// Where a custom resource has its replicas. `None` if it has no `/scale`, and for a built-in one.
    pub(crate) fn scale(&self) -> Option<&Scale> {
        self.custom.as_ref()?.scale.as_ref()
    }
}

fn builtin_merge_type(api_version: &str, kind: &str) -> Option<ObjectType<'static>> {
    static BUILTIN: LazyLock<Definitions> =
        LazyLock::new(|| Definitions::on_demand(kube_builtin::schemas::texts()));
    BUILTIN.get(kube_builtin::schemas::name(api_version, kind)?)
}
