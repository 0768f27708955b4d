//! The plugin LimitPodHardAntiAffinityTopology: Pods keep others off their node, but not off a whole zone.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use crate::resource::PODS;
use crate::status::Status;

/// The label with a node's name.
const HOST: &str = "kubernetes.io/hostname";

/// Refuses Pods that exclude others from more than a node.
pub(super) fn validate(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    _: Option<&Value>,
) -> Result<(), Status> {
    if !request.is_for(PODS) {
        return Ok(());
    }
    let terms = pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        .as_array();
    let mut keys = terms.into_iter().flatten().map(|term| term["topologyKey"].as_str().unwrap_or_default());
    keys.find(|key| *key != HOST).map_or(Ok(()), |key| {
        let why = format!(
            "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST} is allowed"
        );
        Err(Status::forbidden("", "pods", pod["metadata"]["name"].as_str().unwrap_or_default(), &why))
    })
}
