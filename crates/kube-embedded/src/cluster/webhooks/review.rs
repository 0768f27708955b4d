//! What the reviews of admission and of conversion have in common: `AdmissionReview` and `ConversionReview`.

use kube_validation::go::json_type;
use serde_json::{Map, Value};

/// Reads a review as JSON.
pub(super) fn parse(body: &[u8]) -> Result<Map<String, Value>, String> {
    let found = match serde_json::from_slice(body) {
        Ok(Value::Object(review)) => return Ok(review),
        Ok(Value::Null) => return Ok(Map::new()),
        Ok(other) => json_type(&other),
        // Go reads it as YAML then, where most texts are strings.
        Err(_) => "string",
    };
    Err(format!(
        r#"couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }}"#
    ))
}

/// Refuses a review that is of another type than the one that was sent. Go's decoder takes an absent type for the right one.
pub(super) fn check_type(api_version: &str, kind: &str, expected: &str, review: &str) -> Result<(), String> {
    let group = expected.split('/').next().unwrap_or_default();
    let is_known = match api_version.split_once('/') {
        Some((given, version)) => given == group && matches!(version, "v1" | "v1beta1"),
        None => api_version.is_empty(),
    };
    if !is_known || !(kind.is_empty() || kind == review) {
        return Err(format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        ));
    }
    if !api_version.is_empty() && api_version != expected {
        let short = |it: &str| it.rsplit('/').next().unwrap_or_default().to_owned();
        let (from, to) = (short(api_version), short(expected));
        return Err(format!("converting ({from}.{review}) to ({to}.{review}): unknown conversion"));
    }
    Ok(())
}

/// Refuses a review whose type is absent, or another one than [`check_type`] is about.
pub(super) fn check_exact_type(
    api_version: &str,
    kind: &str,
    expected: &str,
    review: &str,
) -> Result<(), String> {
    if api_version == expected && kind == review {
        return Ok(());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let got = format!("{group}/{version}, Kind={kind}");
    Err(format!("expected webhook response of {expected}, Kind={review}, got {got}"))
}
