//! Plugins about the resources of running Pods: NodeDeclaredFeatureValidator and PodResizeValidator.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::resources::{self, items};
use crate::resource::{NODES, PODS};
use crate::status::{Cause, Status};

/// The label with a node's operating system.
const OS: &str = "kubernetes.io/os";

/// Refuses changes of a Pod that its node cannot make.
pub(super) fn validate_features(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let Some(old) = old.filter(|_| matches!(request.subresource, "" | "resize")) else { return Ok(()) };
    let Some(name) = node_of_changed(request, pod, old) else { return Ok(()) };
    let needed = needed_features(pod, old);
    if needed.is_empty() {
        return Ok(());
    }
    let node = node(cluster, request, pod, name)?;
    let declared = crate::strategy::texts(&node["status"]["declaredFeatures"]);
    let missing: Vec<_> =
        needed.into_iter().filter(|feature| !declared.iter().any(|it| it == feature)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    let why = format!("pod update requires features {missing} which are not available on node {name:?}");
    Err(request.forbidden(pod, &why))
}

/// The features of a node that a change needs.
fn needed_features(pod: &Value, old: &Value) -> Vec<&'static str> {
    let mut needed = Vec::new();
    if pod["spec"]["resources"] != old["spec"]["resources"] {
        needed.push("InPlacePodLevelResourcesVerticalScaling");
    }
    let init = items(old, "initContainers").iter().zip(items(pod, "initContainers"));
    let is_resized = |(old, new): (&Value, &Value)| {
        old["restartPolicy"] != "Always" && old["resources"] != new["resources"]
    };
    if init.into_iter().any(is_resized) {
        needed.push("InPlacePodVerticalScalingInitContainers");
    }
    needed
}

/// Refuses to give a Pod more than its node has.
pub(super) fn validate(
    cluster: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let Some(old) = old.filter(|_| request.subresource == "resize") else { return Ok(()) };
    let Some(name) = node_of_changed(request, pod, old) else { return Ok(()) };
    let node = node(cluster, request, pod, name)?;
    let refused = |why: &str, reason: &str| {
        let cause = Cause { reason: reason.to_owned(), ..Cause::default() };
        Err(request.forbidden(pod, why).with_causes(vec![cause]))
    };
    if let Some(os) = node["metadata"]["labels"][OS].as_str().filter(|os| *os != "linux") {
        let why = format!("pod resize is only supported on linux nodes, node {name:?} is {os:?}");
        return refused(&why, "UnsupportedPlatform");
    }
    let allocatable = resources::parse(&node["status"]["allocatable"]);
    let mut requests = resources::of_containers(pod, "requests");
    requests.extend(resources::parse(&pod["spec"]["resources"]["requests"]));
    resources::add(&mut requests, resources::parse(&pod["spec"]["overhead"]));
    let lacking = [("cpu", -3), ("memory", 0)].into_iter().filter_map(|(name, scale)| {
        let (requested, allocatable) = (requests.get(name)?, allocatable.get(name));
        let is_lacking = !requested.is_zero() && allocatable.is_none_or(|most| requested > most);
        let most = allocatable.map_or(0, |most| most.scaled_value(scale));
        let shown = format!("{name}, requested: {}, allocatable: {most}", requested.scaled_value(scale));
        is_lacking.then_some(shown)
    });
    let lacking: Vec<_> = lacking.collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let why = format!("node didn't have enough allocatable resources: {}", lacking.join("; "));
    refused(&why, "NodeCapacity")
}

/// The name of the node of a Pod that a request changes.
fn node_of_changed<'a>(request: &AdmissionRequest<'_>, pod: &'a Value, old: &Value) -> Option<&'a str> {
    let generation = |pod: &Value| pod["metadata"]["generation"].as_i64();
    let is_changed = request.resource.stored_as() == PODS && generation(pod) != generation(old);
    pod["spec"]["nodeName"].as_str().filter(|name| is_changed && !name.is_empty())
}

fn node(cluster: &Cluster, request: &AdmissionRequest<'_>, pod: &Value, name: &str) -> Result<Value, Status> {
    let node = cluster.store.get(NODES.collection(), name).map(|node| node.value());
    node.ok_or_else(|| request.forbidden(pod, &format!("node {name:?} not found")))
}
