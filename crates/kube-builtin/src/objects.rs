//! The objects that a cluster has from the start.

use serde_json::{Value, json};

/// Returns RBAC's roles and bindings and the PriorityClasses as kube-apiserver 1.37 creates them, and the Service
/// `kubernetes`.
///
/// They have neither `uid` nor `creationTimestamp`, and their managed fields, if they have some, no time. `cargo xtask builtin` writes
/// `data/objects.json`. Each call parses the committed data, so keep the result.
pub fn initial() -> Vec<Value> {
    // A test ensures that the committed file parses.
    let mut objects: Vec<Value> =
        serde_json::from_str(include_str!("../data/objects.json")).unwrap_or_default();
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
    use crate::decode;

    #[test]
    fn the_committed_objects_parse() {
        let objects = initial();
        assert!(objects.iter().any(|it| it["kind"] == "ClusterRole" && it["metadata"]["name"] == "edit"));
        for object in &objects {
            let text = |field: &str| object[field].as_str().unwrap();
            let decoded = decode(text("apiVersion"), text("kind"), object).unwrap().unwrap();
            assert_eq!(decoded.object, *object);
            assert!(decoded.unknown.is_empty());
        }
    }
}
