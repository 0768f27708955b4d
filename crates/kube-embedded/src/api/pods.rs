//! `pods/binding`, `bindings` and `pods/eviction`: what a scheduler and `kubectl drain` do to a Pod.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::delete::delete_object;
use super::delete_options::DeleteOptions;
use super::{Api, Request, body, render};
use crate::lifecycle::{self, PODS, is_deleted};
use crate::registry::{Registry, Resource};
use crate::selector::LabelSelector;
use crate::status::{Cause, Status};
use crate::store::Range;
use crate::strategy;

const BUDGETS: &str = "policy/poddisruptionbudgets";
/// Evictions of a budget that nobody has confirmed, at most.
const MAX_DISRUPTED: usize = 2000;

/// POST of a `Binding`: the Pod's node is chosen, once.
pub(super) fn bind(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("CreateOptions")?;
    let binding = body::subresource(request, "v1", "Binding")?;
    let name = named(request, &binding, "Binding")?;
    let target = &binding["target"];
    let kind = target["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        return Err(Status::unexpected(format!(
            "target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""
        )));
    }
    let Some(node) = target["name"].as_str().filter(|node| !node.is_empty()) else {
        return Err(Status::unexpected("target.name: Required value"));
    };
    let conflict = |why: String| Status::conflict_on("pods/binding", &name, &why);
    write_pod(api, &request.path.namespace, &name, options.dry_run, |pod| {
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
        set_condition(pod, json!({"type": "PodScheduled", "status": "True"}), &api.clock.seconds());
        Ok(())
    })?;
    Ok(success(request))
}

/// POST of an `Eviction`: the Pod is deleted, unless a PodDisruptionBudget does not allow it.
pub(super) fn evict(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let dry_run = request.query.write_options("CreateOptions")?.dry_run;
    let eviction = body::subresource(request, "policy/v1", "Eviction")?;
    let name = named(request, &eviction, "Eviction")?;
    let namespace = &request.path.namespace;
    let mut options = DeleteOptions::read(&eviction["deleteOptions"])?;
    options.dry_run |= dry_run;
    let Some(pods) = api.registry(|registry: &Registry| registry.by_collection(PODS).cloned()) else {
        return Err(Status::no_such_path());
    };
    let key = pods.key(namespace, &name);
    let stored = api.store.get(PODS, &key).ok_or_else(|| Status::not_found("", "pods", &name))?;
    let pod = stored.value();
    options.check(&pods, &name, &pod)?;
    // One that runs nothing is no disruption.
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if !matches!(phase, "Succeeded" | "Failed" | "Pending") && !is_deleted(&pod) {
        use_budget(api, namespace, &name, &pod, options.dry_run)?;
    }
    if !options.dry_run {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True",
            "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        });
        write_pod(api, namespace, &name, false, |pod| {
            options.check(&pods, &name, pod)?;
            set_condition(pod, condition.clone(), &api.clock.seconds());
            Ok(())
        })?;
        // It was for the state before the condition.
        options.resource_version = None;
    }
    delete_object(api, &pods, namespace, &name, &options)?;
    Ok(success(request))
}

/// The name of the object that a body is for.
fn named(request: &Request<'_>, object: &Value, kind: &str) -> Result<String, Status> {
    let given = object["metadata"]["name"].as_str().unwrap_or_default();
    if !request.path.name.is_empty() && given != request.path.name {
        return Err(Status::bad_request(format!("name in URL does not match name in {kind} object")));
    }
    Ok(given.to_owned())
}

/// Changes a Pod, again if others change it meanwhile.
fn write_pod(
    api: &Api,
    namespace: &str,
    name: &str,
    dry_run: bool,
    change: impl Fn(&mut Value) -> Result<(), Status>,
) -> Result<(), Status> {
    let Some(pods) = api.registry(|registry: &Registry| registry.by_collection(PODS).cloned()) else {
        return Err(Status::no_such_path());
    };
    let key = pods.key(namespace, name);
    loop {
        let stored = api.store.get(PODS, &key).ok_or_else(|| Status::not_found("", "pods", name))?;
        let mut pod = stored.value();
        change(&mut pod)?;
        if dry_run || write(api, &pods, &key, stored.revision, namespace, name, &pod) {
            return Ok(());
        }
    }
}

