//! The columns of built-in kinds whose cells are simple, as `k8s.io/kubernetes/pkg/printers/internalversion` prints them.

use jiff::Timestamp;
use serde_json::Value;

use crate::age::{human_duration, second, since};
use crate::cells::{access_modes, at, items, len, number, or_none, scalar_or, selector};
use crate::column::{AGE, Column};

/// Returns the columns after the name. `None` if this module does not have the kind.
pub(super) fn columns(group: &str, kind: &str) -> Option<&'static [Column]> {
    Some(match (group, kind) {
        ("", "ComponentStatus") => &[
            ("Status", |it, _| {
                let healthy = at(it, "/conditions/0/status") == "True";
                if healthy { "Healthy" } else { "Unhealthy" }.into()
            }),
            ("Message", |it, _| at(it, "/conditions/0/message").into()),
            ("Error", |it, _| at(it, "/conditions/0/error").into()),
        ],
        ("", "Service") => &[
            ("Type", |it, _| at(it, "/spec/type").into()),
            ("Cluster-IP", |it, _| or_none(at(it, "/spec/clusterIP"))),
            ("External-IP", external_ip),
            ("Port(s)", service_ports),
            AGE,
            ("*Selector", |it, _| or_none(&labels(&it["spec"]["selector"]))),
        ],
        ("", "ReplicationController") => &[
            ("Desired#", |it, _| number(it, "/spec/replicas").into()),
            ("Current#", |it, _| number(it, "/status/replicas").into()),
            ("Ready#", |it, _| number(it, "/status/readyReplicas").into()),
            AGE,
            ("*Containers", containers),
            ("*Images", images),
            ("*Selector", |it, _| or_none(&labels(&it["spec"]["selector"]))),
        ],
        ("apps", "ReplicaSet") => &[
            ("Desired#", |it, _| number(it, "/spec/replicas").into()),
            ("Current#", |it, _| number(it, "/status/replicas").into()),
            ("Ready#", |it, _| number(it, "/status/readyReplicas").into()),
            AGE,
            ("*Containers", containers),
            ("*Images", images),
            ("*Selector", |it, _| selector(&it["spec"]["selector"])),
        ],
        ("apps", "DaemonSet") => &[
            ("Desired#", |it, _| number(it, "/status/desiredNumberScheduled").into()),
            ("Current#", |it, _| number(it, "/status/currentNumberScheduled").into()),
            ("Ready#", |it, _| number(it, "/status/numberReady").into()),
            ("Up-to-date#", |it, _| number(it, "/status/updatedNumberScheduled").into()),
            ("Available#", |it, _| number(it, "/status/numberAvailable").into()),
            ("Node Selector", |it, _| or_none(&labels(&it["spec"]["template"]["spec"]["nodeSelector"]))),
            AGE,
            ("*Containers", containers),
            ("*Images", images),
            ("*Selector", |it, _| selector(&it["spec"]["selector"])),
        ],
        ("apps", "StatefulSet") => &[
            ("Ready", |it, _| {
                format!("{}/{}", number(it, "/status/readyReplicas"), number(it, "/spec/replicas")).into()
            }),
            AGE,
            ("*Containers", containers),
            ("*Images", images),
        ],
        ("batch", "Job") => &[
            ("Status", job_status),
            ("Completions", completions),
            ("Duration", duration),
            AGE,
            ("*Containers", containers),
            ("*Images", images),
            ("*Selector", |it, _| selector(&it["spec"]["selector"])),
        ],
        ("batch", "CronJob") => &[
            ("Schedule", |it, _| at(it, "/spec/schedule").into()),
            ("Timezone", |it, _| or_none(at(it, "/spec/timeZone"))),
            ("Suspend?", |it, _| if it["spec"]["suspend"] == true { "True" } else { "False" }.into()),
            ("Active#", |it, _| items(it, "/status/active").len().into()),
            ("Last Schedule", |it, now| match at(it, "/status/lastScheduleTime") {
                "" => "<none>".into(),
                time => since(Some(time), now).into(),
            }),
            AGE,
            ("*Containers", |it, _| joined(it, "/spec/jobTemplate/spec/template/spec/containers", "/name")),
            ("*Images", |it, _| joined(it, "/spec/jobTemplate/spec/template/spec/containers", "/image")),
            ("*Selector", |it, _| selector(&it["spec"]["jobTemplate"]["spec"]["selector"])),
        ],
        ("networking.k8s.io", "Ingress") => &[
            ("Class", |it, _| or_none(at(it, "/spec/ingressClassName"))),
            ("Hosts", hosts),
            ("Address", |it, _| {
                let all = items(it, "/status/loadBalancer/ingress").iter();
                let one = |it| if at(it, "/ip").is_empty() { at(it, "/hostname") } else { at(it, "/ip") };
                all.map(one).collect::<Vec<_>>().join(",").into()
            }),
            ("Ports", |it, _| if items(it, "/spec/tls").is_empty() { "80" } else { "80, 443" }.into()),
            AGE,
        ],
        ("networking.k8s.io", "IngressClass") => &[
            ("Controller", |it, _| at(it, "/spec/controller").into()),
            ("Parameters", |it, _| match at(it, "/spec/parameters/kind") {
                "" => "<none>".into(),
                kind => {
                    let group = match at(it, "/spec/parameters/apiGroup") {
                        "" => String::new(),
                        group => format!(".{group}"),
                    };
                    format!("{kind}{group}/{}", at(it, "/spec/parameters/name")).into()
                }
            }),
            AGE,
        ],
        ("networking.k8s.io", "NetworkPolicy") => {
            &[("Pod-Selector", |it, _| selector(&it["spec"]["podSelector"])), AGE]
        }
        ("policy", "PodDisruptionBudget") => &[
            ("Min Available", |it, _| scalar(&it["spec"]["minAvailable"])),
            ("Max Unavailable", |it, _| scalar(&it["spec"]["maxUnavailable"])),
            ("Allowed Disruptions#", |it, _| number(it, "/status/disruptionsAllowed").into()),
            AGE,
        ],
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &[
            ("Role", |it, _| format!("{}/{}", at(it, "/roleRef/kind"), at(it, "/roleRef/name")).into()),
            AGE,
            ("*Users", |it, _| subjects(it, "User")),
            ("*Groups", |it, _| subjects(it, "Group")),
            ("*ServiceAccounts", |it, _| subjects(it, "ServiceAccount")),
        ],
        ("scheduling.k8s.io", "PriorityClass") => &[
            ("Value#", |it, _| number(it, "/value").into()),
            ("Global-Default?", |it, _| (it["globalDefault"] == true).into()),
            AGE,
            ("PreemptionPolicy", |it, _| at(it, "/preemptionPolicy").into()),
        ],
        ("storage.k8s.io", "StorageClass") => &[
            ("Provisioner", |it, _| at(it, "/provisioner").into()),
            ("ReclaimPolicy", |it, _| at(it, "/reclaimPolicy").into()),
            ("VolumeBindingMode", |it, _| at(it, "/volumeBindingMode").into()),
            ("AllowVolumeExpansion", |it, _| (it["allowVolumeExpansion"] == true).into()),
            AGE,
        ],
        ("", "PersistentVolumeClaim") => &[
            ("Status", |it, _| at(it, "/status/phase").into()),
            ("Volume", |it, _| at(it, "/spec/volumeName").into()),
            ("Capacity", |it, _| bound(it, at(it, "/status/capacity/storage").into())),
            ("Access Modes", |it, _| bound(it, access_modes(&it["status"]["accessModes"]))),
            ("StorageClass", |it, _| at(it, "/spec/storageClassName").into()),
            ("VolumeAttributesClass", |it, _| match at(it, "/spec/volumeAttributesClassName") {
                "" => "<unset>".into(),
                class => class.into(),
            }),
            AGE,
            ("*VolumeMode", |it, _| at(it, "/spec/volumeMode").into()),
        ],
        ("", "Endpoints") => &[("Endpoints", endpoints), AGE],
        ("discovery.k8s.io", "EndpointSlice") => &[
            ("AddressType", |it, _| at(it, "/addressType").into()),
            ("Ports", |it, _| {
                let all = items(it, "/ports").iter().map(|port| match number(port, "/port") {
                    0 => "*".to_owned(),
                    port => port.to_string(),
                });
                few(all, "<unset>")
            }),
            ("Endpoints", |it, _| {
                let all = items(it, "/endpoints").iter().flat_map(|it| items(it, "/addresses"));
                few(all.filter_map(Value::as_str).map(str::to_owned), "<unset>")
            }),
            AGE,
        ],
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => &[("Webhooks#", |it, _| items(it, "/webhooks").len().into()), AGE],
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => &[
            ("Validations#", |it, _| items(it, "/spec/validations").len().into()),
            ("ParamKind", param_kind),
            AGE,
        ],
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => &[
            ("Mutations#", |it, _| items(it, "/spec/mutations").len().into()),
            ("ParamKind", param_kind),
            AGE,
        ],
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => &[("PolicyName", |it, _| at(it, "/spec/policyName").into()), ("ParamRef", param_ref), AGE],
        ("apiregistration.k8s.io", "APIService") => &[
            ("Service", |it, _| match at(it, "/spec/service/name") {
                "" => "Local".into(),
                service => format!("{}/{service}", at(it, "/spec/service/namespace")).into(),
            }),
            ("Available", available),
            AGE,
        ],
        ("node.k8s.io", "RuntimeClass") => &[("Handler", |it, _| at(it, "/handler").into()), AGE],
        ("autoscaling", "HorizontalPodAutoscaler") => &[
            ("Reference", |it, _| {
                format!("{}/{}", at(it, "/spec/scaleTargetRef/kind"), at(it, "/spec/scaleTargetRef/name"))
                    .into()
            }),
            ("Targets", targets),
            ("MinPods", |it, _| scalar_or(&it["spec"]["minReplicas"], "<unset>")),
            ("MaxPods", |it, _| number(it, "/spec/maxReplicas").into()),
            ("Replicas", |it, _| number(it, "/status/currentReplicas").into()),
            AGE,
        ],
        _ => return None,
    })
}

