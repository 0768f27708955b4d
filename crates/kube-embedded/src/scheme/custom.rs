//! The resources that a CustomResourceDefinition defines.

use std::cmp::Ordering;
use std::sync::Arc;

use kube_schema::Scale;
use kube_tables::Columns;
use serde_json::Value;

use crate::resource::{Custom, GroupResource, Resource, Schemas, Subresource, Versions, api_version};

/// The resources of a definition.
#[derive(Clone, Debug)]
pub(crate) struct Defined {
    /// One for each served version, in the order of the definition.
    pub(crate) served: Vec<Arc<Resource>>,
    /// The one in the storage version, which may not be served: writes through it lose no fields.
    pub(crate) storage: Arc<Resource>,
}

/// The resources of a definition. A version whose schema is invalid is left out: its creation was refused. `None` if there
/// is no storage version.
///
/// `before` are the versions that were served until now. They are reused if they are the same.
pub(crate) fn defined(
    definition: &Value,
    before: Option<&Arc<Versions>>,
    schemas: &Schemas,
) -> Option<Defined> {
    let all = match before {
        Some(before) if before.are_of(definition) => Arc::clone(before),
        _ => Arc::new(Versions::new(definition, before.map(Arc::as_ref), schemas)),
    };
    let spec = &definition["spec"];
    // The accepted names are served; the names in the specification may conflict with another definition.
    let names = &definition["status"]["acceptedNames"];
    let (group, plural) = (text(&spec["group"]), text(&names["plural"]));
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let resources = versions
        .iter()
        .filter(|version| all.schema(&api_version(&group, &text(&version["name"]))).is_some())
        .map(|version| {
            let resource = Arc::new(Resource {
                group: group.clone(),
                version: text(&version["name"]),
                plural: plural.clone(),
                singular: text(&names["singular"]),
                kind: text(&names["kind"]),
                list_kind: text(&names["listKind"]),
                namespaced: spec["scope"] == "Namespaced",
                verbs: VERBS.map(str::to_owned).to_vec(),
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                subresources: subresources(&version["subresources"]),
                collection: GroupResource::collection_of(&group, &plural).into(),
                columns: Columns::custom(version.get("additionalPrinterColumns")),
                custom: Some(Custom {
                    definition: text(&definition["metadata"]["name"]),
                    versions: Arc::clone(&all),
                    scale: Scale::parse(&version["subresources"]["scale"]),
                    selectable: selectable(&version["selectableFields"]),
                    deprecation: deprecation(version, spec),
                }),
            });
            (version, resource)
        });
    let resources: Vec<_> = resources.collect();
    let with = |field: &'static str| resources.iter().filter(move |(version, _)| version[field] == true);
    let (_, storage) = with("storage").next()?;
    let served = with("served").map(|(_, resource)| Arc::clone(resource)).collect();
    Some(Defined { served, storage: Arc::clone(storage) })
}

/// In kube-apiserver's order.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// The order in which Kubernetes prefers versions: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then the others by
/// name.
pub(super) fn version_order(a: &str, b: &str) -> Ordering {
    match (parse_version(a), parse_version(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// The stability (2 for GA), the major and the minor number.
fn parse_version(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..end].parse().ok()?;
    let rest = &rest[end..];
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (None, Some(minor)) => (0, minor),
        (None, None) => return None,
    };
    Some((stability, major, minor.parse().ok()?))
}

fn subresources(value: &Value) -> Vec<Subresource> {
    let verbs = ["get", "patch", "update"].map(str::to_owned).to_vec();
    let status = value["status"].is_object().then(|| Subresource {
        name: "status".to_owned(),
        group: String::new(),
        version: String::new(),
        kind: String::new(),
        verbs: verbs.clone(),
    });
    let scale = value["scale"].is_object().then(|| Subresource {
        name: "scale".to_owned(),
        group: "autoscaling".to_owned(),
        version: "v1".to_owned(),
        kind: "Scale".to_owned(),
        verbs,
    });
    status.into_iter().chain(scale).collect()
}

fn selectable(value: &Value) -> Vec<String> {
    let fields = value.as_array().map_or(&[][..], Vec::as_slice);
    fields.iter().map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned()).collect()
}

fn deprecation(version: &Value, spec: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(warning) = version["deprecationWarning"].as_str() {
        return Some(warning.to_owned());
    }
    let name = |version: &Value| text(&version["name"]);
    let (group, kind) = (text(&spec["group"]), text(&spec["names"]["kind"]));
    let old = name(version);
    // The most preferred version that is better than this one.
    let others = spec["versions"].as_array().map_or(&[][..], Vec::as_slice).iter();
    let better = others
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .map(name)
        .filter(|other| version_order(other, &old) == Ordering::Less)
        .min_by(|a, b| version_order(a, b));
    let instead = better.map(|better| format!("; use {group}/{better} {kind}")).unwrap_or_default();
    Some(format!("{group}/{old} {kind} is deprecated{instead}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_prefers_them() {
        let mut versions = ["v1alpha1", "foo", "v1", "v11beta2", "v10", "v2beta1", "v3beta1", "bar10"];
        versions.sort_by(|a, b| version_order(a, b));
        assert_eq!(versions, ["v10", "v1", "v11beta2", "v3beta1", "v2beta1", "v1alpha1", "bar10", "foo"]);
    }
}