/// Stores the next state of an object; false if it has changed in between.
fn write(
    api: &Api,
    resource: &Arc<Resource>,
    key: &str,
    seen: u64,
    namespace: &str,
    name: &str,
    object: &Value,
) -> bool {
    let written = api.store.update(&resource.collection, key, seen, object.clone()).is_ok();
    if written {
        lifecycle::written(api, resource, namespace, name, object);
    }
    written
}

/// Counts one disruption more on the budget of a Pod, if it has one, or refuses it.
///
/// `checkAndDecrement` of kubernetes' `pkg/registry/core/pod/storage/eviction.go`.
fn use_budget(api: &Api, namespace: &str, name: &str, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let Some(budgets) = api.registry(|registry: &Registry| registry.by_collection(BUDGETS).cloned()) else {
        return Ok(());
    };
    loop {
        let prefix = format!("{namespace}/");
        let range = Range { prefix: &prefix, ..Range::default() };
        let page = api.store.list(BUDGETS, range, None).unwrap_or_default();
        let labels = pod["metadata"]["labels"].as_object();
        let mut matching = page.objects.iter().filter(|budget| selects(&budget.value(), labels));
        let Some(stored) = matching.next() else { return Ok(()) };
        if matching.next().is_some() {
            return Err(Status::unexpected(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let mut budget = stored.value();
        let of = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
        let unhealthy = !has_condition(pod, "Ready", "True");
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        let healthy = of("currentHealthy") >= of("desiredHealthy") && of("desiredHealthy") > 0;
        if unhealthy && (always || healthy) {
            return Ok(());
        }
        check_budget(&budget)?;
        if dry_run {
            return Ok(());
        }
        let left = of("disruptionsAllowed") - 1;
        let now = api.clock.seconds();
        let generation = budget["metadata"]["generation"].clone();
        budget["status"]["disruptionsAllowed"] = left.into();
        if left == 0 {
            let condition = json!({
                "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
                "observedGeneration": generation,
            });
            set_condition(&mut budget, condition, &now);
        }
        budget["status"]["disruptedPods"][name] = now.into();
        let budget_name = stored.key[prefix.len()..].to_owned();
        if write(api, &budgets, &stored.key, stored.revision, namespace, &budget_name, &budget) {
            return Ok(());
        }
    }
}

/// Refuses a disruption that a budget does not allow now.
fn check_budget(budget: &Value) -> Result<(), Status> {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    let status = &budget["status"];
    let of = |field: &str| status[field].as_i64().unwrap_or(0);
    let cause = |message: String| {
        vec![Cause { reason: "DisruptionBudget".to_owned(), message, field: String::new() }]
    };
    let refused = |retry_after: Option<u32>, message: String| {
        Status::too_many_disruptions().because(cause(message)).retry_after(retry_after)
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
        return Err(Status::forbidden("policy", "poddisruptionbudget", name, why).because(cause(message)));
    }
    if of("disruptionsAllowed") > 0 {
        return Ok(());
    }
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let told = conditions.iter().find(|it| it["type"] == "DisruptionAllowed" && it["status"] == "False");
    let text = |field: &str| told.and_then(|it| it[field].as_str()).unwrap_or_default();
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

/// Whether a budget is for Pods with these labels; one without a selector is for none.
fn selects(budget: &Value, labels: Option<&Map<String, Value>>) -> bool {
    let selector = &budget["spec"]["selector"];
    selector.is_object()
        && LabelSelector::from_object(selector).is_some_and(|selector| selector.matches(labels))
}

fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|it| it["type"] == kind && it["status"] == status)
}

/// Puts a condition in the place of the one of its type.
fn set_condition(object: &mut Value, mut condition: Value, now: &str) {
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let old = conditions.iter_mut().find(|it| it["type"] == condition["type"]);
    condition["lastTransitionTime"] = match &old {
        Some(old) if old["status"] == condition["status"] => old["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    match old {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

fn merge(metadata: &mut Map<String, Value>, field: &str, given: &Map<String, Value>) {
    let values = metadata.entry(field).or_insert_with(|| json!({}));
    if let Some(values) = values.as_object_mut() {
        values.extend(given.clone());
    }
}

fn success(request: &Request<'_>) -> Response {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    render::value_response(StatusCode::CREATED, request.accept.encoding, &status)
}
