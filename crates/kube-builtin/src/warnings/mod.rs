//! Warnings about values that are legal but odd: `WarningsOnCreate` and `WarningsOnUpdate` of kube-apiserver's strategies, with
//! their order and texts.
//!
//! Objects have been decoded, defaulted and validated. Where Go goes through a map in any order, the order is by name.

mod addresses;
mod fields;
mod overlaps;
mod pod;
mod tls;

use kube_validation::{Quantity, go::quote, names};
use serde_json::Value;

use self::fields::{claim, deprecated_label, expressions, has_annotation, items, keys, text};

/// The annotation that counts the changes to the template of a DaemonSet.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
/// Names the class of old claims and volumes.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const CLASS_DEPRECATED: &str = r#"deprecated since v1.8; use "storageClassName" attribute instead"#;

/// Returns the warnings about a new object.
pub fn create(group: &str, kind: &str, object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    let mut warnings = Vec::new();
    match (group, kind) {
        ("", "Pod") => {
            not_a_label(object, "the Pod's hostname", &mut warnings);
            pod::check(object, "", &mut warnings);
        }
        ("", "PodTemplate") => pod::check(&object["template"], "template.", &mut warnings),
        ("apps", "Deployment" | "ReplicaSet") | ("", "ReplicationController") => {
            not_a_label(object, "Pod names and hostnames", &mut warnings);
            template(spec, &mut warnings);
        }
        ("apps", "DaemonSet") => template(spec, &mut warnings),
        ("apps", "StatefulSet") => {
            template(spec, &mut warnings);
            stateful_set(spec, "", &mut warnings);
        }
        ("batch", "Job") => {
            not_a_label(object, "Pod names and hostnames", &mut warnings);
            job(spec, "spec", &mut warnings);
        }
        ("batch", "CronJob") => {
            not_a_label(object, "Pod names and hostnames", &mut warnings);
            job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", &mut warnings);
        }
        ("", "ServiceAccount") => service_account(object, &Value::Null, &mut warnings),
        ("", "ResourceQuota") => quota(spec, &mut warnings),
        ("networking.k8s.io", "Ingress") => {
            let class = "kubernetes.io/ingress.class";
            if has_annotation(object, class) && spec["ingressClassName"].is_null() {
                warnings.push(format!(
                    "annotation {class:?} is deprecated, please use 'spec.ingressClassName' instead"
                ));
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            if object["addressType"] == "FQDN" {
                warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
            }
            addresses::of_slice(object, &mut warnings);
        }
        ("storage.k8s.io", "CSIDriver") => csi_driver(spec, &Value::Null, &mut warnings),
        _ => whole(group, kind, object, &mut warnings),
    }
    warnings
}

/// Returns the warnings about an object that replaces `old`.
pub fn update(group: &str, kind: &str, new: &Value, old: &Value) -> Vec<String> {
    let spec = &new["spec"];
    let mut warnings = Vec::new();
    let is_changed = new["metadata"]["generation"] != old["metadata"]["generation"];
    match (group, kind) {
        ("", "PodTemplate") if is_changed => pod::check(&new["template"], "template.", &mut warnings),
        ("apps", "Deployment" | "ReplicaSet") if is_changed => template(spec, &mut warnings),
        // kube-apiserver warns of the former template.
        ("", "ReplicationController") if is_changed => template(&old["spec"], &mut warnings),
        ("apps", "DaemonSet") => {
            let count = |set: &Value| set["metadata"]["annotations"][TEMPLATE_GENERATION].clone();
            if count(new) != count(old) {
                template(spec, &mut warnings);
            }
        }
        ("apps", "StatefulSet") => {
            if is_changed {
                template(spec, &mut warnings);
            }
            stateful_set(spec, ".Spec", &mut warnings);
        }
        ("batch", "Job") if is_changed => job(spec, "spec", &mut warnings),
        ("batch", "CronJob") => {
            if is_changed {
                job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", &mut warnings);
            }
            if text(spec, "schedule").contains("TZ") {
                warnings.push(
                    "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                     https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                        .to_owned(),
                );
            }
        }
        ("", "ServiceAccount") => service_account(new, old, &mut warnings),
        ("discovery.k8s.io", "EndpointSlice") => addresses::of_slice(new, &mut warnings),
        ("storage.k8s.io", "CSIDriver") => csi_driver(spec, &old["spec"], &mut warnings),
        _ => whole(group, kind, new, &mut warnings),
    }
    warnings
}

/// Returns the warnings about an object whose status is replaced.
pub fn update_status(group: &str, kind: &str, new: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    match (group, kind) {
        ("", "Pod") => {
            for list in ["podIPs", "hostIPs"] {
                for (index, it) in items(&new["status"][list]).iter().enumerate() {
                    addresses::ip(&it["ip"], &format!("status.{list}[{index}].ip"), &mut warnings);
                }
            }
        }
        ("", "Service") | ("networking.k8s.io", "Ingress") => {
            for (index, it) in items(&new["status"]["loadBalancer"]["ingress"]).iter().enumerate() {
                addresses::ip(&it["ip"], &format!("status.loadBalancer.ingress[{index}]"), &mut warnings);
            }
        }
        _ => {}
    }
    warnings
}

/// Kinds of which new objects and changes are treated alike.
fn whole(group: &str, kind: &str, object: &Value, warnings: &mut Vec<String>) {
    let spec = &object["spec"];
    match (group, kind) {
        ("", "Node") => node(spec, warnings),
        ("", "Service") => service(object, warnings),
        ("", "Secret") if object["type"] == "kubernetes.io/tls" => {
            warnings.extend(tls::wrong_pair(&object["data"]));
        }
        ("", "PersistentVolume") => volume(object, warnings),
        ("", "PersistentVolumeClaim") => {
            if has_annotation(object, CLASS) {
                warnings.push(format!("metadata.annotations[{CLASS}]: {CLASS_DEPRECATED}"));
            }
            claim(spec, "spec", warnings);
        }
        ("", "Endpoints") => addresses::of_endpoints(object, warnings),
        ("networking.k8s.io", "NetworkPolicy") => addresses::of_policy(spec, warnings),
        ("node.k8s.io", "RuntimeClass") => {
            for label in keys(&object["scheduling"]["nodeSelector"]) {
                if let Some(why) = deprecated_label(label) {
                    warnings.push(format!("scheduling.nodeSelector: {why}"));
                }
            }
        }
        ("resource.k8s.io", "ResourceSlice") => {
            let driver = text(spec, "driver");
            if driver != driver.to_lowercase() {
                warnings.push(format!(
                    "spec.driver: driver names should be lowercase; {} contains uppercase characters",
                    quote(driver)
                ));
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            for (index, term) in items(&object["allowedTopologies"]).iter().enumerate() {
                for (number, expression) in items(&term["matchLabelExpressions"]).iter().enumerate() {
                    if let Some(why) = deprecated_label(text(expression, "key")) {
                        warnings.push(format!(
                            "allowedTopologies[{index}].matchLabelExpressions[{number}].key: {why}"
                        ));
                    }
                }
            }
        }
        ("storage.k8s.io", "CSIStorageCapacity") => {
            expressions(&object["nodeTopology"], "nodeTopology", false, warnings);
            for label in keys(&object["nodeTopology"]["matchLabels"]) {
                if let Some(why) = deprecated_label(label) {
                    warnings.push(format!("nodeTopology.matchLabels.{label}: {why}"));
                }
            }
        }
        _ => {}
    }
}

/// Warns of a name that is not a label of DNS.
fn not_a_label(object: &Value, used_in: &str, warnings: &mut Vec<String>) {
    let wrong = names::dns1123_label(text(&object["metadata"], "name"));
    if !wrong.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        ));
    }
}

