//! The validation of built-in kinds: `pkg/apis/*/validation`, with its order and messages.
//!
//! Objects have already been decoded and defaulted. The errors of `metadata`, which come first, are not included. Where the
//! real messages show a Go struct, these show the object's JSON.

mod admission;
mod aggregation;
mod autoscaling;
mod cel;
mod certificates;
mod conditions;
mod core;
mod cron;
mod csi;
mod devices;
mod discovery;
mod errors;
mod events;
mod field_refs;
mod flow;
mod job_status;
mod networking;
mod nodes;
mod placement;
mod pod;
mod pod_resources;
mod pod_status;
mod policy;
mod quantities;
mod rbac;
mod scheduling;
mod security;
mod service_addresses;
mod slices;
mod status;
mod storage;
mod time_zone;
mod volume_sources;
mod volumes;
mod windows;
mod workload;

use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use self::cel::Cel;
pub use self::cel::{Compile, Expression, Purpose};
use self::errors::{Errors, items};

/// Returns the errors of a new object, except those of its metadata. Its CEL expressions are not compiled.
pub fn create(group: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    create_with(group, kind, object, &mut |_| Ok(()))
}

/// Like [`create`]. `compile` compiles the CEL expressions of admission webhooks, policies, and claims for devices.
pub fn create_with(group: &str, kind: &str, object: &Value, compile: &mut Compile<'_>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    finalizers(group, object, &mut errors);
    match group {
        "resource.k8s.io" if kind == "ResourceSlice" => slices::check(object, &Value::Null, &mut errors),
        "admissionregistration.k8s.io" => {
            admission::check(kind, object, &mut Cel::new(compile, &Value::Null), &mut errors);
        }
        "resource.k8s.io" => {
            devices::check(kind, object, &Value::Null, &mut Cel::new(compile, &Value::Null), &mut errors);
        }
        _ => whole(group, kind, object, &mut errors),
    }
    errors.distinct()
}

/// Returns the errors of an object that replaces `old`, except those of its metadata. Its CEL expressions are not compiled.
pub fn update(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    update_with(group, kind, new, old, &mut |_| Ok(()))
}

/// Like [`update`]. `compile` compiles the CEL expressions of admission webhooks, policies, and claims for devices.
pub fn update_with(
    group: &str,
    kind: &str,
    new: &Value,
    old: &Value,
    compile: &mut Compile<'_>,
) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let e = &mut errors;
    finalizers(group, new, e);
    match (group, kind) {
        ("", "Pod") => pod::update(new, old, e),
        ("apps" | "batch", _) => workload::update(kind, new, old, e),
        ("", "Node") => nodes::update(new, old, e),
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
        ("", "PersistentVolume") => volumes::update(new, old, e),
        ("admissionregistration.k8s.io", _) => admission::check(kind, new, &mut Cel::new(compile, old), e),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::check(new, old, e),
        ("discovery.k8s.io", "EndpointSlice") => discovery::slice(new, old, e),
        ("networking.k8s.io", "IPAddress") => service_addresses::update_address(new, old, e),
        ("networking.k8s.io", "ServiceCIDR") => service_addresses::update_networks(new, old, e),
        ("networking.k8s.io", _) => networking::update(kind, new, old, e),
        ("node.k8s.io", "RuntimeClass") => nodes::update_runtime_class(new, old, e),
        ("rbac.authorization.k8s.io", _) => {
            whole(group, kind, new, e);
            rbac::update(new, old, e);
        }
        ("resource.k8s.io", "ResourceSlice") => slices::check(new, old, e),
        ("resource.k8s.io", _) => devices::check(kind, new, old, &mut Cel::new(compile, old), e),
        ("scheduling.k8s.io", "PriorityClass") => scheduling::update(new, old, e),
        ("storage.k8s.io", _) => csi::update(kind, new, old, e),
        _ => whole(group, kind, new, e),
    }
    errors.distinct()
}

