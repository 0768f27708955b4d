//! The columns of kinds that belong to the cluster and its nodes, as `k8s.io/kubernetes/pkg/printers/internalversion`
//! prints them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::age::human_duration;
use crate::cells::{access_modes, at, items, number, or_none, scalar_or};
use crate::column::{AGE, Column};

/// Returns the columns after the name. `None` if this module does not have the kind.
pub(super) fn columns(group: &str, kind: &str) -> Option<&'static [Column]> {
    Some(match (group, kind) {
        ("", "Node") => &[
            ("Status", node_status),
            ("Roles", node_roles),
            AGE,
            ("Version", |it, _| at(it, "/status/nodeInfo/kubeletVersion").into()),
            ("*Internal-IP", |it, _| node_address(it, "InternalIP")),
            ("*External-IP", |it, _| node_address(it, "ExternalIP")),
            ("*OS-Image", |it, _| or_unknown(at(it, "/status/nodeInfo/osImage")).into()),
            ("*Kernel-Version", |it, _| {
                let version = or_unknown(at(it, "/status/nodeInfo/kernelVersion"));
                match at(it, "/status/nodeInfo/architecture") {
                    "" => version.into(),
                    architecture => format!("{version} ({architecture})").into(),
                }
            }),
            ("*Container-Runtime", |it, _| {
                or_unknown(at(it, "/status/nodeInfo/containerRuntimeVersion")).into()
            }),
        ],
        ("", "PersistentVolume") => &[
            ("Capacity", |it, _| scalar_or(&it["spec"]["capacity"]["storage"], "0")),
            ("Access Modes", |it, _| access_modes(&it["spec"]["accessModes"])),
            ("Reclaim Policy", |it, _| at(it, "/spec/persistentVolumeReclaimPolicy").into()),
            ("Status", |it, _| match at(it, "/metadata/deletionTimestamp") {
                "" => at(it, "/status/phase").into(),
                _ => "Terminating".into(),
            }),
            ("Claim", |it, _| match at(it, "/spec/claimRef/name") {
                "" => "".into(),
                name => format!("{}/{name}", at(it, "/spec/claimRef/namespace")).into(),
            }),
            ("StorageClass", |it, _| at(it, "/spec/storageClassName").into()),
            ("VolumeAttributesClass", |it, _| scalar_or(&it["spec"]["volumeAttributesClassName"], "<unset>")),
            ("Reason", |it, _| at(it, "/status/reason").into()),
            AGE,
            ("*VolumeMode", |it, _| scalar_or(&it["spec"]["volumeMode"], "<unset>")),
        ],
        ("", "ResourceQuota") => {
            &[("Request", |it, _| quota(it, false)), ("Limit", |it, _| quota(it, true)), AGE]
        }
        ("apps", "ControllerRevision") => &[
            ("Controller", |it, _| {
                let owners = items(it, "/metadata/ownerReferences");
                let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else {
                    return "<none>".into();
                };
                let kind = at(owner, "/kind").to_lowercase();
                match at(owner, "/apiVersion").split_once('/') {
                    Some((group, _)) => format!("{kind}.{group}/{}", at(owner, "/name")).into(),
                    None => format!("{kind}/{}", at(owner, "/name")).into(),
                }
            }),
            ("Revision", |it, _| number(it, "/revision").into()),
            AGE,
        ],
        ("certificates.k8s.io", "CertificateSigningRequest") => &[
            AGE,
            ("SignerName", |it, _| or_none(at(it, "/spec/signerName"))),
            ("Requestor", |it, _| at(it, "/spec/username").into()),
            ("RequestedDuration", |it, _| match it["spec"]["expirationSeconds"].as_i64() {
                Some(seconds) => human_duration(seconds).into(),
                None => "<none>".into(),
            }),
            ("Condition", request_condition),
        ],
        ("storage.k8s.io", "CSINode") => {
            &[("Drivers#", |it, _| items(it, "/spec/drivers").len().into()), AGE]
        }
        ("storage.k8s.io", "CSIDriver") => &[
            ("AttachRequired?", |it, _| (it["spec"]["attachRequired"] != false).into()),
            ("PodInfoOnMount?", |it, _| (it["spec"]["podInfoOnMount"] == true).into()),
            ("StorageCapacity?", |it, _| (it["spec"]["storageCapacity"] == true).into()),
            ("TokenRequests", |it, _| match it["spec"]["tokenRequests"].is_array() {
                true => {
                    let audiences =
                        items(it, "/spec/tokenRequests").iter().map(|token| at(token, "/audience"));
                    audiences.collect::<Vec<_>>().join(",").into()
                }
                false => "<unset>".into(),
            }),
            ("RequiresRepublish?", |it, _| (it["spec"]["requiresRepublish"] == true).into()),
            ("Modes", |it, _| {
                let modes = items(it, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str);
                or_none(&modes.collect::<Vec<_>>().join(","))
            }),
            AGE,
        ],
        _ => return None,
    })
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "<unknown>" } else { text }
}

fn node_status(node: &Value, _: Timestamp) -> Value {
    let ready = items(node, "/status/conditions").iter().find(|it| at(it, "/type") == "Ready");
    let mut status = match ready {
        Some(ready) if at(ready, "/status") == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

fn node_roles(node: &Value, _: Timestamp) -> Value {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(label, value)| match label.strip_prefix("node-role.kubernetes.io/") {
            None if label == "kubernetes.io/role" => value.as_str(),
            role => role,
        })
        .filter(|role| !role.is_empty())
        .collect();
    or_none(&roles.into_iter().collect::<Vec<_>>().join(","))
}

fn node_address(node: &Value, kind: &str) -> Value {
    let address = items(node, "/status/addresses").iter().find(|it| at(it, "/type") == kind);
    or_none(address.map_or("", |address| at(address, "/address")))
}

/// Formats the used and the hard amount of each resource, as `cpu: 1/2`.
fn quota(quota: &Value, of_limits: bool) -> Value {
    let hard = quota["status"]["hard"].as_object().into_iter().flatten();
    let shown = hard.filter(|(name, _)| name.starts_with("limits.") == of_limits).map(|(name, hard)| {
        let used = quota["status"]["used"][name].as_str().unwrap_or("0");
        format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
    });
    shown.collect::<Vec<_>>().join(", ").into()
}

fn request_condition(request: &Value, _: Timestamp) -> Value {
    let has = |kind: &str| items(request, "/status/conditions").iter().any(|it| at(it, "/type") == kind);
    let mut status = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !at(request, "/status/certificate").is_empty() {
        status.push_str(",Issued");
    }
    status.into()
}
