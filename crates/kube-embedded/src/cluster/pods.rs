//! Operations of schedulers and `kubectl drain` on a Pod: `pods/binding` and `pods/eviction`.

use kube_selectors::LabelSelector;
use serde_json::{Map, Value, json};

use super::deletion::DeleteOptions;
use super::state::Cluster;
use super::target::Target;
use crate::resource::{POD_DISRUPTION_BUDGETS, PODS};
use crate::status::{Cause, Status};
use crate::strategy::{self, conditions, is_deleted};

/// How many evictions of a budget may be unconfirmed at most.
const MAX_DISRUPTED: usize = 2000;

impl Cluster {
    /// Binds a Pod to a node, which is possible once. `target` and `metadata` are those of a `Binding`.
    pub(crate) fn bind(
        &self,
        namespace: &str,
        name: &str,
        binding: &Value,
        dry_run: bool,
    ) -> Result<(), Status> {
        let target = &binding["target"];
        let kind = target["kind"].as_str().unwrap_or_default();
        if !matches!(kind, "" | "Node") {
            return Err(Status::internal(format!(
                "target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""
            )));
        }
        let Some(node) = target["name"].as_str().filter(|node| !node.is_empty()) else {
            return Err(Status::internal("target.name: Required value"));
        };
        let conflict = |why: String| Status::conflict_on("pods/binding", name, &why);
        self.modify_pod(namespace, name, dry_run, |pod| {
            if is_deleted(pod) {
                return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
            }
            if let Some(other) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
                return Err(conflict(format!("pod {name} is already assigned to node {other:?}")));
            }
            if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
                return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
            }
            pod["spec"]["nodeName"] = node.into();
            for field in ["annotations", "labels"] {
                if let Some(given) = binding["metadata"][field].as_object() {
                    merge(strategy::metadata(pod), field, given);
                }
            }
            conditions::set(
                pod,
                json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null}),
                &self.clock.seconds(),
            );
            Ok(())
        })
    }

    /// Deletes a Pod, unless a PodDisruptionBudget forbids it.
    pub(crate) async fn evict(
        &self,
        namespace: &str,
        name: &str,
        mut options: DeleteOptions,
    ) -> Result<(), Status> {
        let Some(pods) = self.scheme().by_collection(PODS.collection()).cloned() else {
            return Err(Status::no_such_path());
        };
        let pod = self.object(&pods, namespace, name)?.value();
        options.check(&pods, name, &pod)?;
        // Ending a Pod that runs nothing disrupts nothing.
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if !matches!(phase, "Succeeded" | "Failed" | "Pending") && !is_deleted(&pod) {
            self.use_budget(namespace, name, &pod, options.dry_run)?;
        }
        if !options.dry_run {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
                "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
            });
            self.modify_pod(namespace, name, false, |pod| {
                options.check(&pods, name, pod)?;
                conditions::set(pod, condition.clone(), &self.clock.seconds());
                Ok(())
            })?;
            // It was the version before the condition was set.
            options.resource_version = None;
        }
        self.delete(Target { resource: &pods, namespace, name }, &options, None).await?;
        Ok(())
    }

    fn modify_pod(
        &self,
        namespace: &str,
        name: &str,
        dry_run: bool,
        change: impl Fn(&mut Value) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let Some(pods) = self.scheme().by_collection(PODS.collection()).cloned() else {
            return Err(Status::no_such_path());
        };
        if dry_run {
            return change(&mut self.object(&pods, namespace, name)?.value());
        }
        self.modify(Target { resource: &pods, namespace, name }, change)
    }

    /// Counts one more disruption against the budget of a Pod, if it has one, or refuses it.
    ///
    /// `checkAndDecrement` of kubernetes' `pkg/registry/core/pod/storage/eviction.go`.
    fn use_budget(&self, namespace: &str, name: &str, pod: &Value, dry_run: bool) -> Result<(), Status> {
        let Some(budgets) = self.scheme().by_collection(POD_DISRUPTION_BUDGETS.collection()).cloned() else {
            return Ok(());
        };
        let prefix = format!("{namespace}/");
        let page = self.store.all(&budgets.collection, &prefix);
        let labels = pod["metadata"]["labels"].as_object();
        let mut matching = page.iter().filter(|budget| selects(&budget.value(), labels));
        let Some(stored) = matching.next() else { return Ok(()) };
        if matching.next().is_some() {
            return Err(Status::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let disrupt = |budget: &mut Value| {
            let of = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
            let unhealthy = !conditions::is(pod, "Ready", "True");
            let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
            let healthy = of("currentHealthy") >= of("desiredHealthy") && of("desiredHealthy") > 0;
            if unhealthy && (always || healthy) {
                return Ok(());
            }
            check_budget(budget)?;
            let left = of("disruptionsAllowed") - 1;
            let now = self.clock.seconds();
            let generation = budget["metadata"]["generation"].clone();
            budget["status"]["disruptionsAllowed"] = left.into();
            if left == 0 {
                let condition = json!({
                    "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
                    "observedGeneration": generation,
                });
                conditions::set(budget, condition, &now);
            }
            budget["status"]["disruptedPods"][name] = now.into();
            Ok(())
        };
        if dry_run {
            return disrupt(&mut stored.value());
        }
        self.modify(Target::of(&budgets, stored), disrupt)
    }
}

/// Refuses a disruption that a budget does not currently allow.
fn check_budget(budget: &Value) -> Result<(), Status> {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    let status = &budget["status"];
    let of = |field: &str| status[field].as_i64().unwrap_or(0);
    let cause = |message: String| {
        vec![Cause { reason: "DisruptionBudget".to_owned(), message, field: String::new() }]
    };
    let refused = |retry_after: Option<u32>, message: String| {
        Status::too_many_disruptions().with_causes(cause(message)).retry_after(retry_after)
    };
    if of("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let message = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(Some(10), message));
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > MAX_DISRUPTED) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        let message = format!(
            "The disruption budget {name} does not allow evicting pods currently: too many pending evictions not confirmed by \
             PDB controller"
        );
        return Err(Status::forbidden("policy", "poddisruptionbudget", name, why).with_causes(cause(message)));
    }
    if of("disruptionsAllowed") > 0 {
        return Ok(());
    }
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let condition = conditions.iter().find(|it| it["type"] == "DisruptionAllowed" && it["status"] == "False");
    let text = |field: &str| condition.and_then(|it| it[field].as_str()).unwrap_or_default();
    let (reason, message) = (text("reason"), text("message"));
    let (current, desired) = (of("currentHealthy"), of("desiredHealthy"));
    Err(refused(
        None,
        if reason == "SyncFailed" && !message.is_empty() {
            format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
            )
        } else if current <= desired {
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
        } else if message.is_empty() {
            format!("The disruption budget {name} does not allow evicting pods currently")
        } else {
            format!(
                "The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"
            )
        },
    ))
}

/// Whether a budget selects Pods with these labels. A budget without a selector selects none.
fn selects(budget: &Value, labels: Option<&Map<String, Value>>) -> bool {
    let selector = &budget["spec"]["selector"];
    selector.is_object()
        && LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches(&labels))
}

fn merge(metadata: &mut Map<String, Value>, field: &str, given: &Map<String, Value>) {
    let values = metadata.entry(field).or_insert_with(|| json!({}));
    if let Some(values) = values.as_object_mut() {
        values.extend(given.clone());
    }
}
