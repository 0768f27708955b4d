//! Plugins about nodes and where Pods run: TaintNodesByCondition, PodNodeSelector and PodTopologyLabels.

use kube_validation::{FieldError, names};
use serde_json::{Map, Value, json};

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use crate::resource::{NAMESPACES, NODES, PODS};
use crate::status::Status;
use crate::strategy;

/// The annotation of a namespace with the labels of the nodes that its Pods run on.
const SELECTOR: &str = "scheduler.alpha.kubernetes.io/node-selector";
/// The labels that Pods get from their node.
const TOPOLOGY: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// Keeps Pods off a new node until it is ready.
pub(super) fn taint(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    node: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(NODES) || old.is_some() {
        return Ok(());
    }
    let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let is_same = |taint: &Value| ["key", "effect"].iter().all(|field| taint[field] == not_ready[field]);
    let taints = &mut node["spec"]["taints"];
    match taints.as_array_mut() {
        Some(all) if all.iter().any(is_same) => {}
        Some(all) => all.push(not_ready),
        None => *taints = json!([not_ready]),
    }
    Ok(())
}

/// Gives a new Pod the node labels of its namespace.
pub(super) fn select(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) || old.is_some() {
        return Ok(());
    }
    let wanted = selector(cluster, request.namespace)?;
    check_selector(&wanted, pod)?;
    if !wanted.is_empty() {
        let selector = &mut pod["spec"]["nodeSelector"];
        match selector.as_object_mut() {
            Some(labels) => labels.extend(wanted),
            None => *selector = wanted.into(),
        }
    }
    Ok(())
}

/// Refuses a new Pod that selects other nodes than those of its namespace.
pub(super) fn validate_selector(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    match request.is_for(PODS) && old.is_none() {
        true => check_selector(&selector(cluster, request.namespace)?, pod),
        false => Ok(()),
    }
}

fn check_selector(wanted: &Map<String, Value>, pod: &Value) -> Result<(), Status> {
    let given = &pod["spec"]["nodeSelector"];
    let conflicts = |(label, value): (&String, &Value)| given.get(label).is_some_and(|given| given != value);
    if wanted.iter().any(conflicts) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let why = "pod node label selector conflicts with its namespace node label selector";
        return Err(Status::forbidden("", "pods", name, why));
    }
    Ok(())
}

/// The labels of nodes that a namespace selects, written `a=b,c=d`.
fn selector(cluster: &Cluster, namespace: &str) -> Result<Map<String, Value>, Status> {
    let namespace = cluster.store.get(NAMESPACES.collection(), namespace).map(|stored| stored.value());
    let text = namespace.and_then(|it| it["metadata"]["annotations"][SELECTOR].as_str().map(str::to_owned));
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Map::new()) };
    let check = |wrong: Vec<String>, path: &str, value: &str| match wrong.is_empty() {
        true => Ok(()),
        false => {
            Err(Status::internal(FieldError::invalid(path, &value.into(), &wrong.join("; ")).to_string()))
        }
    };
    let label = |part: &str| {
        let sides: Vec<_> = part.split('=').collect();
        let [key, value] = sides[..] else {
            return Err(Status::internal(format!("invalid selector: [{}]", sides.join(" "))));
        };
        let (key, value) = (key.trim(), value.trim());
        check(names::qualified_name(key), "<nil>", key)?;
        check(names::label_value(value), &format!("[{key}]"), value)?;
        Ok((key.to_owned(), value.into()))
    };
    text.split(',').map(label).collect()
}

/// Gives a Pod that has a node, or a binding to one, the labels that say where the node is.
pub(super) fn label_pod(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if request.resource.stored_as() != PODS || old.is_some() {
        return Ok(());
    }
    let name = match request.subresource {
        "" => &object["spec"]["nodeName"],
        "binding" if object["target"]["kind"] == "Node" => &object["target"]["name"],
        _ => return Ok(()),
    };
    let node = name.as_str().and_then(|name| cluster.store.get(NODES.collection(), name));
    let Some(node) = node.map(|node| node.value()) else { return Ok(()) };
    for label in TOPOLOGY {
        if let Some(value) = node["metadata"]["labels"].get(label) {
            strategy::metadata(object);
            object["metadata"]["labels"][label] = value.clone();
        }
    }
    Ok(())
}
