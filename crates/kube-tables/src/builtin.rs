//! The columns of built-in kinds, as `k8s.io/kubernetes/pkg/printers/internalversion` prints them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cells::{age_of, ago, at, items, len, name, number, or_none, selector};

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may \
                    allow a client to request the generation of an appropriate name automatically. Name is primarily \
                    intended for creation idempotence and configuration definition. Cannot be updated. More info: \
                    https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
pub(super) const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is \
                              not guaranteed to be set in happens-before order across separate operations. Clients may \
                              not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the \
                              system. Read-only. Null for lists. More info: \
                              https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

type Print = fn(&Value, Timestamp) -> Vec<Value>;

/// Returns a column of type string and priority 0.
fn column(name: &str, description: &str) -> Value {
    wide(name, description, 0)
}

fn wide(name: &str, description: &str, priority: i32) -> Value {
    json!({"name": name, "type": "string", "format": "", "description": description, "priority": priority})
}

/// Returns the first column of nearly every table.
pub(super) fn name_column() -> Value {
    json!({"name": "Name", "type": "string", "format": "name", "description": NAME, "priority": 0})
}

fn typed(mut column: Value, kind: &str) -> Value {
    column["type"] = kind.into();
    column
}

pub(super) fn columns(group: &str, kind: &str) -> (Vec<Value>, Print) {
    let age = || column("Age", AGE);
    match (group, kind) {
        ("", "ConfigMap") => {
            (vec![name_column(), column("Data", "Number of keys."), age()], |object, now| {
                vec![
                    name(object),
                    (len(object, "/data") + len(object, "/binaryData")).into(),
                    age_of(object, now),
                ]
            })
        }
        ("", "Secret") => (
            vec![
                name_column(),
                column("Type", "Type of the data."),
                column("Data", "Number of keys."),
                age(),
            ],
            |object, now| {
                vec![
                    name(object),
                    at(object, "/type").into(),
                    len(object, "/data").into(),
                    age_of(object, now),
                ]
            },
        ),
        ("", "Namespace") => {
            (vec![name_column(), column("Status", "The status of the namespace"), age()], |object, now| {
                vec![name(object), at(object, "/status/phase").into(), age_of(object, now)]
            })
        }
        ("", "Pod") => (pod_columns(), pod),
        ("" | "events.k8s.io", "Event") => (event_columns(), event),
        ("coordination.k8s.io", "Lease") => {
            (vec![name_column(), column("Holder", "The holder of the lease."), age()], |object, now| {
                vec![name(object), at(object, "/spec/holderIdentity").into(), age_of(object, now)]
            })
        }
        ("apps", "Deployment") => (deployment_columns(), deployment),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => (crd_columns(), crd),
        // Printed by the server's default converter, which leaves the time as it is.
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
        | ("", "LimitRange")
        | ("storage.k8s.io", "CSIStorageCapacity") => {
            (vec![name_column(), typed(column("Created At", AGE), "date")], |object, _| {
                vec![name(object), at(object, "/metadata/creationTimestamp").into()]
            })
        }
        _ => (vec![name_column(), age()], |object, now| vec![name(object), age_of(object, now)]),
    }
}

