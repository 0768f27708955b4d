//! All served resources at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::builtin;
use super::custom::version_order;
use super::group::Group;
use crate::resource::{Resource, Versions};

/// All served resources.
#[derive(Debug)]
pub(crate) struct Scheme {
    builtin: Arc<Vec<Group>>,
    /// By the name of the definition.
    custom: BTreeMap<String, Vec<Arc<Resource>>>,
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
    pub(crate) fn with(&self, definition: &str, resources: Vec<Arc<Resource>>) -> Self {
        let mut custom = self.custom.clone();
        if resources.is_empty() {
            custom.remove(definition);
        } else {
            custom.insert(definition.to_owned(), resources);
        }
        Self::of(&self.builtin, custom)
    }

    /// Whether a group is built in.
    pub(crate) fn is_builtin(&self, group: &str) -> bool {
        self.builtin.iter().any(|it| it.name == group)
    }

    /// A resource by its path.
    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// A resource, in its preferred version, by the store's name for its objects.
    pub(crate) fn by_collection(&self, collection: &str) -> Option<&Arc<Resource>> {
        self.by_collection.get(collection)
    }

    /// A resource by the type of its objects.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.by_kind.get(&(api_version.to_owned(), kind.to_owned()))
    }

    /// The resources of a definition.
    pub(crate) fn defined(&self, definition: &str) -> &[Arc<Resource>] {
        self.custom.get(definition).map_or(&[], Vec::as_slice)
    }

    /// The versions of a definition, if it is served.
    pub(crate) fn versions(&self, definition: &str) -> Option<&Arc<Versions>> {
        Some(&self.defined(definition).first()?.custom.as_ref()?.versions)
    }

    /// The resources of a group that other definitions than this one define.
    pub(crate) fn custom_of_group(&self, group: &str, except: &str) -> impl Iterator<Item = &Resource> {
        let others = self.custom.iter().filter(move |(name, _)| *name != except);
        others.flat_map(|(_, resources)| resources).map(Arc::as_ref).filter(move |it| it.group == group)
    }

    /// The resources of a group version, if any is served.
    pub(crate) fn group_version(&self, group: &str, version: &str) -> Option<&[Arc<Resource>]> {
        let group = self.groups.iter().find(|it| it.name == group)?;
        group.versions.iter().find(|(it, _)| it == version).map(|(_, resources)| resources.as_slice())
    }

    /// All groups, the core group (named "") first, then the built-in ones, then the others by name.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    fn of(builtin: &Arc<Vec<Group>>, custom: BTreeMap<String, Vec<Arc<Resource>>>) -> Self {
        let groups = groups(builtin, &custom);
        let of_builtin =
            builtin.iter().flat_map(|group| &group.versions).flat_map(|(_, resources)| resources);
        let mut scheme = Self {
            groups,
            by_path: HashMap::new(),
            by_kind: HashMap::new(),
            by_collection: HashMap::new(),
            builtin: Arc::clone(builtin),
            custom: BTreeMap::new(),
        };
        for resource in of_builtin.chain(custom.values().flatten()) {
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

fn groups(builtin: &[Group], resources: &BTreeMap<String, Vec<Arc<Resource>>>) -> Vec<Group> {
    let mut custom: BTreeMap<&str, BTreeMap<&str, Vec<Arc<Resource>>>> = BTreeMap::new();
    for resource in resources.values().flatten() {
        let versions = custom.entry(&resource.group).or_default();
        versions.entry(&resource.version).or_default().push(Arc::clone(resource));
    }
    let mut groups = builtin.to_vec();
    for (name, versions) in custom {
        let mut versions: Vec<_> =
            versions.into_iter().map(|(version, resources)| (version.to_owned(), resources)).collect();
        versions.sort_by(|(a, _), (b, _)| version_order(a, b));
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.versions.extend(versions),
            None => groups.push(Group { name: name.to_owned(), versions }),
        }
    }
    groups
}
