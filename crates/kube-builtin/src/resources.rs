//! The resources that kube-apiserver 1.37 has without any definition, as its discovery reports them.
//!
//! `cargo xtask builtin` writes `data/resources.json`.

use serde::Deserialize;

/// An API group.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// Empty for the core group.
    #[serde(rename = "group")]
    pub name: String,
    /// In order of preference.
    pub versions: Vec<Version>,
}

/// A version of a group.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// `v1`
    #[serde(rename = "version")]
    pub name: String,
    /// By name.
    pub resources: Vec<Resource>,
}

/// A resource.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Resource {
    /// The name in paths: `pods`.
    pub plural: String,
    /// `pod`
    pub singular: String,
    /// `Pod`
    pub kind: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What can be done with it, in the order of discovery.
    pub verbs: Vec<String>,
    /// `po`
    pub short_names: Vec<String>,
    /// `all`
    pub categories: Vec<String>,
    /// `pods/status` and the like.
    pub subresources: Vec<Subresource>,
}

/// A part of a resource that has requests of its own.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Subresource {
    /// `status`
    pub name: String,
    /// The group of the objects that it takes and returns. With `version` and `kind` empty: as its resource's.
    pub group: String,
    /// Their version.
    pub version: String,
    /// Their kind.
    pub kind: String,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// All groups, the core group first. Parses the committed data: keep the result.
pub fn groups() -> Vec<Group> {
    // A test holds that the committed file parses.
    serde_json::from_str(include_str!("../data/resources.json")).unwrap_or_default()
}

/// The warning that kube-apiserver adds to each answer for a deprecated kind.
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
