//! `DeleteOptions`: what a client asks of a deletion, in the body or in the query.

use serde_json::Value;

use super::query::{invalid_dry_run, invalid_options};
use super::{Request, body};
use crate::field::FieldError;
use crate::registry::Resource;
use crate::status::Status;

/// `DeleteOptions`, those that matter here.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(super) dry_run: bool,
    /// How many seconds a Pod gets to stop.
    pub(super) grace: Option<i64>,
    pub(super) propagation: Propagation,
    uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Propagation {
    /// What its finalizers say, else as background: how this server deletes.
    #[default]
    Collected,
    /// The client does not say: what its finalizers say, else as is usual for the kind.
    Unset,
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl DeleteOptions {
    /// What the object owns goes before it.
    pub(crate) fn foreground() -> Self {
        Self { propagation: Propagation::Foreground, ..Self::default() }
    }

    /// Those of an object or null; an absent one asks for nothing. None is passed over because of its type.
    pub(super) fn read(options: &Value) -> Result<Self, Status> {
        let dry_run = typed(options, "DeleteOptions.dryRun", "[]string", Value::as_array)?;
        let dry_run = dry_run.map_or(&[][..], Vec::as_slice);
        if let Some(wrong) = dry_run.iter().find(|value| !value.is_string()) {
            return Err(wrong_type(wrong, "DeleteOptions.dryRun", "string"));
        }
        if dry_run.iter().any(|value| value != "All") {
            return Err(invalid_dry_run("DeleteOptions", &options["dryRun"]));
        }
        let policy =
            typed(options, "DeleteOptions.propagationPolicy", "v1.DeletionPropagation", Value::as_str)?;
        let orphan = typed(options, "DeleteOptions.orphanDependents", "bool", Value::as_bool)?;
        typed(options, "DeleteOptions.preconditions", "v1.Preconditions", Value::as_object)?;
        let precondition = |field: &str, expected: &str| {
            let field = format!("Preconditions.preconditions.{field}");
            typed(&options["preconditions"], &field, expected, Value::as_str)
                .map(|text| text.map(str::to_owned))
        };
        Ok(Self {
            dry_run: !dry_run.is_empty(),
            grace: typed(options, "DeleteOptions.gracePeriodSeconds", "int64", Value::as_i64)?,
            propagation: propagation(policy, orphan)?,
            uid: precondition("uid", "types.UID")?,
            resource_version: precondition("resourceVersion", "string")?,
        })
    }

    /// Refuses to delete an object that is not the one, or not in the state, that is asked for.
    pub(super) fn check(&self, resource: &Resource, name: &str, object: &Value) -> Result<(), Status> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        if let Some(uid) = &self.uid
            && uid != text("uid")
        {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted \
                 and then recreated",
                text("uid")
            );
            return Err(Status::conflict_of_kind(resource, name, &why));
        }
        if let Some(version) = &self.resource_version
            && version != text("resourceVersion")
        {
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The \
                 object might have been modified",
                text("resourceVersion")
            );
            return Err(Status::conflict_of_kind(resource, name, &why));
        }
        Ok(())
    }
}

/// Reads the options from the body, or else from the query.
pub(super) fn options(request: &Request<'_>) -> Result<DeleteOptions, Status> {
    let body = body::options(request)?;
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
    let mut options = DeleteOptions::read(&body)?;
    options.dry_run |= request.query.dry_run("DeleteOptions")?;
    Ok(options)
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
            Err(invalid_options("DeleteOptions", &[error]))
        }
        (Some(other), None) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", &other.into(), &supported);
            Err(invalid_options("DeleteOptions", &[error]))
        }
    }
}

/// A field of an object, named as Go names it, if it is there.
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
        Value::Bool(_) => "bool".to_owned(),
        // Go tells a number where it expects one of another kind.
        Value::Number(number) if expected == "int64" => format!("number {number}"),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) | Value::Null => "object".to_owned(),
    };
    Status::bad_request(format!(
        "json: cannot unmarshal {found} into Go struct field {field} of type {expected}"
    ))
}
