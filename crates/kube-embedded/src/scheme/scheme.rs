//! All served resources at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::builtin;
use super::custom::Defined;
use super::group::{CUSTOM_GROUP, CUSTOM_VERSION, Group, GroupVersion, by_preference};
use crate::resource::{Resource, Versions};

/// All served resources.
#[derive(Debug)]
pub(crate) struct Scheme {
    builtin: Arc<Vec<Group>>,
    /// By the name of the definition.
    custom: BTreeMap<String, Defined>,
    groups: Vec<Group>,
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    /// By `apiVersion` and kind.
    by_kind: HashMap<(String, String), Arc<Resource>>,
    by_collection: HashMap<Arc<str>, Arc<Resource>>,
}

impl Scheme {
    /// Creates a scheme with the built-in resources.
    pub(crate) fn new() -> Self {
        Self::of(&Arc::new(builtin::groups()), BTreeMap::new())
    }

    /// Returns a copy in which the resources of a definition are replaced.
    pub(crate) fn with(&self, definition: &str, resources: Option<Defined>) -> Self {
        let mut custom = self.custom.clone();
        match resources {
            None => custom.remove(definition),
            Some(resources) => custom.insert(definition.to_owned(), resources),
        };
        Self::of(&self.builtin, custom)
    }

    /// Whether a resource is built in.
    pub(crate) fn has_builtin(&self, group: &str, plural: &str) -> bool {
        let versions = self.builtin.iter().filter(|it| it.name == group).flat_map(|group| &group.versions);
        versions.flat_map(|it| &it.resources).any(|resource| resource.plural == plural)
    }

    /// Whether a group is built in.
    pub(crate) fn is_builtin(&self, group: &str) -> bool {
        self.builtin.iter().any(|it| it.name == group)
    }

    /// A resource by its path.
    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// A resource that is served, by the store's name for its objects: a custom resource in its storage version, so that
    /// writes lose no fields, and a built-in one in its preferred version.
    pub(crate) fn by_collection(&self, collection: &str) -> Option<&Arc<Resource>> {
        self.by_collection.get(collection)
    }

    /// A resource by the type of its objects.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.by_kind.get(&(api_version.to_owned(), kind.to_owned()))
    }

    /// The `apiVersion`s in which the objects of a resource are served, in order.
    pub(crate) fn api_versions(&self, resource: &Resource) -> Vec<String> {
        let all = self.by_kind.iter();
        let same =
            all.filter(|((_, kind), it)| *kind == resource.kind && it.collection == resource.collection);
        let mut versions: Vec<_> = same.map(|((api_version, _), _)| api_version.clone()).collect();
        versions.sort_unstable();
        versions
    }

    /// The other resources whose objects are those of a resource: its other versions.
    pub(crate) fn versions_of(&self, resource: &Resource) -> Vec<Arc<Resource>> {
        let versions = self.groups.iter().flat_map(|group| &group.versions);
        let all = versions.flat_map(|it| &it.resources);
        let other = |it: &&Arc<Resource>| {
            it.collection == resource.collection
                && (&it.group, &it.version) != (&resource.group, &resource.version)
        };
        all.filter(other).cloned().collect()
    }

    /// The resources of an established definition, of which none may be served.
    pub(crate) fn defined(&self, definition: &str) -> Option<&Defined> {
        self.custom.get(definition)
    }

    /// The versions of an established definition.
    pub(crate) fn versions(&self, definition: &str) -> Option<&Arc<Versions>> {
        Some(&self.defined(definition)?.storage.custom.as_ref()?.versions)
    }

    /// The resources of a group version, if any is served.
    pub(crate) fn group_version(&self, group: &str, version: &str) -> Option<&[Arc<Resource>]> {
        let group = self.groups.iter().find(|it| it.name == group)?;
        group.versions.iter().find(|it| it.name == version).map(|it| it.resources.as_slice())
    }

    /// All resources that are served, once each, as [`by_collection`](Self::by_collection) returns them.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_collection.values()
    }

    /// All groups, the core group (named "") first, then the built-in ones, then the others by name.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The groups that are served without any definition.
    pub(crate) fn builtin(&self) -> &[Group] {
        &self.builtin
    }

    fn of(builtin: &Arc<Vec<Group>>, custom: BTreeMap<String, Defined>) -> Self {
        let groups = groups(builtin, &custom);
        let of_builtin = builtin.iter().flat_map(|group| &group.versions).flat_map(|it| &it.resources);
        let mut scheme = Self {
            groups,
            by_path: HashMap::new(),
            by_kind: HashMap::new(),
            by_collection: HashMap::new(),
            builtin: Arc::clone(builtin),
            custom: BTreeMap::new(),
        };
        for Defined { storage, .. } in custom.values().filter(|it| !it.served.is_empty()) {
            scheme.by_collection.insert(Arc::clone(&storage.collection), Arc::clone(storage));
        }
        for resource in of_builtin.chain(custom.values().flat_map(|it| &it.served)) {
            let path = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
            scheme.by_path.insert(path, Arc::clone(resource));
            if resource.verbs.iter().any(|verb| verb == "get") {
                let kind = (resource.api_version(), resource.kind.clone());
                scheme.by_kind.entry(kind).or_insert_with(|| Arc::clone(resource));
            }
            let collection = Arc::clone(&resource.collection);
            scheme.by_collection.entry(collection).or_insert_with(|| Arc::clone(resource));
        }
        Self { custom, ..scheme }
    }
}

fn groups(builtin: &[Group], resources: &BTreeMap<String, Defined>) -> Vec<Group> {
    let mut custom: BTreeMap<&str, BTreeMap<&str, Vec<Arc<Resource>>>> = BTreeMap::new();
    for resource in resources.values().flat_map(|it| &it.served) {
        let versions = custom.entry(&resource.group).or_default();
        versions.entry(&resource.version).or_default().push(Arc::clone(resource));
    }
    let mut groups = builtin.to_vec();
    for (name, versions) in custom {
        let added = versions.into_iter().map(|(version, resources)| GroupVersion {
            name: version.to_owned(),
            priority: CUSTOM_VERSION,
            resources,
        });
        let index = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            groups.push(Group { name: name.to_owned(), priority: CUSTOM_GROUP, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[index].versions;
        versions.extend(added);
        versions.sort_by(|a, b| by_preference((&a.name, a.priority), (&b.name, b.priority)));
    }
    groups
}
