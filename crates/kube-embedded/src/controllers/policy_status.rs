//! The status of ValidatingAdmissionPolicies: whether their expressions fit the types that they are about.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::cluster::{Cluster, RequestOptions, Write, WriteMethod};
use crate::resource::VALIDATING_ADMISSION_POLICIES;
use crate::user::User;
use crate::warnings::Warnings;

/// The field manager of kube-controller-manager's controller.
const MANAGER: &str = "validatingadmissionpolicy-status";
const PATIENCE: Duration = Duration::from_secs(30);

/// Checks the types of a policy, if that was not done since its last change.
pub(super) async fn check(cluster: &Cluster, name: &str) {
    let scheme = cluster.scheme();
    let collection = VALIDATING_ADMISSION_POLICIES.collection();
    let Some(resource) = scheme.by_collection(collection) else { return };
    let Some(policy) = cluster.store.get(collection, name) else { return };
    let policy = policy.value();
    let generation = policy["metadata"]["generation"].as_i64().unwrap_or_default();
    if generation <= policy["status"]["observedGeneration"].as_i64().unwrap_or_default() {
        return;
    }
    let mut applied = json!({
        "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {"name": name},
        "status": {"observedGeneration": generation, "typeChecking": {}},
    });
    let warnings = cluster.type_warnings(&policy["spec"]);
    if !warnings.is_empty() {
        applied["status"]["typeChecking"]["expressionWarnings"] = warnings.into();
    }
    let write = Write {
        user: &User::service_account("kube-system", "validatingadmissionpolicy-status-controller"),
        method: WriteMethod::Apply,
        resource,
        namespace: "",
        name,
        subresource: "status",
        manager: MANAGER,
        options: RequestOptions::Write { manager: MANAGER, validation: "" },
        dry_run: false,
        deadline: Instant::now() + PATIENCE,
        warnings: &Warnings::default(),
    };
    // A policy that no longer exists needs no status, and one that has changed is looked at again.
    let _ = cluster.apply(&write, &applied, true).await;
}
