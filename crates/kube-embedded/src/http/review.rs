//! Reviews: questions that are asked with a POST and not stored.

use http::StatusCode;
use serde_json::{Value, json};

use super::decode;
use super::query::FieldValidation;
use super::render::{self, Response};
use super::request::Request;
use crate::cluster::{Attributes, Cluster, Decoded, user_info};
use crate::status::Status;
use crate::user::User;

/// POST of a review.
pub(super) fn create(request: Request<'_>) -> Result<Response, Status> {
    let Request { cluster, user, .. } = request;
    let Decoded { object: mut review, .. } = decode::object(&request, FieldValidation::Ignore)?;
    let status = match request.resource.kind.as_str() {
        "SelfSubjectAccessReview" => access(cluster, user, &review["spec"]),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let spec = &review["spec"];
            let groups: Vec<&str> =
                spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            access(cluster, &User::new(spec["user"].as_str().unwrap_or_default(), &groups), spec)
        }
        "SelfSubjectRulesReview" => rules(cluster, user, &review["spec"]),
        "SelfSubjectReview" => json!({"userInfo": user_info(user)}),
        "TokenReview" => cluster.review_token(&review["spec"])?,
        _ => return Err(Status::not_implemented(&request.resource.plural)),
    };
    review["status"] = status;
    Ok(render::value_response(StatusCode::CREATED, request.accept.encoding, &review))
}

fn access(cluster: &Cluster, user: &User, spec: &Value) -> Value {
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
        path: path.is_object().then(|| path["path"].as_str().unwrap_or_default()),
    };
    json!({"allowed": cluster.rbac.allows(&cluster.store, user, &attributes)})
}

fn rules(cluster: &Cluster, user: &User, spec: &Value) -> Value {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    let rules = if user.is_master() {
        vec![
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
        ]
    } else {
        cluster.rbac.rules(&cluster.store, user, namespace)
    };
    let (paths, resources): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| rule["nonResourceURLs"].is_array());
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
