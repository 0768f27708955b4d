//! Which resources the server has: those that are built in, and those that CustomResourceDefinitions add.

mod builtin;
mod custom;
mod versions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::table::Columns;

pub(crate) use self::custom::{Custom, Scale, resources as custom_resources};
pub(crate) use self::versions::Versions;

/// The resource that defines others.
pub(crate) const CRDS: &str = "apiextensions.k8s.io/customresourcedefinitions";

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
    /// Where the store has its objects: `group/plural`.
    pub(crate) collection: Arc<str>,
    /// What kubectl prints of its objects.
    pub(crate) columns: Columns,
    /// What its CustomResourceDefinition says; none for a built-in one.
    pub(crate) custom: Option<Custom>,
}

/// A subresource in discovery.
#[derive(Clone, Debug)]
pub(crate) struct Subresource {
    pub(crate) name: String,
    /// Of what it takes and gives; empty if as its resource's.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) verbs: Vec<String>,
}

/// An API group in discovery, its versions in order of preference.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<(String, Vec<Arc<Resource>>)>,
}

/// All resources that are served.
#[derive(Debug)]
pub(crate) struct Registry {
    builtin: Vec<Group>,
    /// By the name of the definition.
    custom: BTreeMap<String, Vec<Arc<Resource>>>,
    by_path: HashMap<(String, String, String), Arc<Resource>>,
}

impl Resource {
    /// `group/version`, or `version` in the core group.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `plural.group`, or `plural` in the core group: how messages name the resource.
    pub(crate) fn qualified(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    /// `Kind.group`, or `Kind` in the core group.
    pub(crate) fn qualified_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }

    /// Its subresource of this name.
    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|it| it.name == name)
    }

    /// Whether `status` is written by a request of its own only.
    pub(crate) fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// The key of an object in its collection.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
    }
}

impl Registry {
    /// The built-in resources.
    pub(crate) fn new() -> Self {
        let builtin = builtin::groups();
        let mut registry = Self { builtin, custom: BTreeMap::new(), by_path: HashMap::new() };
        registry.index();
        registry
    }

    /// Whether a group is one that the server has without any definition.
    pub(crate) fn is_builtin(&self, group: &str) -> bool {
        self.builtin.iter().any(|it| it.name == group)
    }

    /// A resource by its path.
    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// A resource in whichever of its versions is preferred, by the name of its collection.
    pub(crate) fn by_collection(&self, collection: &str) -> Option<&Arc<Resource>> {
        let builtin =
            self.builtin.iter().flat_map(|group| &group.versions).flat_map(|(_, resources)| resources);
        builtin.chain(self.custom.values().flatten()).find(|resource| &*resource.collection == collection)
    }

    /// A resource by the type of its objects.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.by_path.values().find(|resource| {
            resource.kind == kind
                && resource.api_version() == api_version
                && resource.verbs.iter().any(|verb| verb == "get")
        })
    }

    /// Serves what a definition defines in place of what it defined before.
    pub(crate) fn set(&mut self, definition: &str, resources: Vec<Arc<Resource>>) {
        if resources.is_empty() {
            self.custom.remove(definition);
        } else {
            self.custom.insert(definition.to_owned(), resources);
        }
        self.index();
    }

    /// What a definition defines.
    pub(crate) fn defined(&self, definition: &str) -> &[Arc<Resource>] {
        self.custom.get(definition).map_or(&[], Vec::as_slice)
    }

    /// The versions of a definition, if one is served.
    pub(crate) fn versions(&self, definition: &str) -> Option<Arc<Versions>> {
        let custom = self.defined(definition).first()?.custom.as_ref()?;
        Some(Arc::clone(&custom.versions))
    }

    /// What other definitions than this one define in a group.
    pub(crate) fn custom_of_group(&self, group: &str, except: &str) -> impl Iterator<Item = &Resource> {
        let others = self.custom.iter().filter(move |(name, _)| *name != except);
        others.flat_map(|(_, resources)| resources).map(Arc::as_ref).filter(move |it| it.group == group)
    }

    /// Whether any resource is served in a group version.
    pub(crate) fn group_version(&self, group: &str, version: &str) -> Option<Vec<Arc<Resource>>> {
        let group = self.groups().into_iter().find(|it| it.name == group)?;
        group.versions.into_iter().find(|(it, _)| it == version).map(|(_, resources)| resources)
    }

    /// All groups, the core group (named "") first, then the built-in ones, then the others by name.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut custom: BTreeMap<&str, BTreeMap<&str, Vec<Arc<Resource>>>> = BTreeMap::new();
        for resource in self.custom.values().flatten() {
            let versions = custom.entry(&resource.group).or_default();
            versions.entry(&resource.version).or_default().push(Arc::clone(resource));
        }
        let mut groups = self.builtin.clone();
        for (name, versions) in custom {
            let mut versions: Vec<_> =
                versions.into_iter().map(|(version, resources)| (version.to_owned(), resources)).collect();
            versions.sort_by(|(a, _), (b, _)| custom::version_order(a, b));
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.versions.extend(versions),
                None => groups.push(Group { name: name.to_owned(), versions }),
            }
        }
        groups
    }

    fn index(&mut self) {
        let builtin =
            self.builtin.iter().flat_map(|group| &group.versions).flat_map(|(_, resources)| resources);
        self.by_path = builtin
            .chain(self.custom.values().flatten())
            .map(|it| ((it.group.clone(), it.version.clone(), it.plural.clone()), Arc::clone(it)))
            .collect();
    }
}

/// `group/version`, or `version` in the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// `name.group`, or `name` in the core group.
pub(crate) fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
