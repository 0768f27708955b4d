//! Fields that an update of a Service omits, although they were allocated.

use std::collections::HashSet;

use serde_json::{Value, json};

/// Prepares a Service that replaces `old`: allocated fields that the update omits are kept.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    let (spec, before) = (&mut new["spec"], &old["spec"]);
    // Both fields hold the same address. A client that does not know the list only changes the first field.
    if spec["clusterIPs"] == before["clusterIPs"] && spec["clusterIP"] != before["clusterIP"] {
        spec["clusterIPs"] = match spec["clusterIP"].as_str() {
            Some(address) if !address.is_empty() => json!([address]),
            _ => Value::Null,
        };
    }
    drop_fields_of_type(spec, before);
    let is = |spec: &Value, kinds: &[&str]| spec["type"].as_str().is_some_and(|it| kinds.contains(&it));
    let addressed = ["ClusterIP", "LoadBalancer", "NodePort"];
    if is(spec, &addressed) && is(before, &addressed) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if spec[field].as_str().is_none_or(str::is_empty)
                && !spec[field].is_array()
                && !before[field].is_null()
            {
                spec[field] = before[field].clone();
            }
        }
    } else if !is(spec, &addressed)
        && let Some(spec) = spec.as_object_mut()
    {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
    }
    let ported = ["LoadBalancer", "NodePort"];
    let spec = &mut new["spec"];
    if is(spec, &ported) && is(before, &ported) {
        let same = |a: &Value, b: &Value| a["port"] == b["port"] && a["protocol"] == b["protocol"];
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter(|port| port["nodePort"].is_null())
        {
            let known = before["ports"].as_array().into_iter().flatten().find(|it| same(it, port));
            if let Some(number) = known.map(|it| &it["nodePort"]).filter(|number| !number.is_null()) {
                port["nodePort"] = number.clone();
            }
        }
    }
}

/// Removes the fields that only Services of the old type have, unless the client has changed them too.
fn drop_fields_of_type(spec: &mut Value, before: &Value) {
    let ported = |spec: &Value| matches!(spec["type"].as_str(), Some("LoadBalancer" | "NodePort"));
    let balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    let left_ports = ported(before) && !ported(spec);
    let left_balancer = balanced(before) && !balanced(spec);
    if left_ports {
        let old: HashSet<u64> =
            items(&before["ports"]).filter_map(|port| port["nodePort"].as_u64()).collect();
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten();
        for port in ports.filter_map(Value::as_object_mut) {
            if port.get("nodePort").and_then(Value::as_u64).is_some_and(|it| old.contains(&it)) {
                port.remove("nodePort");
            }
        }
    }
    let is_external = spec["type"] == "ExternalName";
    let Some(members) = spec.as_object_mut() else { return };
    for (field, left) in [
        ("externalTrafficPolicy", left_ports),
        ("internalTrafficPolicy", is_external && before["type"] != "ExternalName"),
        ("healthCheckNodePort", left_balancer),
        ("allocateLoadBalancerNodePorts", left_balancer),
        ("loadBalancerClass", left_balancer),
    ] {
        if left && members.get(field) == before.get(field) {
            members.remove(field);
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
