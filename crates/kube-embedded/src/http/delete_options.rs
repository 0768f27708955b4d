//! `DeleteOptions`, in the body or the query of a deletion.

use kube_validation::{FieldError, go};
use serde_json::Value;

use super::decode;
use super::query::{invalid_dry_run, invalid_options};
use super::request::Request;
use crate::cluster::{DeleteOptions, Propagation};
use crate::status::Status;

/// Reads the options from the body, or else from the query.
pub(super) fn delete_options(request: &Request<'_>) -> Result<DeleteOptions, Status> {
    let body = decode::options(request)?;
    if body.is_null() {
        return Ok(DeleteOptions {
            dry_run: request.query.dry_run("DeleteOptions")?,
            grace: request.query.int("gracePeriodSeconds")?,
            propagation: propagation(
                request.query.get("propagationPolicy"),
                request.query.flag("orphanDependents"),
            )?,
            ..DeleteOptions::default()
        });
    }
    let mut options = parse(&body)?;
    options.dry_run |= request.query.dry_run("DeleteOptions")?;
    Ok(options)
}

/// Reads the options from an object. Missing fields have no effect; one of the wrong type is refused.
pub(super) fn parse(options: &Value) -> Result<DeleteOptions, Status> {
    let dry_run = typed(options, "DeleteOptions.dryRun", "[]string", Value::as_array)?;
    let dry_run = dry_run.map_or(&[][..], Vec::as_slice);
    if let Some(wrong) = dry_run.iter().find(|value| !value.is_string()) {
        return Err(wrong_type(wrong, "DeleteOptions.dryRun", "string"));
    }
    if dry_run.iter().any(|value| value != "All") {
        return Err(invalid_dry_run("DeleteOptions", &options["dryRun"]));
    }
    let policy = typed(options, "DeleteOptions.propagationPolicy", "v1.DeletionPropagation", Value::as_str)?;
    let orphan = typed(options, "DeleteOptions.orphanDependents", "bool", Value::as_bool)?;
    typed(options, "DeleteOptions.preconditions", "v1.Preconditions", Value::as_object)?;
    let precondition = |field: &str, expected: &str| {
        let field = format!("Preconditions.preconditions.{field}");
        typed(&options["preconditions"], &field, expected, Value::as_str).map(|text| text.map(str::to_owned))
    };
    Ok(DeleteOptions {
        dry_run: !dry_run.is_empty(),
        grace: typed(options, "DeleteOptions.gracePeriodSeconds", "int64", Value::as_i64)?,
        propagation: propagation(policy, orphan)?,
        uid: precondition("uid", "types.UID")?,
        resource_version: precondition("resourceVersion", "string")?,
    })
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Propagation, Status> {
    match (policy, orphan) {
        (None, None) => Ok(Propagation::Unset),
        (None, Some(true)) | (Some("Orphan"), None) => Ok(Propagation::Orphan),
        (None, Some(false)) | (Some("Background"), None) => Ok(Propagation::Background),
        (Some("Foreground"), None) => Ok(Propagation::Foreground),
        (Some(policy), Some(_)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let error = FieldError::invalid("propagationPolicy", &policy.into(), why);
            Err(invalid_options("DeleteOptions", vec![error]))
        }
        (Some(other), None) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", &other.into(), &supported);
            Err(invalid_options("DeleteOptions", vec![error]))
        }
    }
}

/// Returns a field of an object, if it exists. Errors name the field as Go does.
fn typed<'a, T>(
    object: &'a Value,
    field: &str,
    expected: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, Status> {
    match &object[field.rsplit('.').next().unwrap_or_default()] {
        Value::Null => Ok(None),
        value => read(value).map(Some).ok_or_else(|| wrong_type(value, field, expected)),
    }
}

fn wrong_type(value: &Value, field: &str, expected: &str) -> Status {
    let found = match value {
        // Go names the value if it expects a number of another type.
        Value::Number(number) if expected == "int64" => format!("number {number}"),
        other => go::json_type(other).to_owned(),
    };
    Status::bad_request(format!(
        "json: cannot unmarshal {found} into Go struct field {field} of type {expected}"
    ))
}
