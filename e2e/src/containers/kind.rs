//! A single-node kind cluster: the steps of kind's command between `docker run` and `Ready`, in the same order.
//!
//! It follows kind's sources: `pkg/cluster/internal/providers/docker/provision.go` (how the container is started),
//! `pkg/cluster/internal/kubeadm/config.go` (the configuration), `pkg/cluster/internal/create/actions` (the steps); last
//! compared with v0.33.0. It leaves out a separate network (there is only one node), proxies (the node pulls nothing),
//! support for rootless engines, user namespaces, Btrfs and ZFS, a restart with the engine, and `CONTROL_PLANE_ENDPOINT` for
//! kindnet, which without it finds the API server as soon as kube-proxy runs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::config::Kubeconfig;

use super::{
    kubeadm::{self, Machine, POD_SUBNET},
    node::{Node, run},
    settings::{Keep, Settings},
};
use crate::eventually;

/// How long systemd may take to boot the node.
const BOOT: Duration = Duration::from_secs(60);
/// How long the node may take to become Ready once kubeadm is done.
const READY: Duration = Duration::from_secs(180);

/// kind's images for the supported Kubernetes versions, as listed in its release notes (v0.32 for 1.33, v0.33 for the
/// others). They are pinned by digest, because a tag may be moved to another build.
const IMAGES: [(u32, &str); 5] = [
    (33, "kindest/node:v1.33.12@sha256:3f5c8443c620245e4d355cfe09e96a91ead32ceaa569d3f1ca9edf0cb2fe2ff4"),
    (34, "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"),
    (35, "kindest/node:v1.35.8@sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0"),
    (36, "kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"),
    (37, "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"),
];

/// Where the API server is reached, from outside and from inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The container's name.
    pub(crate) name: String,
    /// The container's address in the engine's network.
    pub(crate) address: String,
    /// The port on 127.0.0.1 that is published for 6443.
    pub(crate) port: u16,
    pub(crate) cgroup_v1: bool,
}

/// Returns the image for a Kubernetes version: `1.37` selects the image that kind released, `v1.37.2` the image with that
/// tag.
///
/// # Errors
/// Fails if the version is malformed or not supported.
pub(crate) fn image(version: Option<&str>) -> Result<String> {
    let newest = format!("1.{}", kubeadm::SUPPORTED.end());
    let version = version.unwrap_or(&newest).trim_start_matches('v');
    let minor = kubeadm::minor(version)?;
    let released = IMAGES.iter().find(|(of, _)| *of == minor).map(|(_, image)| *image);
    let released = released.with_context(|| {
        let (oldest, newest) = (kubeadm::SUPPORTED.start(), kubeadm::SUPPORTED.end());
        format!("Kubernetes {version} is not supported: 1.{oldest} to 1.{newest} are")
    })?;
    let is_released = released.contains(&format!(":v{version}@"));
    Ok(if version == format!("1.{minor}") || is_released {
        released.to_owned()
    } else {
        format!("kindest/node:v{version}")
    })
}

/// Returns the settings of the node's container. A cluster that is kept carries kind's own labels, so that
/// `kind get clusters` and `kind delete cluster` find it.
pub(crate) fn settings(cluster: &str, image: &str, keep: Keep<'_>, host_has_modules: bool) -> Settings {
    let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Settings {
        image: image.to_owned(),
        name: node_name(cluster),
        labels: keep.labels(&[("io.x-k8s.kind.cluster", cluster), ("io.x-k8s.kind.role", "control-plane")]),
        env: vec![("KUBECONFIG".to_owned(), "/etc/kubernetes/admin.conf".to_owned())],
        arguments: Vec::new(),
        tmpfs: text(&["/run", "/tmp"]),
        volumes: text(&["/var"]),
        // If the host did not have the folder, the engine would create it.
        host_folders: if host_has_modules { text(&["/lib/modules"]) } else { Vec::new() },
        security: text(&["seccomp=unconfined", "apparmor=unconfined"]),
        port: 6443,
    }
}

/// Returns kind's name for the only node of a cluster.
pub(crate) fn node_name(cluster: &str) -> String {
    format!("{cluster}-control-plane")
}

