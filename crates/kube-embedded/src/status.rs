//! Errors as clients receive them: a `Status`, with kube-apiserver's wording.

use kube_builtin::Ordered;
use kube_validation::{FieldError, FieldErrors};
use serde::Serialize;
use serde_json::{Value, json};

use crate::json;
use crate::resource::{Resource, qualified};

const PAGE_NOT_FOUND: &str = "404 page not found";

/// A `Status` of meta/v1 with `status: Failure`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    reason: &'static str,
    pub(crate) message: String,
    details: Option<Box<Details>>,
    /// The whole of it, if another server has made it.
    given: Option<Box<Value>>,
    /// A continue token, in `metadata`.
    token: Option<Box<str>>,
}

/// The JSON form of a `Status`.
#[derive(Serialize)]
struct Wire<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: Metadata<'a>,
    status: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// The `details` of a `Status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
    #[serde(rename = "retryAfterSeconds", skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

/// One of the `causes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, given: None, token: None }
    }

    /// The `Status` as JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        if let Some(given) = &self.given {
            return json::to_vec(&Ordered::of(given));
        }
        let wire = Wire {
            kind: "Status",
            api_version: "v1",
            metadata: Metadata { token: self.token.as_deref() },
            status: "Failure",
            message: &self.message,
            reason: self.reason,
            details: self.details.as_deref(),
            code: self.code,
        };
        json::to_vec(&wire)
    }

    /// Whether it is sent as plain text, as a server without a handler for the path would.
    pub(crate) fn is_plain(&self) -> bool {
        self.message == PAGE_NOT_FOUND
    }

    /// The seconds after which a client may try again.
    pub(crate) fn retries_after(&self) -> Option<u32> {
        self.details.as_ref()?.retry_after
    }

    fn with_details(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Details::default()
        }));
        self
    }

    /// Adds causes.
    pub(crate) fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    /// Sets the number of seconds after which to retry, also as a header. `None` changes nothing.
    pub(crate) fn retry_after(mut self, seconds: Option<u32>) -> Self {
        if seconds.is_some() {
            self.details.get_or_insert_default().retry_after = seconds;
        }
        self
    }

    /// 400
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The error for a write that a webhook denies, whose answer has this `status`: 400 unless it has a code of an error.
    /// `ToStatusErr` of `k8s.io/apiserver/pkg/admission/plugin/webhook/errors`.
    pub(crate) fn denied_by(webhook: &str, status: &Value) -> Self {
        let text = |field: &str| status[field].as_str().unwrap_or_default();
        let why = [text("message"), text("reason")].into_iter().find(|why| !why.is_empty());
        let why = why.map_or_else(|| " without explanation".to_owned(), |why| format!(": {why}"));
        let message = format!("admission webhook {webhook:?} denied the request{why}");
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| (400..1000).contains(code)).unwrap_or(400);
        let mut given = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
        });
        if !matches!(text("status"), "" | "Success") {
            given["status"] = text("status").into();
        }
        for field in ["metadata", "reason", "details"] {
            let value = &status[field];
            if value.is_object() || value.as_str().is_some_and(|text| !text.is_empty()) {
                given[field] = value.clone();
            }
        }
        Self { given: Some(Box::new(given)), ..Self::new(code, "", message) }
    }

    /// 401
    #[cfg(feature = "listen")]
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 for a non-resource path. `reason` is appended.
    pub(crate) fn forbidden_path(user: &str, verb: &str, path: &str, reason: &str) -> Self {
        let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}{reason}");
        Self::new(403, "Forbidden", message).with_causes(Vec::new())
    }

    /// 403
    pub(crate) fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let what = qualified(plural, group);
        let message = match (what.as_str(), name) {
            ("", _) => format!("forbidden: {why}"),
            (what, "") => format!("{what} is forbidden: {why}"),
            (what, name) => format!("{what} {name:?} is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).with_details(group, plural, name)
    }

    /// The error for a write that a policy denies: 422 unless the policy gives another reason.
    #[cfg(feature = "cel")]
    pub(crate) fn denied_by_policy(resource: &Resource, name: &str, reason: &str, message: &str) -> Self {
        let (code, reason) = match reason {
            "Unauthorized" => (401, "Unauthorized"),
            "Forbidden" => (403, "Forbidden"),
            "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        let name = if name.is_empty() { "Unknown" } else { name };
        let status = Self::forbidden(&resource.group, &resource.plural, name, message);
        let cause = Cause { message: message.to_owned(), ..Cause::default() };
        Self { code, reason, ..status }.with_causes(vec![cause])
    }

    /// 403 for a write that mutating policies deny, or that they cannot change.
    #[cfg(feature = "cel")]
    pub(crate) fn denied_by_mutating_policies(
        resource: &Resource,
        name: &str,
        reason: &'static str,
        messages: Vec<String>,
    ) -> Self {
        let message = messages.first().cloned().unwrap_or_default();
        let causes = messages.into_iter().map(|message| Cause { message, ..Cause::default() });
        Self::new(403, reason, message)
            .with_details(&resource.group, &resource.plural, name)
            .with_causes(causes.collect())
    }

    /// 404 for a path that the server does not have.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_causes(Vec::new())
    }

    /// 404
    pub(crate) fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(plural, group));
        Self::new(404, "NotFound", message).with_details(group, plural, name)
    }

    /// 404 for a path below a group that the server does not have.
    pub(crate) fn page_not_found() -> Self {
        Self::new(404, "NotFound", PAGE_NOT_FOUND)
    }

    /// 405
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with_causes(Vec::new())
    }

    /// 406
    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Self::new(406, "NotAcceptable", message)
    }

    /// 500 for an object that is too large for etcd, whose message this is.
    pub(crate) fn too_large_to_store() -> Self {
        Self::internal("etcdserver: request is too large")
    }

    /// 409 on a create.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).with_details(&resource.group, &resource.plural, name)
    }

    /// 409 for a create while the object of that name is being deleted.
    pub(crate) fn being_deleted(resource: &Resource, name: &str) -> Self {
        let mut status = Self::already_exists(resource, name);
        status.message.insert_str(0, "object is being deleted: ");
        status
    }

    /// 409 on a write of an object that has changed since it was read.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        Self::modified_object(&resource.group, &resource.plural, name)
    }

    /// [`Status::modified`] by the names in a request's path.
    pub(crate) fn modified_object(group: &str, plural: &str, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please apply your changes to \
             the latest version and try again",
            qualified(plural, group)
        );
        Self::new(409, "Conflict", message).with_details(group, plural, name)
    }

    /// 409
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::new(409, "Conflict", message).with_details(&resource.group, &resource.plural, name)
    }

    /// 409 for a subresource such as `pods/binding`.
    pub(crate) fn conflict_on(what: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Self::new(409, "Conflict", message).with_details("", what, name)
    }

    /// 409 that names the kind rather than the resource, as kube-apiserver does for preconditions.
    pub(crate) fn conflict_of_kind(resource: &Resource, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified_kind());
        Self::new(409, "Conflict", message).with_details(&resource.group, &resource.kind, name)
    }

    /// 409 with a message of its own.
    pub(crate) fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        Self::new(409, "Conflict", message).with_causes(causes)
    }

    /// 410 with a token to continue inconsistently.
    pub(crate) fn expired_token(message: impl Into<String>, token: String) -> Self {
        let mut status = Self::expired(message);
        status.token = Some(token.into());
        status
    }

    /// 410
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 413 with a message.
    pub(crate) fn too_large_because(message: &str) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 415
    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 415 for a patch of a built-in kind.
    pub(crate) fn unsupported_patch() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_causes(Vec::new())
    }

    /// 422 for an object. `kind` may be a resource, as in some of kube-apiserver's errors.
    pub(crate) fn invalid(group: &str, kind: &str, name: &str, errors: Vec<FieldError>) -> Self {
        let causes = errors.iter().map(|it| Cause {
            reason: it.reason.as_str().to_owned(),
            message: it.message.clone(),
            field: it.field.clone(),
        });
        let causes = causes.collect();
        let message = format!("{} {name:?} is invalid: {}", qualified(kind, group), FieldErrors(errors));
        Self::new(422, "Invalid", message).with_details(group, kind, name).with_causes(causes)
    }

    /// 422 without an object's name.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message).with_causes(Vec::new())
    }

    /// 429
    pub(crate) fn too_many_requests(retry_after: Option<u32>) -> Self {
        let message = "the server has received too many requests and has asked us to try again later";
        Self::new(429, "TooManyRequests", message).retry_after(retry_after)
    }

    /// 429 for an eviction.
    pub(crate) fn too_many_disruptions() -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        Self::new(429, "TooManyRequests", message)
    }

    /// 500
    pub(crate) fn internal_error(message: impl Into<String>) -> Self {
        let message = message.into();
        let cause = Cause { message: message.clone(), ..Cause::default() };
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .with_causes(vec![cause])
    }

    /// 500 without a reason, as kube-apiserver answers for an error that has no code.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 500 for a list with objects that cannot be read.
    pub(crate) fn storage_read_error(resource: &Resource, failed: Vec<Cause>) -> Self {
        let first = failed.first().map_or("", |cause| cause.message.as_str());
        let more = match failed.len() {
            0 | 1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        let message =
            format!("failed to read one or more {} from the storage: {first}{more}", resource.qualified());
        Self::new(500, "StorageReadError", message)
            .with_details(&resource.group, &resource.plural, "list")
            .with_causes(failed)
    }

    /// 501 for a part of kube-apiserver that this server does not have.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(501, "", format!("the embedded API server does not implement {what}"))
    }

    /// 503
    pub(crate) fn unavailable(retry_after: Option<u32>) -> Self {
        let message = "the server is currently unable to handle the request";
        Self::new(503, "ServiceUnavailable", message).retry_after(retry_after)
    }

    /// 504 for a request that takes too long.
    pub(crate) fn timeout() -> Self {
        Self::new(504, "Timeout", "Timeout: request did not complete within the allotted timeout")
            .with_causes(Vec::new())
    }

    /// 504 for a resourceVersion that the server has not reached.
    pub(crate) fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let cause = Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        Self::new(504, "Timeout", message).with_causes(vec![cause]).retry_after(Some(1))
    }
}
