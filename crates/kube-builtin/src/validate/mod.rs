//! The validation of the built-in kinds that programs write most: `pkg/apis/*/validation`, with its order and messages.
//!
//! Objects have already been decoded and defaulted. The errors of `metadata`, which come first, are not included. Where the
//! real messages show a Go struct, these show the object's JSON.

mod addresses;
mod admission;
mod autoscaling;
mod certificates;
mod core;
mod cron;
mod discovery;
mod errors;
mod events;
mod networking;
mod pod;
mod policy;
mod quantities;
mod rbac;
mod scheduling;
mod status;
mod storage;
mod time_zone;
mod workload;

use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use self::errors::{Errors, items};

/// Returns the errors of a new object, except those of its metadata.
pub fn create(group: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    // The packages of other servers, which have these kinds, take any qualified name.
    if !matches!(group, "apiextensions.k8s.io" | "apiregistration.k8s.io") {
        finalizers(object, &mut errors);
    }
    whole(group, kind, object, &mut errors);
    errors.distinct()
}

/// Returns the errors of an object that replaces `old`, except those of its metadata.
pub fn update(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let e = &mut errors;
    match (group, kind) {
        ("", "Pod") => pod::update(new, old, e),
        ("apps" | "batch", _) => workload::update(kind, new, old, e),
        ("", "ConfigMap" | "Secret") => {
            core::update_data(kind, new, old, e);
            whole(group, kind, new, e);
        }
        ("", "Service") => {
            core::update_service(new, old, e);
            whole(group, kind, new, e);
        }
        ("", "PersistentVolumeClaim") => storage::update_claim(new, old, e),
        ("", "Endpoints") => discovery::endpoints(new, old, e),
        ("", "ResourceQuota") => {
            whole(group, kind, new, e);
            quantities::update_quota(new, old, e);
        }
        ("" | "events.k8s.io", "Event") => events::update(group, new, old, e),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::check(new, old, e),
        ("discovery.k8s.io", "EndpointSlice") => discovery::slice(new, old, e),
        ("networking.k8s.io", _) => networking::update(kind, new, old, e),
        ("rbac.authorization.k8s.io", _) => {
            whole(group, kind, new, e);
            rbac::update(new, old, e);
        }
        ("scheduling.k8s.io", "PriorityClass") => scheduling::update(new, old, e),
        ("storage.k8s.io", "StorageClass") => storage::update_class(new, old, e),
        _ => whole(group, kind, new, e),
    }
    errors.distinct()
}

/// Returns the errors of an object whose status replaces that of `old`.
pub fn update_status(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    if group == "apps" {
        status::update(kind, new, old, &mut errors);
    }
    errors.distinct()
}

fn whole(group: &str, kind: &str, object: &Value, errors: &mut Errors) {
    const NEW: &Value = &Value::Null;
    match (group, kind) {
        ("", "ConfigMap") => core::config_map(object, errors),
        ("", "Secret") => core::secret(object, errors),
        ("", "Service") => core::service(object, errors),
        ("", "Namespace") => core::namespace(object, errors),
        ("", "Pod") => pod::create(object, errors),
        ("", "PersistentVolumeClaim") => storage::claim(object, errors),
        ("", "Endpoints") => discovery::endpoints(object, NEW, errors),
        ("", "ResourceQuota") => quantities::quota(object, errors),
        ("", "LimitRange") => quantities::limit_range(object, errors),
        ("" | "events.k8s.io", "Event") => events::create(group, object, errors),
        ("admissionregistration.k8s.io", _) => admission::check(kind, object, errors),
        ("apps" | "batch", _) => workload::create(kind, object, errors),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::check(object, NEW, errors),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::create(object, errors),
        ("coordination.k8s.io", "Lease") => core::lease(object, errors),
        ("discovery.k8s.io", "EndpointSlice") => discovery::slice(object, NEW, errors),
        ("networking.k8s.io", _) => networking::create(kind, object, errors),
        ("policy", "PodDisruptionBudget") => policy::check(object, errors),
        ("rbac.authorization.k8s.io", _) => rbac::create(kind, object, errors),
        ("scheduling.k8s.io", "PriorityClass") => scheduling::create(object, errors),
        ("storage.k8s.io", "StorageClass") => storage::class(object, errors),
        _ => {}
    }
}

/// Checks that finalizers are fully qualified, or among those of kube-apiserver.
fn finalizers(object: &Value, errors: &mut Errors) {
    let list = FieldPath::Root("metadata.finalizers");
    for (index, finalizer) in items(&object["metadata"]["finalizers"]).iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        if !name.contains('/') && !["foregroundDeletion", "kubernetes", "orphan"].contains(&name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(list.index(index), finalizer, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finalizers_of_core_kinds_have_paths() {
        let object = json!({"metadata": {"finalizers": ["x", "a.b/c", "orphan"]}});
        let texts = |group, kind| -> Vec<String> {
            create(group, kind, &object).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            texts("", "Endpoints"),
            [
                "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully \
              qualified"
            ]
        );
        assert_eq!(texts("apiextensions.k8s.io", "CustomResourceDefinition"), [""; 0]);
    }
}
