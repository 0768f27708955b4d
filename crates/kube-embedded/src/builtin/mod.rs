//! What kube-apiserver knows of its own kinds, and a definition does not tell: their types, defaults and validation.

mod base64;
mod convert;
mod decode;
mod defaults;
pub(crate) mod pod;
mod quantity;
pub(crate) mod schemas;
pub(crate) mod service;
mod time;
pub(crate) mod validate;

pub(crate) use self::convert::{collection, convert};
use self::decode::zero_status;
pub(crate) use self::decode::{Decoded, decode};
pub(crate) use self::defaults::set as set_defaults;

use serde_json::{Value, json};

use crate::registry::Resource;

/// What to warn of on each request for a kind.
pub(crate) fn deprecation(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "Endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        _ => None,
    }
}

/// Readies a new object of a built-in kind: what its resource adds, and the admission plugins that are on by default.
pub(crate) fn prepare_create(resource: &Resource, object: &mut Value) {
    let is_node = resource.group.is_empty() && resource.kind == "Node";
    if resource.has_status() && !is_node {
        let status = zero_status(&resource.api_version(), &resource.kind);
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
        ("", "Node") => {
            if object["status"]["allocatable"].is_null() && !object["status"]["capacity"].is_null() {
                object["status"]["allocatable"] = object["status"]["capacity"].clone();
            }
            let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
            let taints = &mut object["spec"]["taints"];
            match taints.as_array_mut() {
                Some(all) if all.contains(&not_ready) => {}
                Some(all) => all.push(not_ready),
                None => *taints = json!([not_ready]),
            }
        }
        ("", "PersistentVolume") => {
            object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": object["metadata"]["creationTimestamp"]});
        }
        ("", "PersistentVolumeClaim") => object["status"] = json!({"phase": "Pending"}),
        ("batch", "Job") => pod::prepare_job(object),
        ("coordination.k8s.io", "Lease") => drop_disabled(object),
        _ => {}
    }
}

/// The fields of a Lease for coordinated leader election, which is off.
fn drop_disabled(lease: &mut Value) {
    if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}

/// Readies an object that replaces `old`.
pub(crate) fn prepare_update(resource: &Resource, new: &mut Value, old: &Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") => service::prepare_update(new, old),
        ("coordination.k8s.io", "Lease") => drop_disabled(new),
        ("", "Pod") => {
            // As admission does; whoever gives another one is refused.
            for field in ["priority", "preemptionPolicy"] {
                if new["spec"][field].is_null() && !old["spec"][field].is_null() {
                    new["spec"][field] = old["spec"][field].clone();
                }
            }
            pod::tolerate(&mut new["spec"]);
        }
        ("apps", "DaemonSet") => {
            let before = old["metadata"]["annotations"][defaults::TEMPLATE_GENERATION].as_str();
            let count: i64 = before.and_then(|it| it.parse().ok()).unwrap_or(1);
            let changed = new["spec"]["template"] != old["spec"]["template"];
            let count = (count + i64::from(changed)).to_string();
            new["metadata"]["annotations"][defaults::TEMPLATE_GENERATION] = count.into();
        }
        _ => {}
    }
}

/// The objects that a server has from the start: `objects.json`, which `cargo xtask builtin` writes, and the Service by
/// which programs in a cluster would find the server.
pub(crate) fn start_objects() -> Vec<Value> {
    // A test holds that the committed file parses.
    let mut objects: Vec<Value> = serde_json::from_str(include_str!("objects.json")).unwrap_or_default();
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}],
        },
        "status": {"loadBalancer": {}},
    }));
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_objects_parse() {
        let objects = start_objects();
        assert!(objects.iter().any(|it| it["kind"] == "ClusterRole" && it["metadata"]["name"] == "edit"));
        for object in &objects {
            let text = |field: &str| object[field].as_str().unwrap();
            let decoded = decode(text("apiVersion"), text("kind"), object).unwrap().unwrap();
            assert_eq!(decoded.object, *object);
            assert!(decoded.unknown.is_empty());
        }
    }
}
