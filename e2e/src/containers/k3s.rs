//! A single-node k3s cluster, for comparison with kind: another distribution of the same API.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::config::Kubeconfig;

use super::{
    kubeadm,
    node::{Node, run},
    settings::{Keep, Settings},
};
use crate::eventually;

/// How long k3s may take to write its kubeconfig, and then for its node to become Ready.
const READY: Duration = Duration::from_secs(180);

/// Known releases, by the minor version of Kubernetes.
const IMAGES: [(u32, &str); 2] = [(33, "rancher/k3s:v1.33.13-k3s2"), (37, "rancher/k3s:v1.37.1-k3s1")];

/// Returns the image for a Kubernetes version: `1.33` and `1.37` select a known release, `1.35.8` the first k3s build of
/// that version.
///
/// # Errors
/// Fails if the version is malformed or not supported, or if it is a minor version without a known release.
pub(crate) fn image(version: Option<&str>) -> Result<String> {
    let version = version.unwrap_or("1.37").trim_start_matches('v');
    let minor = kubeadm::minor(version)?;
    let (oldest, newest) = (kubeadm::SUPPORTED.start(), kubeadm::SUPPORTED.end());
    anyhow::ensure!(
        kubeadm::SUPPORTED.contains(&minor),
        "Kubernetes {version} is not supported: 1.{oldest} to 1.{newest} are"
    );
    if version != format!("1.{minor}") {
        return Ok(format!("rancher/k3s:v{version}-k3s1"));
    }
    let known = IMAGES.iter().find(|(of, _)| *of == minor).map(|(_, image)| (*image).to_owned());
    known.with_context(|| {
        format!("no release of k3s is known for {version}: name a version such as {version}.1")
    })
}

/// Returns the container's settings: without folders of the host, and without components that the tests do not use.
pub(crate) fn settings(cluster: &str, image: &str, keep: Keep<'_>) -> Settings {
    let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Settings {
        image: image.to_owned(),
        name: cluster.to_owned(),
        labels: keep.labels(&[("e2e.kept", cluster)]),
        env: Vec::new(),
        arguments: text(&["server", "--disable=traefik,servicelb,metrics-server", "--tls-san=127.0.0.1"]),
        tmpfs: text(&["/run", "/tmp"]),
        volumes: text(&["/var/lib/rancher/k3s", "/var/lib/kubelet", "/var/lib/cni"]),
        host_folders: Vec::new(),
        security: text(&["seccomp=unconfined", "apparmor=unconfined"]),
        port: 6443,
    }
}

/// Waits until the cluster in a container that was just started is ready.
///
/// # Errors
/// Fails if it takes too long.
pub(crate) async fn bring_up(node: &impl Node, port: u16, say: impl Fn(&str)) -> Result<Kubeconfig> {
    let written = eventually(READY, || run(node, &["cat", "/etc/rancher/k3s/k3s.yaml"])).await;
    let written = written.context("k3s has written no kubeconfig")?;
    let mut kubeconfig = Kubeconfig::from_yaml(&written).context("k3s's kubeconfig")?;
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some(format!("https://127.0.0.1:{port}"));
    }
    say("k3s answers");
    // The node registers itself a little later. Until then, `kubectl wait` fails, and is retried.
    let ready = ["kubectl", "wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"];
    eventually(READY, || run(node, &ready)).await.context("the node is not Ready")?;
    let account = ["kubectl", "--namespace=default", "get", "serviceaccount", "default"];
    eventually(READY, || run(node, &account)).await.context("no default ServiceAccount")?;
    say("the node is Ready");
    Ok(kubeconfig)
}

/// Loads an image archive, as the engine saves it, into k3s's containerd.
///
/// # Errors
/// Fails if containerd does not accept it.
pub(crate) async fn load_image(node: &impl Node, archive: &[u8]) -> Result<()> {
    let file = "/var/lib/rancher/k3s/image.tar";
    node.upload(file, archive).await.context("copy the image")?;
    run(node, &["ctr", "--namespace=k8s.io", "images", "import", file])
        .await
        .context("containerd does not accept the image")?;
    run(node, &["rm", file]).await.map(drop)
}

#[cfg(test)]
mod tests;