fn param_kind(policy: &Value, _: Timestamp) -> Value {
    match at(policy, "/spec/paramKind/kind") {
        "" => "<unset>".into(),
        kind => format!("{}/{kind}", at(policy, "/spec/paramKind/apiVersion")).into(),
    }
}

fn param_ref(binding: &Value, _: Timestamp) -> Value {
    let selector = &binding["spec"]["paramRef"]["selector"];
    match (at(binding, "/spec/paramRef/namespace"), at(binding, "/spec/paramRef/name")) {
        (_, "") if selector.is_object() => go_selector(selector).into(),
        (_, "") => "<unset>".into(),
        ("", name) => format!("*/{name}").into(),
        (namespace, name) => format!("{namespace}/{name}").into(),
    }
}

/// Returns a selector as the `String` of its Go type prints it.
fn go_selector(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let labels: String =
        labels.map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or_default())).collect();
    let expressions = items(selector, "/matchExpressions").iter();
    let expressions: String = expressions
        .map(|it| {
            let values: Vec<_> = items(it, "/values").iter().filter_map(Value::as_str).collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                at(it, "/key"),
                at(it, "/operator"),
                values.join(" ")
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

fn joined(object: &Value, list: &str, field: &str) -> Value {
    items(object, list).iter().map(|it| at(it, field)).collect::<Vec<_>>().join(",").into()
}

fn containers(object: &Value, _: Timestamp) -> Value {
    joined(object, "/spec/template/spec/containers", "/name")
}

fn images(object: &Value, _: Timestamp) -> Value {
    joined(object, "/spec/template/spec/containers", "/image")
}

fn labels(labels: &Value) -> String {
    let terms = labels.as_object().into_iter().flatten();
    terms
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",")
}

fn scalar(value: &Value) -> Value {
    scalar_or(value, "N/A")
}

/// Joins the first three values, and counts the others.
fn few(all: impl Iterator<Item = String>, none: &str) -> Value {
    let all: Vec<String> = all.collect();
    match all.len() {
        0 => none.into(),
        1..=3 => all.join(",").into(),
        count => format!("{} + {} more...", all[..3].join(","), count - 3).into(),
    }
}

fn external_ip(service: &Value, _: Timestamp) -> Value {
    let external =
        || items(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect::<Vec<_>>();
    match at(service, "/spec/type") {
        "ExternalName" => at(service, "/spec/externalName").into(),
        "LoadBalancer" => {
            let given = items(service, "/status/loadBalancer/ingress").iter();
            let one = |it| if at(it, "/ip").is_empty() { at(it, "/hostname") } else { at(it, "/ip") };
            let all: Vec<&str> = given.map(one).chain(external()).collect();
            if all.is_empty() { "<pending>".into() } else { all.join(",").into() }
        }
        _ => or_none(&external().join(",")),
    }
}

fn service_ports(service: &Value, _: Timestamp) -> Value {
    let one = |port: &Value| {
        let (number, protocol) = (number(port, "/port"), at(port, "/protocol"));
        match port["nodePort"].as_i64() {
            Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    };
    or_none(&items(service, "/spec/ports").iter().map(one).collect::<Vec<_>>().join(","))
}

fn job_status(job: &Value, _: Timestamp) -> Value {
    let is = |kind: &str| {
        let conditions = items(job, "/status/conditions").iter();
        conditions.clone().any(|it| at(it, "/type") == kind && at(it, "/status") == "True")
    };
    let known = [("Complete", "Complete"), ("Failed", "Failed")].into_iter().find(|(kind, _)| is(kind));
    match known {
        Some((_, status)) => status,
        None if !at(job, "/metadata/deletionTimestamp").is_empty() => "Terminating",
        None if is("Suspended") => "Suspended",
        None if is("FailureTarget") => "FailureTarget",
        None if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        None => "Running",
    }
    .into()
}

fn completions(job: &Value, _: Timestamp) -> Value {
    let done = number(job, "/status/succeeded");
    match (job["spec"]["completions"].as_i64(), job["spec"]["parallelism"].as_i64().unwrap_or_default()) {
        (Some(wanted), _) => format!("{done}/{wanted}").into(),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}").into(),
        (None, _) => format!("{done}/1").into(),
    }
}

fn duration(job: &Value, now: Timestamp) -> Value {
    let Some(start) = second(at(job, "/status/startTime")) else { return "".into() };
    let end = second(at(job, "/status/completionTime")).unwrap_or(now.as_second());
    human_duration(end - start).into()
}

fn hosts(ingress: &Value, _: Timestamp) -> Value {
    let all = items(ingress, "/spec/rules").iter().map(|rule| at(rule, "/host").to_owned());
    few(all.filter(|host| !host.is_empty()), "*")
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let all = items(binding, "/subjects").iter().filter(|it| at(it, "/kind") == kind);
    let one = |it| match kind {
        "ServiceAccount" => format!("{}/{}", at(it, "/namespace"), at(it, "/name")),
        _ => at(it, "/name").to_owned(),
    };
    all.map(one).collect::<Vec<_>>().join(", ").into()
}

/// Returns the value if the claim has a volume, else an empty cell.
fn bound(claim: &Value, value: Value) -> Value {
    if at(claim, "/spec/volumeName").is_empty() { "".into() } else { value }
}

fn available(service: &Value, _: Timestamp) -> Value {
    let condition = items(service, "/status/conditions").iter().find(|it| at(it, "/type") == "Available");
    match condition.map(|it| (at(it, "/status"), at(it, "/reason"))) {
        None => "Unknown".into(),
        Some(("True", _)) => "True".into(),
        Some((status, reason)) => format!("{status} ({reason})").into(),
    }
}

fn endpoints(object: &Value, _: Timestamp) -> Value {
    let mut all = Vec::new();
    for subset in items(object, "/subsets") {
        let addresses = items(subset, "/addresses").iter().map(|it| at(it, "/ip"));
        for address in addresses {
            let ports = items(subset, "/ports");
            if ports.is_empty() {
                all.push(address.to_owned());
            }
            all.extend(ports.iter().map(|port| format!("{address}:{}", number(port, "/port"))));
        }
    }
    few(all.into_iter(), "<none>")
}

fn targets(autoscaler: &Value, _: Timestamp) -> Value {
    if len(autoscaler, "/spec") == 0 {
        return "<none>".into();
    }
    let metrics = items(autoscaler, "/spec/metrics");
    let one = |metric: &Value| match at(metric, "/type") {
        "Resource" => {
            let target = &metric["resource"]["target"];
            let wanted = match target["averageUtilization"].as_i64() {
                Some(percent) => format!("{percent}%"),
                None => at(target, "/averageValue").to_owned(),
            };
            format!("{}: <unknown>/{wanted}", at(metric, "/resource/name"))
        }
        _ => "<unknown>".to_owned(),
    };
    few(metrics.iter().map(one), "<none>")
}
