//! Pods, including those of Jobs.

use kube_validation::{FieldError, Quantity};
use serde_json::{Map, Value, json};

/// How long the value of a label may be, in bytes.
const LABEL_VALUE_MAX: usize = 63;

/// Lets a pod stay on a lost node for five minutes, unless it has its own tolerations for this.
pub(crate) fn tolerate(spec: &mut Value) {
    if spec["tolerations"].is_null() {
        spec["tolerations"] = json!([]);
    }
    let Some(tolerations) = spec["tolerations"].as_array_mut() else { return };
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_tolerated = |it: &Value| {
            (it["key"] == taint || it["key"].is_null())
                && (it["effect"] == "NoExecute" || it["effect"].is_null())
        };
        if !tolerations.iter().any(is_tolerated) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
}

/// Adds to the selectors of a Pod what it says about the values of its own labels.
fn select_by_own_labels(pod: &mut Value) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let labels = pod["metadata"]["labels"].clone();
    let spec = &mut pod["spec"];
    for kind in ["podAffinity", "podAntiAffinity"] {
        let preferred = format!("/affinity/{kind}/{PREFERRED}");
        for term in spec.pointer_mut(&preferred).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(term) = term.get_mut("podAffinityTerm") {
                select(term, &labels);
            }
        }
        let required = format!("/affinity/{kind}/{REQUIRED}");
        for term in spec.pointer_mut(&required).and_then(Value::as_array_mut).into_iter().flatten() {
            select(term, &labels);
        }
    }
    let constraints = spec.pointer_mut("/topologySpreadConstraints").and_then(Value::as_array_mut);
    for constraint in constraints.into_iter().flatten() {
        select(constraint, &labels);
    }
}

fn select(term: &mut Value, labels: &Value) {
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = term[field].as_array().cloned().unwrap_or_default();
        let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
        for key in keys {
            // A longer value is refused, and would be there once for each key.
            let value = &labels[key.as_str().unwrap_or_default()];
            if value.as_str().is_none_or(|value| value.len() > LABEL_VALUE_MAX) {
                continue;
            }
            let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
            if let Some(expressions) = expressions.as_array_mut() {
                expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
}

/// Sets the initial status of a pod.
pub(super) fn prepare_create(pod: &mut Value) {
    select_by_own_labels(pod);
    kube_builtin::apply_whole_pod_defaults(pod);
    let class = computed_qos_class(&pod["spec"]);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastProbeTime": null,
            "lastTransitionTime": pod["metadata"]["creationTimestamp"],
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
}

/// The QoS class that a pod has: `GetPodQOS`.
pub(crate) fn qos_class(pod: &Value) -> &str {
    let given = pod["status"]["qosClass"].as_str().filter(|class| !class.is_empty());
    given.unwrap_or_else(|| computed_qos_class(&pod["spec"]))
}

/// Keeps what the API server itself has written into the status of a Pod, and what clients that do not know it leave out.
pub(super) fn keep_status(pod: &mut Value, old: &Value) {
    const KEPT: [&str; 4] = [
        "qosClass",
        "resourceClaimStatuses",
        "extendedResourceClaimStatus",
        "nodeAllocatableResourceClaimStatuses",
    ];
    for field in KEPT {
        let is_absent = pod["status"][field].is_null() || pod["status"][field] == "";
        if is_absent && !old["status"][field].is_null() {
            pod["status"][field] = old["status"][field].clone();
        }
    }
}

/// Whether resources of a whole Pod are of a kind that it can have.
fn is_about_quality(resources: &Value) -> bool {
    ["requests", "limits"]
        .iter()
        .filter_map(|kind| resources[*kind].as_object())
        .any(|amounts| amounts.keys().any(|name| kube_builtin::is_resource_of_pods(name)))
}

/// The QoS class that a pod gets: `ComputePodQOS`.
pub(super) fn computed_qos_class(spec: &Value) -> &'static str {
    let of_each =
        ["initContainers", "containers"].into_iter().filter_map(|list| spec[list].as_array()).flatten();
    let mut class = None;
    // Those of the whole Pod count alone.
    let all: Vec<_> = match &spec["resources"] {
        whole if is_about_quality(whole) => vec![whole],
        _ => of_each.map(|container| &container["resources"]).collect(),
    };
    for resources in all {
        let quantity = |kind: &str, name: &str| {
            let quantity = resources[kind][name].as_str()?.parse::<Quantity>().ok();
            quantity.filter(|it| !it.is_zero())
        };
        let of_resource = |name: &str| match (quantity("requests", name), quantity("limits", name)) {
            (None, None) => "BestEffort",
            (Some(request), Some(limit)) if request == limit => "Guaranteed",
            _ => "Burstable",
        };
        let of_container = match (of_resource("cpu"), of_resource("memory")) {
            (cpu, memory) if cpu == memory => cpu,
            _ => "Burstable",
        };
        match class {
            _ if of_container == "Burstable" => return of_container,
            None => class = Some(of_container),
            Some(other) if other != of_container => return "Burstable",
            Some(_) => {}
        }
    }
    class.unwrap_or("BestEffort")
}

/// Prepares a new Job: adds the labels by which it finds its pods, and the selector.
pub(super) fn prepare_job(job: &mut Value) {
    let own = |field: &str| job["metadata"][field].clone();
    let (uid, name) = (own("uid"), own("name"));
    let spec = &mut job["spec"];
    if spec["manualSelector"] == true {
        return;
    }
    let before = spec["template"]["metadata"]["labels"].clone();
    let labels = &mut spec["template"]["metadata"];
    if !labels["labels"].is_object() {
        labels["labels"] = Value::Object(Map::new());
    }
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels["labels"][key] = value.clone();
    }
    if !spec["selector"].is_object() {
        spec["selector"] = json!({});
    }
    if !spec["selector"]["matchLabels"].is_object() {
        spec["selector"]["matchLabels"] = json!({});
    }
    spec["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid;
    // In Go, labels that the Job has copied from its template are the same map.
    let labels = spec["template"]["metadata"]["labels"].clone();
    if job["metadata"]["labels"] == before {
        job["metadata"]["labels"] = labels;
    }
}

/// The errors in an update of ephemeral containers, which can be added but not changed.
pub(super) fn validate_ephemeral_containers(new: &Value, old: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.ephemeralContainers";
    fn list<'a>(pod: &'a Value, field: &str) -> &'a [Value] {
        pod["spec"][field].as_array().map_or(&[], Vec::as_slice)
    }
    let (given, kept) = (list(new, "ephemeralContainers"), list(old, "ephemeralContainers"));
    let mut errors = Vec::new();
    for (index, container) in given.iter().enumerate() {
        let name = &container["name"];
        let others = list(new, "initContainers").iter().chain(list(new, "containers")).chain(&given[..index]);
        if others.into_iter().any(|other| other["name"] == *name) {
            errors.push(FieldError::duplicate(format_args!("{FIELD}[{index}].name"), name));
        }
    }
    for old in kept {
        let name = old["name"].as_str().unwrap_or_default();
        let why = match given.iter().find(|container| container["name"] == old["name"]) {
            Some(same) if same == old => continue,
            Some(_) => format!("existing ephemeral containers {name:?} may not be changed\n"),
            None => format!("existing ephemeral containers {name:?} may not be removed\n"),
        };
        errors.push(FieldError::forbidden(FIELD, &why));
    }
    errors
}