/// Returns the conditions of an object's row. They mark pods that have ended, which clients may hide.
pub(super) fn row_conditions(object: &Value) -> Option<Value> {
    if at(object, "/kind") != "Pod" || at(object, "/apiVersion") != "v1" {
        return None;
    }
    let (reason, message) = match at(object, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn event_columns() -> Vec<Value> {
    let mut name = name_column();
    name["priority"] = 1.into();
    vec![
        column("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
        column("Type", "Normal or Warning."),
        column("Reason", "The machine-readable reason for this event."),
        column("Object", "The object that this event is about."),
        wide("Subobject", "The part of the object that this event is about.", 1),
        wide("Source", "The component reporting this event.", 1),
        column("Message", "A human-readable description of what happened."),
        wide("First Seen", "The time at which the event was first recorded.", 1),
        wide("Count", "The number of times this event has occurred.", 1),
        name,
    ]
}

/// Prints the Events of both `v1` and `events.k8s.io/v1`, whose fields differ in name.
fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let first_of = |pointers: &[&str]| {
        pointers.iter().map(|pointer| at(object, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let regarding = if object.get("involvedObject").is_some() { "/involvedObject" } else { "/regarding" };
    let first = first_of(&["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]);
    let mut last = first_of(&["/lastTimestamp", "/deprecatedLastTimestamp"]);
    if last.is_empty() {
        last = first;
    }
    let mut count = number(object, "/count").max(number(object, "/deprecatedCount")).max(1);
    if object.get("series").is_some_and(Value::is_object) {
        last = at(object, "/series/lastObservedTime");
        count = number(object, "/series/count");
    }
    let (kind, target) =
        (at(object, &format!("{regarding}/kind")).to_lowercase(), at(object, &format!("{regarding}/name")));
    let component = first_of(&[
        "/source/component",
        "/deprecatedSource/component",
        "/reportingComponent",
        "/reportingController",
    ]);
    let instance = first_of(&["/source/host", "/deprecatedSource/host", "/reportingInstance"]);
    vec![
        ago(last, now).into(),
        at(object, "/type").into(),
        at(object, "/reason").into(),
        if target.is_empty() { kind.into() } else { format!("{kind}/{target}").into() },
        at(object, &format!("{regarding}/fieldPath")).into(),
        if instance.is_empty() { component.into() } else { format!("{component}, {instance}").into() },
        first_of(&["/message", "/note"]).trim().into(),
        ago(first, now).into(),
        count.into(),
        name(object),
    ]
}

fn deployment_columns() -> Vec<Value> {
    vec![
        name_column(),
        column("Ready", "Number of the pod with ready state"),
        column("Up-to-date", "Number of pods with the desired template."),
        column("Available", "Number of pods that have been ready for minReadySeconds."),
        column("Age", AGE),
        wide("Containers", "Names of each container in the template.", 1),
        wide("Images", "Images referenced by each container in the template.", 1),
        wide("Selector", "The label selector of its pods.", 1),
    ]
}

fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let containers = items(object, "/spec/template/spec/containers");
    let join =
        |field: &str| containers.iter().map(|container| at(container, field)).collect::<Vec<_>>().join(",");
    let desired = number(object, "/spec/replicas");
    vec![
        name(object),
        format!("{}/{desired}", number(object, "/status/readyReplicas")).into(),
        number(object, "/status/updatedReplicas").into(),
        number(object, "/status/availableReplicas").into(),
        age_of(object, now),
        join("/name").into(),
        join("/image").into(),
        selector(&object["spec"]["selector"]),
    ]
}

fn crd_columns() -> Vec<Value> {
    vec![
        name_column(),
        column("Scope", "Cluster/Namespaced"),
        column("Versions", "Served versions"),
        typed(column("Created At", AGE), "date"),
        wide("Group", "API group", 1),
        wide("Kind", "CustomResource kind", 1),
        wide("ShortNames", "Short names", 1),
        typed(wide("Established", "Established status", 1), "boolean"),
    ]
}

fn crd(object: &Value, _: Timestamp) -> Vec<Value> {
    let versions = items(object, "/spec/versions").iter().filter(|version| version["served"] == true);
    let versions = versions.map(|version| match version["storage"] == true {
        true => format!("{}(storage)", at(version, "/name")),
        false => at(version, "/name").to_owned(),
    });
    let short_names = items(object, "/spec/names/shortNames").iter().filter_map(Value::as_str);
    let established = items(object, "/status/conditions")
        .iter()
        .any(|condition| at(condition, "/type") == "Established" && at(condition, "/status") == "True");
    vec![
        name(object),
        at(object, "/spec/scope").into(),
        versions.collect::<Vec<_>>().join(",").into(),
        at(object, "/metadata/creationTimestamp").into(),
        at(object, "/spec/group").into(),
        at(object, "/spec/names/kind").into(),
        short_names.collect::<Vec<_>>().join(",").into(),
        established.into(),
    ]
}

fn pod_columns() -> Vec<Value> {
    vec![
        name_column(),
        column("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        column("Status", "The aggregate status of the containers in this pod."),
        column("Restarts", "How often its containers restarted, and when the last restart was."),
        column("Age", AGE),
        wide("IP", "The address of the pod, once it has one.", 1),
        wide("Node", "The node that the pod runs on, once it is scheduled.", 1),
        wide("Nominated Node", "The node that the pod would run on after preemption.", 1),
        wide("Readiness Gates", "The number of its readiness gates that are true.", 1),
    ]
}

/// The restarts of a pod's containers.
#[derive(Default)]
struct Restarts<'a> {
    count: i64,
    /// When the last terminated container ended.
    last: &'a str,
}

impl<'a> Restarts<'a> {
    fn add(&mut self, container: &'a Value) {
        self.count += number(container, "/restartCount");
        // RFC 3339 in UTC: the later time is the greater string.
        self.last = self.last.max(at(container, "/lastState/terminated/finishedAt"));
    }
}

fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let phase = at(object, "/status/phase");
    let conditions = items(object, "/status/conditions");
    let is_true =
        |kind: &str| conditions.iter().any(|c| at(c, "/type") == kind && at(c, "/status") == "True");
    let mut reason = match at(object, "/status/reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    if conditions.iter().any(|c| at(c, "/type") == "PodScheduled" && at(c, "/reason") == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut reason);
    }
    let inits = items(object, "/spec/initContainers");
    let is_sidecar = |name: &str| {
        inits.iter().any(|init| at(init, "/name") == name && at(init, "/restartPolicy") == "Always")
    };
    let total = items(object, "/spec/containers").len()
        + inits.iter().filter(|init| at(init, "/restartPolicy") == "Always").count();
    let mut ready = 0;
    let (mut all, mut sidecars) = (Restarts::default(), Restarts::default());

    let mut initializing = false;
    for (index, container) in items(object, "/status/initContainerStatuses").iter().enumerate() {
        let sidecar = is_sidecar(at(container, "/name"));
        all.add(container);
        if sidecar {
            sidecars.add(container);
        }
        let terminated = container.pointer("/state/terminated").filter(|state| state.is_object());
        let waiting = at(container, "/state/waiting/reason");
        if terminated.is_some_and(|state| number(state, "/exitCode") == 0) {
            continue;
        }
        if sidecar && container["started"] == true {
            ready += usize::from(container["ready"] == true);
            continue;
        }
        reason = match terminated {
            Some(state) => format!("Init:{}", ended(state)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", inits.len()),
        };
        initializing = true;
        break;
    }

    if !initializing || is_true("Initialized") {
        all = sidecars;
        let (mut running, mut failure) = (false, String::new());
        for container in items(object, "/status/containerStatuses").iter().rev() {
            all.add(container);
            let waiting = at(container, "/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut reason);
            } else if let Some(state) =
                container.pointer("/state/terminated").filter(|state| state.is_object())
            {
                reason = ended(state);
                if number(state, "/exitCode") != 0 {
                    failure.clone_from(&reason);
                }
            } else if container["ready"] == true
                && container.pointer("/state/running").is_some_and(Value::is_object)
            {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" {
            if running && is_true("Ready") {
                "Running".clone_into(&mut reason);
            } else if !failure.is_empty() {
                reason = failure;
            } else if running {
                "NotReady".clone_into(&mut reason);
            }
        }
    }

    if !at(object, "/metadata/deletionTimestamp").is_empty() {
        if at(object, "/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut reason);
        }
    }
    let restarts = match (all.count, all.last) {
        (0, _) | (_, "") => all.count.to_string(),
        (count, last) => format!("{count} ({} ago)", ago(last, now)),
    };
    let gates = items(object, "/spec/readinessGates");
    let open = gates.iter().filter(|gate| is_true(at(gate, "/conditionType"))).count();
    vec![
        name(object),
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.into(),
        age_of(object, now),
        or_none(at(object, "/status/podIPs/0/ip")),
        or_none(at(object, "/spec/nodeName")),
        or_none(at(object, "/status/nominatedNodeName")),
        if gates.is_empty() { "<none>".into() } else { format!("{open}/{}", gates.len()).into() },
    ]
}

/// Returns the reason why a container terminated.
fn ended(state: &Value) -> String {
    match (at(state, "/reason"), number(state, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(state, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
