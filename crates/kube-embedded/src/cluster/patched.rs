//! The form of an object that admission has patched.

use serde_json::Value;

use crate::resource::{Resource, api_version};
use crate::strategy;

/// Converts a patched object to the form in which it is stored. Returns the removed fields in quotes.
///
/// # Errors
/// Fails if it is not an object of the resource or subresource any more.
pub(super) fn normalize(
    resource: &Resource,
    subresource: &str,
    object: &mut Value,
) -> Result<Vec<String>, String> {
    let (group, version, kind) = resource.kind_of(subresource);
    let api_version = api_version(group, version);
    if object["apiVersion"] != api_version.as_str() || object["kind"] != kind {
        let (other_version, other) = (&object["apiVersion"], &object["kind"]);
        return Err(format!("the patch made a {other} of {other_version} of a {kind} of {api_version}"));
    }
    if (group, version, kind) == resource.kind_of("") {
        return strategy::normalize(resource, object).map_err(|error| error.to_string());
    }
    match kube_builtin::decode(&api_version, kind, object) {
        Some(decoded) => {
            let decoded = decoded.map_err(|error| error.to_string())?;
            *object = decoded.object;
            Ok(decoded.unknown.iter().map(kube_validation::go::quote).collect())
        }
        None => Err(format!("there is no {kind}")),
    }
}