fn template(spec: &Value, warnings: &mut Vec<String>) {
    pod::check(&spec["template"], "spec.template.", warnings);
}

/// `field`: what kube-apiserver adds to the path of a claim.
fn stateful_set(spec: &Value, field: &str, warnings: &mut Vec<String>) {
    for (index, template) in items(&spec["volumeClaimTemplates"]).iter().enumerate() {
        claim(&template["spec"], &format!("spec.volumeClaimTemplates[{index}]{field}"), warnings);
    }
    if spec["revisionHistoryLimit"].as_i64().is_some_and(|limit| limit < 0) {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
}

fn job(spec: &Value, path: &str, warnings: &mut Vec<String>) {
    let number = |field: &str| spec[field].as_i64().unwrap_or_default();
    if spec["completionMode"] == "Indexed"
        && number("completions") > 100_000
        && number("parallelism") > 10_000
    {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes \
             might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    pod::check(&spec["template"], &format!("{path}.template."), warnings);
}

fn service_account(account: &Value, old: &Value, warnings: &mut Vec<String>) {
    let enforce = "kubernetes.io/enforce-mountable-secrets";
    if has_annotation(account, enforce) && !has_annotation(old, enforce) {
        warnings.push(format!(
            "metadata.annotations[{enforce}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted \
             secrets"
        ));
    }
}

/// Warns of requests that are to be greater than limits.
fn quota(spec: &Value, warnings: &mut Vec<String>) {
    let amount = |name: &str| {
        let amount = spec["hard"][name].as_str()?;
        Some((amount.to_owned(), amount.parse::<Quantity>().ok()?))
    };
    for resource in ["cpu", "memory", "storage", "ephemeral-storage"] {
        let (requests, limits) = (format!("requests.{resource}"), format!("limits.{resource}"));
        let bare = ["cpu", "memory"].contains(&resource);
        let request = amount(&requests).map(|it| (requests.as_str(), it));
        let request = request.or_else(|| amount(resource).filter(|_| bare).map(|it| (resource, it)));
        if let (Some((name, (shown, request))), Some((most, limit))) = (request, amount(&limits))
            && request > limit
        {
            warnings.push(format!("ResourceQuota {name} ({shown}) should be less than {limits} ({most})"));
        }
    }
}

fn csi_driver(spec: &Value, old: &Value, warnings: &mut Vec<String>) {
    let requests = &spec["tokenRequests"];
    let is_unset = spec["serviceAccountTokenInSecrets"].is_null();
    if !items(requests).is_empty() && *requests != old["tokenRequests"] && is_unset {
        warnings.push(
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging \
             of tokens in volume attributes"
                .to_owned(),
        );
    }
}

fn node(spec: &Value, warnings: &mut Vec<String>) {
    if !spec["configSource"].is_null() {
        warnings.push("spec.configSource: the feature is removed".to_owned());
    }
    if !text(spec, "externalID").is_empty() {
        let why = "spec.externalID: this field is deprecated, and is unused by Kubernetes";
        warnings.push(why.to_owned());
    }
    for (index, network) in items(&spec["podCIDRs"]).iter().enumerate() {
        addresses::network(network, &format!("spec.podCIDRs[{index}]"), warnings);
    }
}

fn service(service: &Value, warnings: &mut Vec<String>) {
    let spec = &service["spec"];
    if has_annotation(service, "service.kubernetes.io/topology-aware-hints") {
        warnings.push(
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode \
             instead"
                .to_owned(),
        );
    }
    let external_ips = items(&spec["externalIPs"]);
    let is_external_name = spec["type"] == "ExternalName";
    let is_headless = spec["type"] == "ClusterIP" && spec["clusterIP"] == "None";
    if !matches!(text(spec, "clusterIP"), "" | "None") {
        for (index, address) in items(&spec["clusterIPs"]).iter().enumerate() {
            addresses::ip(address, &format!("spec.clusterIPs[{index}]"), warnings);
        }
    }
    if is_headless {
        for (is_ignored, field) in [
            (!text(spec, "loadBalancerIP").is_empty(), "loadBalancerIP"),
            (!external_ips.is_empty(), "externalIPs"),
            (spec["sessionAffinity"] != "None", "SessionAffinity"),
        ] {
            if is_ignored {
                warnings.push(format!("spec.{field} is ignored for headless services"));
            }
        }
    }
    for (index, address) in external_ips.iter().enumerate() {
        addresses::ip(address, &format!("spec.externalIPs[{index}]"), warnings);
    }
    if !external_ips.is_empty() && !is_headless && !is_external_name {
        let why = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
        warnings.push(why.to_owned());
    }
    addresses::ip(&spec["loadBalancerIP"], "spec.loadBalancerIP", warnings);
    for (index, network) in items(&spec["loadBalancerSourceRanges"]).iter().enumerate() {
        addresses::network(network, &format!("spec.loadBalancerSourceRanges[{index}]"), warnings);
    }
    if is_external_name && !external_ips.is_empty() {
        warnings.push(r#"spec.externalIPs is ignored when spec.type is "ExternalName""#.to_owned());
    }
    if !is_external_name && !text(spec, "externalName").is_empty() {
        warnings.push(r#"spec.externalName is ignored when spec.type is not "ExternalName""#.to_owned());
    }
    if spec["trafficDistribution"] == "PreferClose" {
        let why = r#"spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#;
        warnings.push(why.to_owned());
    }
}

fn volume(volume: &Value, warnings: &mut Vec<String>) {
    let spec = &volume["spec"];
    for (annotation, why) in [
        (CLASS, CLASS_DEPRECATED),
        (
            "volume.beta.kubernetes.io/mount-options",
            r#"deprecated since v1.31; use "mountOptions" attribute instead"#,
        ),
    ] {
        if has_annotation(volume, annotation) {
            warnings.push(format!("metadata.annotations[{annotation}]: {why}"));
        }
    }
    if spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to \
             use dynamic provisioning."
                .to_owned(),
        );
    }
    let path = "spec.nodeAffinity.required.nodeSelectorTerms";
    for (index, term) in items(&spec["nodeAffinity"]["required"]["nodeSelectorTerms"]).iter().enumerate() {
        expressions(term, &format!("{path}[{index}]"), false, warnings);
    }
    for (source, why) in [
        ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if !spec[source].is_null() {
            let shown = if source == "storageos" { "storageOS" } else { source };
            warnings.push(format!("spec.{shown}: {why}"));
        }
    }
}
