//! Reviews: questions that are asked with a POST and not stored.

use http::StatusCode;
use kube_validation::FieldError;
use serde_json::{Value, json};

use super::decode;
use super::query::FieldValidation;
use super::render::{self, Response};
use super::request::Request;
use crate::cluster::{Attributes, Cluster, set_namespace};
use crate::status::Status;
use crate::strategy;
use crate::user::User;

/// POST of a review.
pub(super) fn create(request: Request<'_>) -> Result<Response, Status> {
    let Request { cluster, user, .. } = request;
    let mut review = decode::object(&request, FieldValidation::Ignore)?;
    let kind = request.resource.kind.as_str();
    if kind == "LocalSubjectAccessReview" {
        set_namespace(&mut review, &request.info.namespace)?;
    }
    let status = match kind {
        "SelfSubjectAccessReview" => {
            check(kind, &review)?;
            access(cluster, user, &review["spec"])
        }
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            check(kind, &review)?;
            access(cluster, &asked_about(&review["spec"]), &review["spec"])
        }
        "SelfSubjectRulesReview" => rules(cluster, user, &review["spec"])?,
        "SelfSubjectReview" => json!({"userInfo": user.info()}),
        "TokenReview" => cluster.review_token(&review["spec"])?,
        _ => return Err(Status::not_implemented(&request.resource.plural)),
    };
    review["status"] = status;
    Ok(render::value_response(StatusCode::CREATED, request.accept.encoding, &review))
}

/// Checks a review of access: `pkg/apis/authorization/validation` of kube-apiserver, except for selectors.
///
/// # Errors
/// Fails with 422. Its message has no kind, as in kube-apiserver.
fn check(kind: &str, review: &Value) -> Result<(), Status> {
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    // Go's names, because the message shows an internal type.
    let shown = match path {
        Value::Null => Value::Null,
        path => {
            let text = |field: &str| path[field].as_str().unwrap_or_default();
            json!({"Path": text("path"), "Verb": text("verb")})
        }
    };
    let mut errors = Vec::new();
    if resource.is_null() == path.is_null() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid("spec", &shown, why));
    }
    let is_empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if kind != "SelfSubjectAccessReview"
        && is_empty(&spec["user"])
        && spec["groups"].as_array().is_none_or(Vec::is_empty)
    {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid("spec.user", &"".into(), why));
    }
    let local = kind == "LocalSubjectAccessReview";
    let mut metadata = review["metadata"].as_object().cloned().unwrap_or_default();
    metadata.retain(|field, value| field != "managedFields" && !value.is_null());
    if metadata.keys().any(|field| !(local && field == "namespace")) {
        let why = if local { "must be empty except for namespace" } else { "must be empty" };
        errors.push(FieldError::invalid("metadata", &metadata.into(), why));
    }
    if local {
        let namespace = resource["namespace"].as_str().unwrap_or_default();
        if !resource.is_null() && review["metadata"]["namespace"] != namespace {
            let field = "spec.resourceAttributes.namespace";
            errors.push(FieldError::invalid(field, &namespace.into(), "must match metadata.namespace"));
        }
        if !path.is_null() {
            let why = "disallowed on this kind of request";
            errors.push(FieldError::invalid("spec.nonResourceAttributes", &shown, why));
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid("authorization.k8s.io", "", "", errors)),
    }
}

/// The user that a review is about. It is in no other groups than those that the review names.
fn asked_about(spec: &Value) -> User {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: text("user"),
        uid: text("uid"),
        groups: strategy::texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), strategy::texts(values))).collect(),
    }
}

fn access(cluster: &Cluster, user: &User, spec: &Value) -> Value {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let is_resource = resource.is_object();
    let text = |field: &str| resource[field].as_str().unwrap_or_default();
    let of_path = |field: &str| path[field].as_str().unwrap_or_default();
    let attributes = Attributes {
        verb: if is_resource { text("verb") } else { of_path("verb") },
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: (!is_resource).then(|| of_path("path")),
    };
    json!({"allowed": cluster.rbac.allows(&cluster.store, user, &attributes)})
}

fn rules(cluster: &Cluster, user: &User, spec: &Value) -> Result<Value, Status> {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rules = cluster.rbac.rules(&cluster.store, user, namespace);
    let (paths, resources): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| rule["nonResourceURLs"].is_array());
    Ok(json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false}))
}
