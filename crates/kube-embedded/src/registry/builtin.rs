//! The resources that kube-apiserver 1.37 has without any definition, as its discovery tells them.
//!
//! `cargo xtask builtin` writes `builtin.json`.

use std::sync::Arc;

use serde::Deserialize;

use super::{Group, Resource, Subresource};
use crate::builtin;
use crate::table::Columns;

#[derive(Deserialize)]
struct GroupData {
    group: String,
    versions: Vec<VersionData>,
}

#[derive(Deserialize)]
struct VersionData {
    version: String,
    resources: Vec<ResourceData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceData {
    plural: String,
    singular: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
    short_names: Vec<String>,
    categories: Vec<String>,
    subresources: Vec<SubresourceData>,
}

#[derive(Deserialize)]
struct SubresourceData {
    name: String,
    group: String,
    version: String,
    kind: String,
    verbs: Vec<String>,
}

/// All groups, the core group first.
pub(super) fn groups() -> Vec<Group> {
    // A test holds that the committed file parses.
    let data: Vec<GroupData> = serde_json::from_str(include_str!("builtin.json")).unwrap_or_default();
    data.into_iter()
        .map(|GroupData { group, versions }| Group {
            versions: versions
                .into_iter()
                .map(|VersionData { version, resources }| {
                    let resources = resources.into_iter().map(|it| resource(&group, &version, it)).collect();
                    (version, resources)
                })
                .collect(),
            name: group,
        })
        .collect()
}

fn resource(group: &str, version: &str, data: ResourceData) -> Arc<Resource> {
    let subresources = data.subresources.into_iter().map(|it| Subresource {
        name: it.name,
        group: it.group,
        version: it.version,
        kind: it.kind,
        verbs: it.verbs,
    });
    Arc::new(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        collection: builtin::collection(group, &data.plural).into(),
        plural: data.plural,
        singular: data.singular,
        list_kind: format!("{}List", data.kind),
        columns: Columns::builtin(group, &data.kind),
        kind: data.kind,
        namespaced: data.namespaced,
        verbs: data.verbs,
        short_names: data.short_names,
        categories: data.categories,
        subresources: subresources.collect(),
        custom: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_discovery_parses() {
        let groups = groups();
        let core = &groups[0];
        assert_eq!(core.name, "");
        let pods = core.versions[0].1.iter().find(|resource| resource.plural == "pods").unwrap();
        assert_eq!(pods.short_names, ["po"]);
        assert!(pods.namespaced && pods.subresource("eviction").is_some());
        assert!(groups.iter().any(|group| group.name == "apiextensions.k8s.io"));
    }
}