/// Returns the errors of an object whose status replaces that of `old`.
pub fn update_status(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    finalizers(group, new, &mut errors);
    match (group, kind) {
        ("apiregistration.k8s.io", _) => aggregation::status(new, &mut errors),
        ("apps" | "autoscaling" | "policy", _) | ("", "ReplicationController") => {
            status::update(kind, new, old, &mut errors);
        }
        ("", "Namespace") => core::namespace_status(new, &mut errors),
        ("", "Node") => nodes::status(new, &mut errors),
        ("", "PersistentVolumeClaim") => storage::claim_status(new, &mut errors),
        ("", "Pod") => pod_status::update(new, old, &mut errors),
        ("", "ResourceQuota") => quantities::quota_status(new, &mut errors),
        ("", "Service") => core::service_status(new, old, &mut errors),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            conditions::check(&new["status"], &FieldPath::Root("status"), &mut errors);
        }
        ("batch", "Job") => job_status::update(new, old, &mut errors),
        ("flowcontrol.apiserver.k8s.io", _) => flow::status(new, &mut errors),
        ("resource.k8s.io", "ResourceClaim") => devices::claim_status(new, old, &mut errors),
        ("networking.k8s.io", "Ingress") => networking::status(new, &mut errors),
        ("storage.k8s.io", _) => csi::status(kind, new, &mut errors),
        _ => {}
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
        ("", "PersistentVolume") => volumes::create(object, errors),
        ("", "PersistentVolumeClaim") => storage::claim(object, errors),
        ("", "Node") => nodes::create(object, errors),
        ("", "PodTemplate" | "ReplicationController") => workload::create(kind, object, errors),
        ("", "Endpoints") => discovery::endpoints(object, NEW, errors),
        ("", "ResourceQuota") => quantities::quota(object, errors),
        ("", "LimitRange") => quantities::limit_range(object, errors),
        ("" | "events.k8s.io", "Event") => events::create(group, object, errors),
        ("apiregistration.k8s.io", "APIService") => aggregation::check(object, errors),
        ("apps" | "batch", _) => workload::create(kind, object, errors),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::check(object, NEW, errors),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::create(object, errors),
        ("coordination.k8s.io", "Lease") => core::lease(object, errors),
        ("discovery.k8s.io", "EndpointSlice") => discovery::slice(object, NEW, errors),
        ("flowcontrol.apiserver.k8s.io", _) => flow::check(kind, object, errors),
        ("networking.k8s.io", "IPAddress") => service_addresses::address(object, errors),
        ("networking.k8s.io", "ServiceCIDR") => service_addresses::networks(object, errors),
        ("networking.k8s.io", _) => networking::create(kind, object, errors),
        ("node.k8s.io", "RuntimeClass") => nodes::runtime_class(object, errors),
        ("policy", "PodDisruptionBudget") => policy::check(object, errors),
        ("rbac.authorization.k8s.io", _) => rbac::create(kind, object, errors),
        ("scheduling.k8s.io", "PriorityClass") => scheduling::create(object, errors),
        ("storage.k8s.io", _) => csi::create(kind, object, errors),
        _ => {}
    }
}

