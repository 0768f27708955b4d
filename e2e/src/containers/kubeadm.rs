//! kubeadm's configuration for a node in a container, as kind writes it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// The address range of pods.
pub(crate) const POD_SUBNET: &str = "10.244.0.0/16";
/// The address range of Services.
pub(crate) const SERVICE_SUBNET: &str = "10.96.0.0/16";

/// The oldest and the newest supported minor version of Kubernetes: those that k8s-openapi supports.
pub(crate) const SUPPORTED: std::ops::RangeInclusive<u32> = 33..=37;

/// The properties of the node that the configuration depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) address: String,
    /// As in `/kind/version`: `v1.37.0`.
    pub(crate) version: String,
    pub(crate) cgroup_v1: bool,
}

/// Returns the configuration's documents as JSON, separated as in YAML.
///
/// # Errors
/// Fails if the version is not one of Kubernetes 1.33 to 1.37.
pub(crate) fn config(machine: &Machine) -> Result<String> {
    let Machine { cluster, name, address, version, cgroup_v1 } = machine;
    let minor = minor(version)?;
    ensure!(
        SUPPORTED.contains(&minor),
        "the image has Kubernetes {version}: 1.{} to 1.{} are supported",
        SUPPORTED.start(),
        SUPPORTED.end()
    );
    let api_version = if minor >= 36 { "kubeadm.k8s.io/v1beta4" } else { "kubeadm.k8s.io/v1beta3" };
    let kubelet_arguments =
        json!({"node-ip": address, "provider-id": format!("kind://docker/{cluster}/{name}")});
    let of_cluster = json!({
        "apiVersion": api_version,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": version,
        "clusterName": cluster,
        // kind uses the name here, which the engine's default network would not resolve.
        "controlPlaneEndpoint": format!("{address}:6443"),
        "apiServer": {"certSANs": ["localhost", "127.0.0.1", address]},
        "controllerManager": {"extraArgs": arguments(minor, &json!({"enable-hostpath-provisioner": "true"}))},
        "networking": {"podSubnet": POD_SUBNET, "serviceSubnet": SERVICE_SUBNET},
    });
    let init = json!({
        "apiVersion": api_version,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": address, "bindPort": 6443},
        "nodeRegistration": {
            "criSocket": "unix:///run/containerd/containerd.sock",
            "kubeletExtraArgs": arguments(minor, &kubelet_arguments),
        },
    });
    let mut kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "cgroupRoot": "/kubelet",
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
    });
    // From 1.35 on the kubelet refuses to run on cgroup v1 unless this is set.
    if *cgroup_v1 {
        kubelet["failCgroupV1"] = json!(false);
    }
    let proxy = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "iptables": {"minSyncPeriod": "1s"},
        // The limits of nf_conntrack belong to the host, and are read-only here.
        "conntrack": {"maxPerCore": 0},
    });
    let documents = [of_cluster, init, kubelet, proxy].map(|document| format!("{document:#}\n"));
    Ok(documents.join("---\n"))
}

/// Converts extra arguments of a component: they are a list in v1beta4, and a map before.
fn arguments(minor: u32, arguments: &Value) -> Value {
    match arguments.as_object() {
        Some(map) if minor >= 36 => {
            map.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        }
        _ => arguments.clone(),
    }
}

/// Returns the minor version: 37 for `v1.37.0`.
pub(crate) fn minor(version: &str) -> Result<u32> {
    let parts = version.trim_start_matches('v').strip_prefix("1.");
    let minor =
        parts.and_then(|rest| rest.split(['.', '-', '+']).next()).and_then(|minor| minor.parse().ok());
    minor.with_context(|| format!("{version:?} is not a version of Kubernetes such as v1.37.0"))
}