/// Sets up the cluster in a container that was just started, and waits until its node is Ready. Reports each step to `say`.
///
/// # Errors
/// Fails if a step fails or takes too long. The message names the step.
pub(crate) async fn bring_up(node: &impl Node, place: &Place, say: impl Fn(&str)) -> Result<Kubeconfig> {
    // Without a terminal systemd prints nothing, so its state is polled. The first attempts may fail, because systemd does
    // not run yet.
    eventually(BOOT, || run(node, &["systemctl", "is-active", "multi-user.target"]))
        .await
        .context("the node does not boot")?;
    say("the node has booted");

    let version = run(node, &["cat", "/kind/version"]).await.context("is it a node image?")?;
    let machine = Machine {
        cluster: place.cluster.clone(),
        name: place.name.clone(),
        address: place.address.clone(),
        version: version.trim().to_owned(),
        cgroup_v1: place.cgroup_v1,
    };
    node.upload("/kind/kubeadm.conf", kubeadm::config(&machine)?.as_bytes())
        .await
        .context("write kubeadm's configuration")?;
    // The preflight checks would inspect the host rather than the node: swap, modules, cgroups.
    let init =
        ["kubeadm", "init", "--config=/kind/kubeadm.conf", "--skip-phases=preflight", "--skip-token-print"];
    run(node, &init).await.context("kubeadm failed")?;
    say("kubeadm is done");

    let network = run(node, &["cat", "/kind/manifests/default-cni.yaml"]).await?;
    node.upload("/kind/network.yaml", with_pod_subnet(&network).as_bytes())
        .await
        .context("write the pod network's manifest")?;
    run(node, &["kubectl", "apply", "--filename=/kind/network.yaml"]).await.context("no pod network")?;
    run(node, &["kubectl", "apply", "--filename=/kind/manifests/default-storage.yaml"])
        .await
        .context("no default storage")?;
    // The only node has to run everything.
    let taint = "node-role.kubernetes.io/control-plane-";
    run(node, &["kubectl", "taint", "nodes", "--all", taint]).await.context("the taint stays")?;
    let label = "node.kubernetes.io/exclude-from-external-load-balancers-";
    run(node, &["kubectl", "label", "nodes", "--all", label]).await.context("the label stays")?;

    let admin = run(node, &["cat", "/etc/kubernetes/admin.conf"]).await.context("no kubeconfig")?;
    let kubeconfig = from_outside(&admin, place.port)?;
    let limit = format!("--timeout={}s", READY.as_secs());
    run(node, &["kubectl", "wait", "--for=condition=Ready", "node", "--all", &limit])
        .await
        .context("the node is not Ready")?;
    let account = ["kubectl", "--namespace=default", "get", "serviceaccount", "default"];
    eventually(READY, || run(node, &account)).await.context("no default ServiceAccount")?;
    say("the node is Ready");
    Ok(kubeconfig)
}

/// Loads an image archive, as the engine saves it, into the node's containerd.
///
/// # Errors
/// Fails if containerd does not accept it.
pub(crate) async fn load_image(node: &impl Node, archive: &[u8]) -> Result<()> {
    // `Node::exec` provides no stdin, so the archive goes through a file.
    let file = "/kind/image.tar";
    node.upload(file, archive).await.context("copy the image")?;
    let configuration = run(node, &["containerd", "config", "dump"]).await?;
    let snapshotter = format!("--snapshotter={}", snapshotter(&configuration));
    let import =
        ["ctr", "--namespace=k8s.io", "images", "import", "--all-platforms", "--digests", &snapshotter, file];
    run(node, &import).await.context("containerd does not accept the image")?;
    run(node, &["rm", file]).await.map(drop)
}

/// Returns the snapshotter for the images of pods from containerd's configuration. The dump is sorted alphabetically: the
/// snapshotter for images comes first, and those of the runtimes, which are mostly empty, later.
fn snapshotter(configuration: &str) -> &str {
    let named = configuration.lines().filter_map(|line| line.trim().strip_prefix("snapshotter = "));
    let mut names = named.map(|name| name.trim_matches(['"', '\'']));
    names.find(|name| !name.is_empty()).unwrap_or("overlayfs")
}

/// Renders the manifest, a Go template with this one variable.
fn with_pod_subnet(manifest: &str) -> String {
    manifest.replace("{{ .PodSubnet }}", POD_SUBNET).replace("{{.PodSubnet}}", POD_SUBNET)
}

/// Parses the administrator's kubeconfig, and replaces the server by the address that the engine has published.
fn from_outside(kubeconfig: &str, port: u16) -> Result<Kubeconfig> {
    let mut kubeconfig = Kubeconfig::from_yaml(kubeconfig).context("the node's kubeconfig")?;
    ensure!(
        kubeconfig.clusters.len() == 1,
        "the node's kubeconfig has {} clusters",
        kubeconfig.clusters.len()
    );
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some(format!("https://127.0.0.1:{port}"));
    }
    Ok(kubeconfig)
}

#[cfg(test)]
mod tests;