/// Checks that finalizers are fully qualified, or among those of kube-apiserver.
fn finalizers(group: &str, object: &Value, errors: &mut Errors) {
    // The packages of other servers, which have these kinds, take any qualified name.
    if matches!(group, "apiextensions.k8s.io" | "apiregistration.k8s.io") {
        return;
    }
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

    use super::errors::members;
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

    /// Returns the errors of an object that has been decoded and defaulted, as a server does first.
    fn errors(api_version: &str, kind: &str, object: &Value) -> Vec<String> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut object = crate::decode(api_version, kind, object).unwrap().unwrap().object;
        crate::apply_defaults(group, kind, &mut object);
        create(group, kind, &object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn many_parts_are_compared_quickly() {
        let many = |part: &dyn Fn(usize) -> Value| (0..20_000).map(part).collect::<Vec<_>>();
        let container = json!({
            "name": "a", "image": "b",
            "volumeMounts": many(&|n| json!({"name": "v", "mountPath": format!("/m{n}")})),
            "volumeDevices": many(&|n| json!({"name": format!("d{n}"), "devicePath": format!("/d{n}")})),
            "resources": {"claims": many(&|n| json!({"name": format!("c{n}")}))},
        });
        let pod = json!({"spec": {
            "containers": [container], "volumes": [{"name": "v", "emptyDir": {}}],
            "resourceClaims": many(&|n| json!({"name": format!("known-{n}"), "resourceClaimName": "a"})),
            "topologySpreadConstraints": many(&|n| json!({
                "maxSkew": 1, "topologyKey": format!("k{n}"), "whenUnsatisfiable": "DoNotSchedule",
            })),
        }});
        let start = std::time::Instant::now();
        let errors = errors("v1", "Pod", &pod);
        // There are more than 20,000, and some name all claims.
        assert!((10..20_000).contains(&errors.len()), "{}", errors.len());
        assert!(errors.iter().map(String::len).sum::<usize>() < 3_000_000);
        // Comparing all pairs would take minutes.
        assert!(start.elapsed().as_secs() < 20);
    }

    #[test]
    fn a_webhook_needs_a_client_versions_and_no_side_effects() {
        let hook = json!({"name": "a.example", "clientConfig": {"url": "http://a"}, "timeoutSeconds": 31});
        assert_eq!(
            errors(
                "admissionregistration.k8s.io/v1",
                "ValidatingWebhookConfiguration",
                &json!({"webhooks": [hook]})
            ),
            [
                r#"webhooks[0].name: Invalid value: "a.example": should be a domain with at least three segments separated by dots"#,
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                r#"webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]"#,
                "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ]
        );
    }

    #[test]
    fn rules_that_are_declared_come_last() {
        let slice = json!({"endpoints": [{"hostname": "A"}]});
        assert_eq!(
            errors("discovery.k8s.io/v1", "EndpointSlice", &slice)[1..],
            ["addressType: Required value", "endpoints[0].addresses: Required value"]
        );
        let autoscaler = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a"}}});
        assert_eq!(
            errors("autoscaling/v2", "HorizontalPodAutoscaler", &autoscaler)[1..],
            [
                r#"spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group"#,
                "spec.maxReplicas: Required value"
            ]
        );
    }

    #[test]
    fn equal_errors_are_reported_once() {
        let quota = json!({"spec": {"hard": {"cpu": "1", "secrets": "1"}, "scopes": ["BestEffort"]}});
        assert_eq!(
            errors("v1", "ResourceQuota", &quota),
            [r#"spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource"#]
        );
    }

    #[test]
    fn an_event_is_in_the_namespace_of_its_object() {
        let event = |namespace: &str| json!({"metadata": {"namespace": "a"}, "involvedObject": {"kind": "Pod", "namespace": namespace}});
        assert_eq!(errors("v1", "Event", &event("a")), [""; 0]);
        assert_eq!(
            errors("v1", "Event", &event("b")),
            [r#"involvedObject.namespace: Invalid value: "b": does not match event.namespace"#]
        );
    }

    #[test]
    fn a_claim_changes_only_its_volume_and_class_and_its_size_once_it_is_bound() {
        let claim = |spec: Value, phase: &str| {
            let mut claim = json!({
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                "status": {"phase": phase},
            });
            for (field, value) in members(&spec) {
                claim["spec"][field] = value.clone();
            }
            claim
        };
        let is_allowed = |spec: Value, phase: &str| {
            update("", "PersistentVolumeClaim", &claim(spec, phase), &claim(json!({}), phase)).is_empty()
        };
        let size = |size: &str| json!({"resources": {"requests": {"storage": size}}});
        assert!(is_allowed(json!({"volumeName": "a"}), "Pending"));
        assert!(is_allowed(json!({"storageClassName": "a"}), "Pending"));
        assert!(is_allowed(size("1024Mi"), "Pending"));
        assert!(is_allowed(size("2Gi"), "Bound"));
        assert!(!is_allowed(size("2Gi"), "Pending"));
        assert!(!is_allowed(json!({"accessModes": ["ReadOnlyMany"]}), "Bound"));
    }

    #[test]
    fn a_storage_class_keeps_its_parameters() {
        let class = |parameter: &str| json!({"provisioner": "a", "parameters": {"p": parameter}, "volumeBindingMode": "Immediate"});
        let texts: Vec<String> = update("storage.k8s.io", "StorageClass", &class("b"), &class("a"))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["parameters: Invalid value: null: field is immutable"]);
    }
}
