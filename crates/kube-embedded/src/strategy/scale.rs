//! What the `/scale` of an object shows, and what a change of it does to the object.

use std::borrow::Cow;

use kube_schema::Scale;
use kube_selectors::LabelSelector;
use kube_validation::FieldError;
use serde_json::{Value, json};

use crate::resource::Resource;
use crate::status::Status;

/// The type that every resource's `/scale` has.
pub(crate) const API_VERSION: &str = "autoscaling/v1";
pub(crate) const KIND: &str = "Scale";

/// Stands for no replicas while a request changes a scale, as in kube-apiserver: a change that leaves it is refused.
pub(crate) const ABSENT: i32 = i32::MIN;

/// Where a resource has its replicas.
pub(crate) fn of(resource: &Resource) -> Cow<'_, Scale> {
    match resource.scale() {
        Some(scale) => Cow::Borrowed(scale),
        None => Cow::Owned(Scale::new(".spec.replicas", ".status.replicas", None)),
    }
}

/// An object with the replicas of a scale, and with what the scale says of the object.
pub(crate) fn scaled(
    resource: &Resource,
    scale: &Scale,
    old: &Value,
    wanted: &Value,
) -> Result<Value, Status> {
    let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or_default();
    let replicas = i32::try_from(replicas).unwrap_or(ABSENT);
    if replicas == ABSENT {
        let path = scale.spec_replicas_path();
        return Err(Status::bad_request(format!("the spec replicas field {path:?} cannot be empty")));
    }
    if replicas < 0 && resource.custom.is_none() {
        let error =
            FieldError::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
        let name = old["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Status::invalid("autoscaling", KIND, name, vec![error]));
    }
    let mut new = old.clone();
    scale.set_spec_replicas(&mut new, replicas).map_err(Status::internal)?;
    for field in ["name", "namespace", "uid", "resourceVersion"] {
        let given = &wanted["metadata"][field];
        if given.as_str().is_some_and(|given| !given.is_empty()) {
            new["metadata"][field] = given.clone();
        }
    }
    Ok(new)
}

/// The scale of an object, or why it has none.
pub(crate) fn shown(resource: &Resource, scale: &Scale, object: &Value) -> Result<Value, String> {
    let selector = match scale.label_selector(object)? {
        Some(selector) => Some(selector.to_owned()),
        None => builtin_selector(resource, object),
    };
    // Go omits desired replicas of 0, and an empty selector.
    let mut spec = json!({});
    match scale.spec_replicas(object)? {
        None | Some(0) => {}
        Some(replicas) => spec["replicas"] = replicas.into(),
    }
    let mut status = json!({"replicas": scale.status_replicas(object)?.unwrap_or_default()});
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status["selector"] = selector.into();
    }
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        // An object of the whole cluster has no namespace.
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    Ok(json!({"kind": KIND, "apiVersion": API_VERSION, "metadata": metadata, "spec": spec, "status": status}))
}

/// The selector of a built-in kind, as text.
fn builtin_selector(resource: &Resource, object: &Value) -> Option<String> {
    if resource.custom.is_some() {
        return None;
    }
    let selector = object["spec"].get("selector")?;
    // The selector of a ReplicationController only has labels.
    let selector = match resource.kind.as_str() {
        "ReplicationController" => LabelSelector::from_object(&json!({"matchLabels": selector})),
        _ => LabelSelector::from_object(selector),
    };
    Some(selector.ok()?.to_string())
}
