//! The defaults that kube-apiserver sets when it decodes an object: `pkg/apis/*/v1/defaults.go`.
//!
//! Most of them are a table of fields and their values. Objects are in the form that [`decode`](crate::decode) returns, so
//! that structs exist where Go has them, and omitted fields are absent.

mod fill;
mod pod;

use serde_json::{Map, Value, json};

use self::fill::{default, each};
pub use self::pod::apply_whole_pod_defaults;
use crate::convert::canonical;

/// A field and its value. `[]` stands for the items of a list, and the parent of the field must exist.
type Default = (&'static str, Fixed);

#[derive(Clone, Copy)]
enum Fixed {
    Text(&'static str),
    Number(i64),
    Bool(bool),
    /// `{}`
    Empty,
}

use Fixed::{Bool, Empty, Number, Text};

/// The annotation that counts the changes to the template of a DaemonSet.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Sets the defaults that kube-apiserver sets when it decodes an object of a built-in kind, in the form that
/// [`decode`](crate::decode) returns. Kinds without defaults do not change.
pub fn apply_defaults(group: &str, kind: &str, object: &mut Value) {
    for path in pod_specs(group, kind) {
        each(object, path, &mut pod::set_defaults);
    }
    match (group, kind) {
        ("", "Pod") => {
            pod::set_pod_defaults(object);
            pod::addresses(object);
        }
        ("", "Service") => service(object),
        ("", "Secret") => encode_string_data(object),
        ("", "LimitRange") => each(object, "spec.limits[]", &mut limits),
        ("", "ReplicationController") => replication_controller(object),
        ("", "Node") => node(object),
        ("", "PersistentVolume") => each(object, "spec", &mut pod::source),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => each(object, "spec", &mut |spec| {
            if spec["matchingPrecedence"].is_null() || spec["matchingPrecedence"] == 0 {
                spec["matchingPrecedence"] = 1000.into();
            }
        }),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => priority_level(object),
        ("resource.k8s.io", "ResourceClaim") => device_requests(object, "spec.devices.requests[]"),
        ("resource.k8s.io", "ResourceClaimTemplate") => {
            device_requests(object, "spec.spec.devices.requests[]");
        }
        ("apps", "Deployment") => {
            rolling_update(object, "strategy", &["maxUnavailable", "maxSurge"], &json!("25%"));
        }
        ("storage.k8s.io", "CSIDriver") => each(object, "spec", &mut |spec| {
            default(spec, "volumeLifecycleModes", || json!(["Persistent"]));
        }),
        ("apps", "DaemonSet") => {
            if !object["metadata"]["annotations"].is_object() {
                object["metadata"]["annotations"] = json!({});
            }
            default(&mut object["metadata"]["annotations"], TEMPLATE_GENERATION, || "1".into());
            rolling_update(object, "updateStrategy", &["maxUnavailable"], &json!(1));
            rolling_update(object, "updateStrategy", &["maxSurge"], &json!(0));
        }
        ("apps", "StatefulSet") => stateful_set(object),
        ("batch", "Job") => job(object),
        ("networking.k8s.io", "NetworkPolicy") => policy_types(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => subjects(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("scheduling.k8s.io", "PriorityClass") => {
            put(object, "preemptionPolicy", Text("PreemptLowerPriority"));
        }
        _ => {}
    }
    for (path, value) in table(group, kind) {
        let (above, field) = path.rsplit_once('.').unwrap_or(("", path));
        each(object, above, &mut |parent| put(parent, field, *value));
    }
}

/// Returns the fields whose default does not depend on other fields.
fn table(group: &str, kind: &str) -> &'static [Default] {
    match (group, kind) {
        ("", "Secret") => &[("type", Text("Opaque"))],
        ("", "Endpoints") => &[("subsets[].ports[].protocol", Text("TCP"))],
        ("", "Namespace") => &[("status.phase", Text("Active"))],
        ("", "PersistentVolume") => &[
            ("status.phase", Text("Pending")),
            ("spec.persistentVolumeReclaimPolicy", Text("Retain")),
            ("spec.volumeMode", Text("Filesystem")),
            ("spec.hostPath.type", Text("")),
        ],
        ("", "PersistentVolumeClaim") => {
            &[("status.phase", Text("Pending")), ("spec.volumeMode", Text("Filesystem"))]
        }
        ("apiregistration.k8s.io", "APIService") => &[("spec.service.port", Number(443))],
        ("apps", "Deployment") => &[
            ("spec.replicas", Number(1)),
            ("spec.revisionHistoryLimit", Number(10)),
            ("spec.progressDeadlineSeconds", Number(600)),
        ],
        ("apps", "ReplicaSet") => &[("spec.replicas", Number(1))],
        ("apps", "DaemonSet") => &[("spec.revisionHistoryLimit", Number(10))],
        ("apps", "StatefulSet") => &[
            ("spec.replicas", Number(1)),
            ("spec.revisionHistoryLimit", Number(10)),
            ("spec.podManagementPolicy", Text("OrderedReady")),
            ("spec.volumeClaimTemplates[].status.phase", Text("Pending")),
            ("spec.volumeClaimTemplates[].spec.volumeMode", Text("Filesystem")),
        ],
        ("batch", "Job") => &[
            ("spec.parallelism", Number(1)),
            ("spec.completionMode", Text("NonIndexed")),
            ("spec.suspend", Bool(false)),
            ("spec.manualSelector", Bool(false)),
        ],
        ("batch", "CronJob") => &[
            ("spec.concurrencyPolicy", Text("Allow")),
            ("spec.suspend", Bool(false)),
            ("spec.successfulJobsHistoryLimit", Number(3)),
            ("spec.failedJobsHistoryLimit", Number(1)),
        ],
        ("discovery.k8s.io", "EndpointSlice") => {
            &[("ports[].name", Text("")), ("ports[].protocol", Text("TCP"))]
        }
        ("networking.k8s.io", "NetworkPolicy") => &[
            ("spec.ingress[].ports[].protocol", Text("TCP")),
            ("spec.egress[].ports[].protocol", Text("TCP")),
        ],
        ("networking.k8s.io", "IngressClass") => &[("spec.parameters.scope", Text("Cluster"))],
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            &[("roleRef.apiGroup", Text("rbac.authorization.k8s.io"))]
        }
        ("storage.k8s.io", "StorageClass") => {
            &[("reclaimPolicy", Text("Delete")), ("volumeBindingMode", Text("Immediate"))]
        }
        ("storage.k8s.io", "CSIDriver") => &[
            ("spec.attachRequired", Bool(true)),
            ("spec.podInfoOnMount", Bool(false)),
            ("spec.storageCapacity", Bool(false)),
            ("spec.fsGroupPolicy", Text("ReadWriteOnceWithFSType")),
            ("spec.requiresRepublish", Bool(false)),
            ("spec.seLinuxMount", Bool(false)),
            ("spec.preventPodSchedulingIfMissing", Bool(false)),
        ],
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => &WEBHOOK[1..],
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => &WEBHOOK,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => &[
            ("spec.failurePolicy", Text("Fail")),
            ("spec.matchConstraints.matchPolicy", Text("Equivalent")),
            ("spec.matchConstraints.namespaceSelector", Empty),
            ("spec.matchConstraints.objectSelector", Empty),
            ("spec.matchConstraints.resourceRules[].scope", Text("*")),
            ("spec.matchConstraints.excludeResourceRules[].scope", Text("*")),
        ],
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => &[
            ("spec.matchResources.matchPolicy", Text("Equivalent")),
            ("spec.matchResources.namespaceSelector", Empty),
            ("spec.matchResources.objectSelector", Empty),
            ("spec.matchResources.resourceRules[].scope", Text("*")),
            ("spec.matchResources.excludeResourceRules[].scope", Text("*")),
        ],
        _ => &[],
    }
}

const WEBHOOK: [Default; 8] = [
    ("webhooks[].reinvocationPolicy", Text("Never")),
    ("webhooks[].failurePolicy", Text("Fail")),
    ("webhooks[].matchPolicy", Text("Equivalent")),
    ("webhooks[].namespaceSelector", Empty),
    ("webhooks[].objectSelector", Empty),
    ("webhooks[].timeoutSeconds", Number(10)),
    ("webhooks[].rules[].scope", Text("*")),
    ("webhooks[].clientConfig.service.port", Number(443)),
];

/// Returns the paths of the pod specs in a kind.
fn pod_specs(group: &str, kind: &str) -> &'static [&'static str] {
    match (group, kind) {
        ("", "Pod") => &["spec"],
        ("", "PodTemplate") => &["template.spec"],
        ("", "ReplicationController")
        | ("apps", "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet")
        | ("batch", "Job") => &["spec.template.spec"],
        ("batch", "CronJob") => &["spec.jobTemplate.spec.template.spec"],
        _ => &[],
    }
}

/// Sets an omitted field.
fn put(object: &mut Value, field: &str, value: Fixed) {
    let value = || match value {
        Text(text) => text.into(),
        Number(number) => number.into(),
        Bool(value) => value.into(),
        Empty => json!({}),
    };
    default(object, field, value);
}

fn service(object: &mut Value) {
    if object["spec"]["type"] == "LoadBalancer" {
        each(object, "status.loadBalancer.ingress[]", &mut |point| {
            if point["ip"].as_str().is_some_and(|ip| !ip.is_empty()) {
                default(point, "ipMode", || "VIP".into());
            }
        });
    }
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    default(spec, "sessionAffinity", || "None".into());
    if spec["sessionAffinity"] == "ClientIP" {
        if spec.pointer("/sessionAffinityConfig/clientIP/timeoutSeconds").is_none_or(Value::is_null) {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
        }
    } else if spec["sessionAffinity"] == "None"
        && let Some(members) = spec.as_object_mut()
    {
        members.remove("sessionAffinityConfig");
    }
    default(spec, "type", || "ClusterIP".into());
    each(spec, "ports[]", &mut |port| {
        default(port, "protocol", || "TCP".into());
        let target = &port["targetPort"];
        if target.is_null() || *target == 0 || *target == "" {
            port["targetPort"] = port["port"].clone();
        }
    });
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    let external_ips = spec["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "LoadBalancer" | "NodePort") || kind == "ClusterIP" && external_ips {
        default(spec, "externalTrafficPolicy", || "Cluster".into());
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", || "Cluster".into());
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", || true.into());
    }
}

/// Moves a Secret's `stringData`, which is only written, to `data`.
fn encode_string_data(object: &mut Value) {
    use base64::Engine;
    let Some(Value::Object(texts)) = object.as_object_mut().and_then(|members| members.remove("stringData"))
    else {
        return;
    };
    if !object["data"].is_object() {
        object["data"] = json!({});
    }
    for (key, text) in texts {
        let encoded = base64::prelude::BASE64_STANDARD.encode(text.as_str().unwrap_or_default());
        object["data"][key] = encoded.into();
    }
}

fn limits(item: &mut Value) {
    if item["type"] != "Container" {
        return;
    }
    for field in ["default", "defaultRequest"] {
        default(item, field, || json!({}));
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        for (resource, quantity) in item[from].as_object().cloned().unwrap_or_default() {
            default(&mut item[to], &resource, || quantity);
        }
    }
}

fn replication_controller(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    if labels.is_object() {
        if object["spec"]["selector"].as_object().is_none_or(Map::is_empty) {
            object["spec"]["selector"] = labels.clone();
        }
        if object["metadata"]["labels"].as_object().is_none_or(Map::is_empty) {
            object["metadata"]["labels"] = labels;
        }
    }
    each(object, "spec", &mut |spec| put(spec, "replicas", Number(1)));
}

/// Sets how many requests a level takes at once, and how they wait. A zero stands for an omitted number.
fn priority_level(object: &mut Value) {
    let number = |object: &mut Value, field: &str, number: i64| {
        if object[field].is_null() || object[field] == 0 {
            object[field] = number.into();
        }
    };
    each(object, "spec.limited", &mut |limited| {
        default(limited, "nominalConcurrencyShares", || 30.into());
        default(limited, "lendablePercent", || 0.into());
    });
    each(object, "spec.limited.limitResponse.queuing", &mut |queuing| {
        number(queuing, "queues", 64);
        number(queuing, "handSize", 8);
        number(queuing, "queueLengthLimit", 50);
    });
    each(object, "spec.exempt", &mut |exempt| {
        default(exempt, "nominalConcurrencyShares", || 0.into());
        default(exempt, "lendablePercent", || 0.into());
    });
}

/// Sets how many devices the requests of a claim are for: exactly one.
fn device_requests(object: &mut Value, requests: &str) {
    for alternatives in ["exactly", "firstAvailable[]"] {
        each(object, &format!("{requests}.{alternatives}"), &mut |request| {
            default(request, "allocationMode", || "ExactCount".into());
            let is_exact = request["allocationMode"] == "ExactCount";
            if is_exact && (request["count"].is_null() || request["count"] == 0) {
                request["count"] = 1.into();
            }
        });
    }
}

/// Sets what of a Node can be derived: its allocatable resources, and the older of two fields for the networks of its Pods, which
/// wins if both are given.
fn node(object: &mut Value) {
    if object["status"]["allocatable"].is_null() && object["status"]["capacity"].is_object() {
        object["status"]["allocatable"] = object["status"]["capacity"].clone();
    }
    each(object, "spec", &mut |spec| {
        let one = spec["podCIDR"].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let first = spec["podCIDRs"][0].as_str().map(str::to_owned);
        match (one, first) {
            (Some(one), first) if first.as_ref() != Some(&one) => spec["podCIDRs"] = json!([one]),
            (None, Some(first)) => spec["podCIDR"] = first.into(),
            _ => {}
        }
    });
}

/// Sets the defaults of `rollingUpdate`, if that is the type of the strategy.
fn rolling_update(object: &mut Value, strategy: &str, fields: &[&str], value: &Value) {
    let Some(strategy) = object["spec"].get_mut(strategy).filter(|it| it.is_object()) else { return };
    put(strategy, "type", Text("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        put(strategy, "rollingUpdate", Empty);
        for field in fields {
            default(&mut strategy["rollingUpdate"], field, || value.clone());
        }
    }
}

fn stateful_set(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    let strategy = &mut spec["updateStrategy"];
    if strategy["type"].is_null() {
        put(strategy, "type", Text("RollingUpdate"));
        put(strategy, "rollingUpdate", Empty);
    }
    if strategy["type"] == "RollingUpdate" && strategy["rollingUpdate"].is_object() {
        put(&mut strategy["rollingUpdate"], "partition", Number(0));
        put(&mut strategy["rollingUpdate"], "maxUnavailable", Number(1));
    }
    put(spec, "persistentVolumeClaimRetentionPolicy", Empty);
    for when in ["whenDeleted", "whenScaled"] {
        put(&mut spec["persistentVolumeClaimRetentionPolicy"], when, Text("Retain"));
    }
    each(spec, "volumeClaimTemplates[]", &mut |claim| {
        claim["apiVersion"] = "v1".into();
        claim["kind"] = "PersistentVolumeClaim".into();
    });
}

fn job(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    if labels.is_object() && object["metadata"]["labels"].as_object().is_none_or(Map::is_empty) {
        object["metadata"]["labels"] = labels;
    }
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        put(spec, "completions", Number(1));
    }
    let limit = if spec["backoffLimitPerIndex"].is_null() { 6 } else { i64::from(i32::MAX) };
    put(spec, "backoffLimit", Number(limit));
    let policy = if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" };
    put(spec, "podReplacementPolicy", Text(policy));
}

fn policy_types(object: &mut Value) {
    each(object, "spec", &mut |spec| {
        let egress = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
        default(
            spec,
            "policyTypes",
            || if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) },
        );
    });
}

fn subjects(object: &mut Value) {
    each(object, "subjects[]", &mut |subject| {
        if subject["kind"] != "ServiceAccount" {
            put(subject, "apiGroup", Text("rbac.authorization.k8s.io"));
        }
    });
}

fn autoscaler(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    put(spec, "minReplicas", Number(1));
    canonical(object);
    if object["apiVersion"] == "autoscaling/v2" {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        default(&mut object["spec"], "metrics", || json!([metric]));
        each(object, "spec.behavior", &mut scaling_behavior);
    }
}

/// Sets both directions of an autoscaler's behavior, if it has one.
fn scaling_behavior(behavior: &mut Value) {
    let policy = |kind: &str, value: u8| json!({"type": kind, "value": value, "periodSeconds": 15});
    let up = json!([policy("Pods", 4), policy("Percent", 100)]);
    let down = json!([policy("Percent", 100)]);
    for (direction, policies) in [("scaleUp", up), ("scaleDown", down)] {
        put(behavior, direction, Empty);
        let rules = &mut behavior[direction];
        put(rules, "selectPolicy", Text("Max"));
        default(rules, "policies", || policies);
    }
    put(&mut behavior["scaleUp"], "stabilizationWindowSeconds", Number(0));
}
