//! The plugin AlwaysPullImages: nobody runs an image that another has pulled without being allowed to pull it.

use kube_validation::FieldError;
use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use super::resources::items;
use crate::resource::PODS;
use crate::status::Status;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Makes Pods pull all their images.
pub(super) fn mutate(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !concerns(request, pod, old) {
        return Ok(());
    }
    for list in LISTS {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container["imagePullPolicy"] = "Always".into();
        }
    }
    for volume in pod["spec"].get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(image) = volume.get_mut("image").filter(|image| image.is_object()) {
            image["pullPolicy"] = "Always".into();
        }
    }
    Ok(())
}

/// Refuses Pods for which a webhook has set another policy.
pub(super) fn validate(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    pod: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !concerns(request, pod, old) {
        return Ok(());
    }
    let containers = LISTS.into_iter().flat_map(|list| {
        let containers = items(pod, list).iter().enumerate();
        containers
            .map(move |(index, it)| (format!("spec.{list}[{index}].imagePullPolicy"), &it["imagePullPolicy"]))
    });
    let images = items(pod, "volumes").iter().enumerate().filter(|(_, it)| it["image"].is_object());
    let images = images
        .map(|(index, it)| (format!("spec.volumes[{index}].image.pullPolicy"), &it["image"]["pullPolicy"]));
    let mut other = containers.chain(images).filter(|(_, policy)| **policy != "Always");
    other.next().map_or(Ok(()), |(path, policy)| {
        let error = FieldError::not_supported(path, policy, &["Always"]);
        Err(request.forbidden(pod, &error.to_string()))
    })
}

/// Whether a request is about a new Pod, or gives one an image that it did not have.
fn concerns(request: &AdmissionRequest<'_>, pod: &Value, old: Option<&Value>) -> bool {
    let images = |pod: &Value| -> Vec<Value> {
        let containers = LISTS.into_iter().flat_map(|list| items(pod, list));
        containers.map(|container| container["image"].clone()).collect()
    };
    let before = old.map(images);
    let is_new = |image: &Value| before.as_ref().is_none_or(|before| !before.contains(image));
    request.is_for(PODS) && (before.is_none() || images(pod).iter().any(is_new))
}
