//! kubeadm's configuration for a node in a container, as kind writes it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// The addresses of pods.
pub(crate) const POD_SUBNET: &str = "10.244.0.0/16";
/// The addresses of Services.
pub(crate) const SERVICE_SUBNET: &str = "10.96.0.0/16";

/// The oldest Kubernetes that is supported, and the newest: those that k8s-openapi knows.
pub(crate) const SUPPORTED: std::ops::RangeInclusive<u32> = 33..=37;

/// What the configuration tells about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) address: String,
    /// As `/kind/version` has it: `v1.37.0`.
    pub(crate) version: String,
    pub(crate) cgroup_v1: bool,
}

/// The documents, divided as in YAML; each is JSON.
///
/// # Errors
/// When the version is not one of Kubernetes 1.33 to 1.37.
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
        // kind has the name here, which the engine's own network would not resolve.
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
    // From 1.35 on the kubelet refuses cgroup v1 unless it is told to run there.
    if *cgroup_v1 {
        kubelet["failCgroupV1"] = json!(false);
    }
    let proxy = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "iptables": {"minSyncPeriod": "1s"},
        // The limits of nf_conntrack are the host's, and read-only here.
        "conntrack": {"maxPerCore": 0},
    });
    let documents = [of_cluster, init, kubelet, proxy].map(|document| format!("{document:#}\n"));
    Ok(documents.join("---\n"))
}

/// Extra arguments of a component: a list in v1beta4, a map before.
fn arguments(minor: u32, arguments: &Value) -> Value {
    match arguments.as_object() {
        Some(map) if minor >= 36 => {
            map.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        }
        _ => arguments.clone(),
    }
}

/// The 37 of `v1.37.0`.
pub(crate) fn minor(version: &str) -> Result<u32> {
    let parts = version.trim_start_matches('v').strip_prefix("1.");
    let minor =
        parts.and_then(|rest| rest.split(['.', '-', '+']).next()).and_then(|minor| minor.parse().ok());
    minor.with_context(|| format!("{version:?} is not a version of Kubernetes such as v1.37.0"))
}
