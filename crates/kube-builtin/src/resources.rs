//! The resources that kube-apiserver 1.37 serves without any definition, according to its discovery.
//!
//! `cargo xtask builtin` writes `data/resources.json`.

use serde::Deserialize;

/// An API group.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// The name; empty for the core group.
    #[serde(rename = "group")]
    pub name: String,
    /// `groupPriorityMinimum` of its APIServices: groups with a higher one are preferred. `apiregistration.k8s.io` has none,
    /// and comes before all others.
    pub priority: Option<i32>,
    /// The versions, in order of preference.
    pub versions: Vec<Version>,
}

/// A version of a group.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// The name: `v1`
    #[serde(rename = "version")]
    pub name: String,
    /// `versionPriority` of its APIService, if it has one.
    pub priority: Option<i32>,
    /// The resources, ordered by name.
    pub resources: Vec<Resource>,
}

/// A resource.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Resource {
    /// The name in paths: `pods`.
    pub plural: String,
    /// The singular name: `pod`
    pub singular: String,
    /// The kind of its objects: `Pod`
    pub kind: String,
    /// Whether its objects are namespaced.
    pub namespaced: bool,
    /// The supported verbs, in the order of discovery.
    pub verbs: Vec<String>,
    /// The short names, such as `po`.
    pub short_names: Vec<String>,
    /// The categories, such as `all`.
    pub categories: Vec<String>,
    /// The subresources, such as `pods/status`.
    pub subresources: Vec<Subresource>,
}

/// A part of a resource with its own requests.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Subresource {
    /// The name: `status`
    pub name: String,
    /// The group of the objects that it accepts and returns. If this, `version` and `kind` are empty: those of its resource.
    pub group: String,
    /// Their version.
    pub version: String,
    /// Their kind.
    pub kind: String,
    /// The supported verbs.
    pub verbs: Vec<String>,
}

/// Returns all groups, the core group first. Each call parses the committed data, so keep the result.
pub fn groups() -> Vec<Group> {
    // A test ensures that the committed file parses.
    serde_json::from_str(include_str!("../data/resources.json")).unwrap_or_default()
}

/// Returns the warning that kube-apiserver adds to each response for a deprecated kind.
pub fn deprecation_warning(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "Endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_discovery_parses() {
        let groups = groups();
        let core = &groups[0];
        assert_eq!(core.name, "");
        let pods = core.versions[0].resources.iter().find(|resource| resource.plural == "pods").unwrap();
        assert_eq!(pods.short_names, ["po"]);
        assert!(pods.namespaced && pods.subresources.iter().any(|it| it.name == "eviction"));
        assert!(groups.iter().any(|group| group.name == "apiextensions.k8s.io"));
    }
}
