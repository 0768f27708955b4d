//! The client of a conversion webhook: apiserver's `pkg/util/webhook/validation.go`.

use kube_validation::{FieldError, FieldPath, go::url::Url, names};
use serde_json::Value;

use crate::json::{Json, is_set, list, object, text};

/// The versions of `ConversionReview` that kube-apiserver sends.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

/// Returns whether one of the versions is one that kube-apiserver sends.
pub(crate) fn has_known_review(versions: &[Value]) -> bool {
    versions.iter().any(|version| REVIEWS.iter().any(|known| version == known))
}

/// Checks `webhook.clientConfig`, except for its certificates.
pub(crate) fn client(client: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    if is_set(client, "url") == is_set(client, "service") {
        errors.push(FieldError::required(path, "exactly one of url or service is required"));
    } else if let Some(service) = object(client, "service") {
        check_service(service, &path.child("service"), errors);
    } else {
        check_url(text(client, "url"), &path.child("url"), errors);
    }
}

fn check_url(url: &str, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let parsed = match Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.push(FieldError::required(path, &format!("url must be a valid URL: {error}{FORM}")));
            return;
        }
    };
    let mut invalid = |part: &str, detail: &str| errors.push(FieldError::invalid(path, &part.into(), detail));
    if parsed.scheme() != "https" {
        invalid(parsed.scheme(), &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if parsed.host().is_empty() {
        invalid("", &format!("host must be specified{FORM}"));
    }
    if let Some(user) = parsed.userinfo() {
        invalid(&user, "user information is not permitted in the URL");
    }
    let fragment = parsed.fragment();
    if !fragment.is_empty() {
        invalid(&fragment, "fragments are not permitted in the URL");
    }
    if !parsed.raw_query().is_empty() {
        invalid(parsed.raw_query(), "query parameters are not permitted in the URL");
    }
}

fn check_service(service: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    // kube-apiserver mixes up the two fields.
    for (field, reported) in [("namespace", "name"), ("name", "namespace")] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(path.child(reported), ""));
        }
    }
    if let Some(port) = service.get("port").and_then(Value::as_i64)
        && !(1..=65535).contains(&port)
    {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(path.child("port"), &port.into(), detail));
    }
    let url_path = text(service, "path");
    let path = path.child("path");
    let mut invalid = |detail: &str| errors.push(FieldError::invalid(path, &url_path.into(), detail));
    match url_path {
        "" | "/" => return,
        "//" => return invalid("segment[0] may not be empty"),
        _ => {}
    }
    if !url_path.starts_with('/') {
        invalid("must start with a '/'");
    }
    // Without the first byte, whatever it is.
    let steps = String::from_utf8_lossy(url_path.as_bytes().get(1..).unwrap_or_default());
    for (index, step) in steps.strip_suffix('/').unwrap_or(&steps).split('/').enumerate() {
        if step.is_empty() {
            invalid(&format!("segment[{index}] may not be empty"));
        } else {
            for problem in names::dns1123_subdomain(step) {
                invalid(&format!("segment[{index}]: {problem}"));
            }
        }
    }
}

/// Checks `webhook.conversionReviewVersions`. `needs_known`: whether one must be a version that kube-apiserver sends.
pub(crate) fn reviews(webhook: &Json, needs_known: bool, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let versions = list(webhook, "conversionReviewVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        if versions.iter().take(index).any(|earlier| earlier == version) {
            errors.push(FieldError::invalid(path.index(index), version, "duplicate version"));
            continue;
        }
        for problem in names::dns1035_label(version.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(path.index(index), version, &problem));
        }
    }
    if needs_known && !has_known_review(versions) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(FieldError::invalid(path, &versions.into(), &detail));
    }
}
