//! Changes that built-in kinds make to their clients' objects: `PrepareForCreate` and `PrepareForUpdate` of their
//! strategies.

use serde_json::{Value, json};

use super::{aggregation, certificate, pod, service};
use crate::resource::Resource;
use crate::user::User;

/// How often the template of a DaemonSet has changed.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Prepares a new object of a built-in kind.
pub(super) fn prepare_create(resource: &Resource, object: &mut Value, user: &User) {
    let is_node = resource.group.is_empty() && resource.kind == "Node";
    if resource.has_status() && !is_node {
        let status = kube_builtin::zero_status(&resource.api_version(), &resource.kind);
        match object.as_object_mut() {
            Some(members) if status.is_null() => _ = members.remove("status"),
            _ => object["status"] = status,
        }
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            let finalizers = &mut object["spec"]["finalizers"];
            match finalizers.as_array_mut() {
                Some(all) if all.iter().any(|it| it == "kubernetes") => {}
                Some(all) => all.push("kubernetes".into()),
                None => *finalizers = json!(["kubernetes"]),
            }
            object["status"] = json!({"phase": "Active"});
        }
        ("", "Node") => drop_config_source(object),
        ("", "PersistentVolume") => {
            object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": object["metadata"]["creationTimestamp"]});
        }
        ("", "PersistentVolumeClaim") => {
            object["status"] = json!({"phase": "Pending"});
            set_data_sources(object, &Value::Null);
        }
        ("apiregistration.k8s.io", "APIService") => aggregation::prepare_create(object),
        ("discovery.k8s.io", "EndpointSlice") => drop_topology(object),
        ("batch", "Job") => pod::prepare_job(object),
        ("", "Pod") => pod::prepare_create(object),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificate::prepare_create(object, user),
        ("coordination.k8s.io", "Lease") => drop_disabled(object),
        _ => {}
    }
}

/// Removes the source of a kubelet's configuration, a feature that is gone.
fn drop_config_source(node: &mut Value) {
    if let Some(spec) = node.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("configSource");
    }
}

/// Removes the fields of a Lease for coordinated leader election, which is off.
fn drop_disabled(lease: &mut Value) {
    if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}

/// Removes the topology of a slice's endpoints, which version 1 has only for objects of an older one.
fn drop_topology(slice: &mut Value) {
    for endpoint in slice["endpoints"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        endpoint.remove("deprecatedTopology");
    }
}

/// Sets each of a claim's two data sources to the other, if only one is given. The older one takes only claims and
/// snapshots, and anything else there is ignored. Sources in other namespaces are off.
fn set_data_sources(claim: &mut Value, old: &Value) {
    let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let is_given = |object: &Value, field: &str| object["spec"].get(field).is_some_and(|it| !it.is_null());
    let was_given = is_given(old, "dataSource") || is_given(old, "dataSourceRef");
    let elsewhere = |reference: &Value| reference["namespace"].as_str().is_some_and(|it| !it.is_empty());
    if spec.get("dataSourceRef").is_some_and(elsewhere) && !was_given {
        spec.remove("dataSourceRef");
    }
    if let Some(source) = spec.get("dataSource").cloned()
        && !spec.contains_key("dataSourceRef")
    {
        let group = source["apiGroup"].as_str().unwrap_or_default();
        let is_known = matches!(
            (group, source["kind"].as_str()),
            ("", Some("PersistentVolumeClaim")) | ("snapshot.storage.k8s.io", Some("VolumeSnapshot"))
        );
        if is_known || was_given {
            spec.insert("dataSourceRef".to_owned(), source);
        } else {
            spec.remove("dataSource");
        }
    } else if let Some(reference) = spec.get("dataSourceRef").cloned()
        && !spec.contains_key("dataSource")
        && !elsewhere(&reference)
    {
        spec.insert("dataSource".to_owned(), reference);
    }
}

/// Prepares an object that replaces `old`.
pub(super) fn prepare_update(resource: &Resource, new: &mut Value, old: &Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") => service::prepare_update(new, old),
        ("", "Node") if old["spec"]["configSource"].is_null() => drop_config_source(new),
        ("", "PersistentVolumeClaim") => set_data_sources(new, old),
        ("coordination.k8s.io", "Lease") => drop_disabled(new),
        ("discovery.k8s.io", "EndpointSlice") => drop_topology(new),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificate::prepare_update(new, old),
        ("apps", "DaemonSet") => {
            let before = old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str();
            let count: i64 = before.and_then(|it| it.parse().ok()).unwrap_or(1);
            let changed = new["spec"]["template"] != old["spec"]["template"];
            let count = count.wrapping_add(i64::from(changed)).to_string();
            new["metadata"]["annotations"][TEMPLATE_GENERATION] = count.into();
        }
        _ => {}
    }
}
