//! Reviews: questions that are asked by a POST, and leave nothing behind.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::query::FieldValidation;
use super::{Api, Request, body, render, token};
use crate::auth::User;
use crate::rbac::{self, Attributes};
use crate::status::Status;

/// POST of a review.
pub(super) fn create(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let (mut review, _) = body::object(request, FieldValidation::Ignore)?;
    let status = match request.resource.kind.as_str() {
        "SelfSubjectAccessReview" => access(api, request.user, &review["spec"]),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let spec = &review["spec"];
            let groups: Vec<&str> =
                spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            access(api, &User::new(spec["user"].as_str().unwrap_or_default(), &groups), spec)
        }
        "SelfSubjectRulesReview" => rules(api, request.user, &review["spec"]),
        "SelfSubjectReview" => json!({"userInfo": token::user_info(request.user)}),
        "TokenReview" => token::review(api, &review["spec"])?,
        _ => return Err(Status::not_implemented(&request.resource.plural)),
    };
    review["status"] = status;
    Ok(render::value_response(StatusCode::CREATED, request.accept.encoding, &review))
}

fn access(api: &Api, user: &User, spec: &Value) -> Value {
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let about = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let (verb, group, resource, subresource, namespace, name) = (
        text(if path.is_object() { &path["verb"] } else { &about["verb"] }),
        text(&about["group"]),
        text(&about["resource"]),
        text(&about["subresource"]),
        text(&about["namespace"]),
        text(&about["name"]),
    );
    let attributes = Attributes {
        verb: &verb,
        group: &group,
        resource: &resource,
        subresource: &subresource,
        namespace: &namespace,
        name: &name,
        path: path["path"].as_str().unwrap_or_default(),
    };
    json!({"allowed": rbac::allows(api, user, &attributes)})
}

fn rules(api: &Api, user: &User, spec: &Value) -> Value {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    let rules = if user.is_master() {
        vec![
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
        ]
    } else {
        rbac::rules(api, user, namespace)
    };
    let (paths, resources): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| rule["nonResourceURLs"].is_array());
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
