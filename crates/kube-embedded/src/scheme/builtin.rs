//! The built-in resources.

use std::sync::Arc;

use kube_builtin::resources;
use kube_builtin::storage_group;
use kube_tables::Columns;

use super::group::{FIRST, Group, GroupVersion};
use crate::resource::{GroupResource, Resource, Subresource};

/// All groups, the core group first.
pub(super) fn groups() -> Vec<Group> {
    let group = |group: resources::Group| Group {
        versions: group
            .versions
            .into_iter()
            .map(|version| {
                let resources = version.resources.into_iter();
                let resources = resources.map(|it| resource(&group.name, &version.name, it)).collect();
                GroupVersion { priority: version.priority.unwrap_or(0), name: version.name, resources }
            })
            .collect(),
        priority: group.priority.unwrap_or(FIRST),
        name: group.name,
    };
    resources::groups().into_iter().map(group).collect()
}

fn resource(group: &str, version: &str, facts: resources::Resource) -> Arc<Resource> {
    let subresources = facts.subresources.into_iter().map(|it| Subresource {
        name: it.name,
        group: it.group,
        version: it.version,
        kind: it.kind,
        verbs: it.verbs,
    });
    let stored_in = storage_group(group, &facts.plural);
    Arc::new(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        collection: GroupResource::collection_of(stored_in, &facts.plural).into(),
        plural: facts.plural,
        singular: facts.singular,
        list_kind: format!("{}List", facts.kind),
        columns: Columns::builtin(group, &facts.kind),
        kind: facts.kind,
        namespaced: facts.namespaced,
        verbs: facts.verbs,
        short_names: facts.short_names,
        categories: facts.categories,
        subresources: subresources.collect(),
        custom: None,
    })
}
