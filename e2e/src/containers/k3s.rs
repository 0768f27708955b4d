//! A k3s cluster of one node, for comparison with kind: another distribution, the same API.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::config::Kubeconfig;

use super::{
    kubeadm,
    node::{Node, run},
    settings::{Keep, Settings},
};
use crate::eventually;

/// How long k3s may take until it has written its kubeconfig, and until its node is Ready.
const READY: Duration = Duration::from_secs(180);

/// Releases by the minor version of Kubernetes.
const IMAGES: [(u32, &str); 2] = [(33, "rancher/k3s:v1.33.13-k3s2"), (37, "rancher/k3s:v1.37.1-k3s1")];

/// The image of a Kubernetes version: `1.33` and `1.37` mean a release that is known, `1.35.8` its first build.
///
/// # Errors
/// When the version is none, is not supported, or is a minor one of which no release is known.
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

/// How the container is started: with no folder of the host, and without what the tests do not use.
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

/// Waits until a container that was just started is a cluster.
///
/// # Errors
/// When it takes too long.
pub(crate) async fn bring_up(node: &impl Node, port: u16, say: impl Fn(&str)) -> Result<Kubeconfig> {
    let written = eventually(READY, || run(node, &["cat", "/etc/rancher/k3s/k3s.yaml"])).await;
    let written = written.context("k3s has written no kubeconfig")?;
    let mut kubeconfig = Kubeconfig::from_yaml(&written).context("k3s's kubeconfig")?;
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some(format!("https://127.0.0.1:{port}"));
    }
    say("k3s answers");
    // The node registers itself a little later; there is nothing to wait for before.
    let ready = ["kubectl", "wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"];
    eventually(READY, || run(node, &ready)).await.context("the node is not Ready")?;
    let account = ["kubectl", "--namespace=default", "get", "serviceaccount", "default"];
    eventually(READY, || run(node, &account)).await.context("no default ServiceAccount")?;
    say("the node is Ready");
    Ok(kubeconfig)
}

/// Loads an image, as the engine saves it, into k3s's containerd.
///
/// # Errors
/// When containerd does not take it.
pub(crate) async fn load_image(node: &impl Node, archive: &[u8]) -> Result<()> {
    let file = "/var/lib/rancher/k3s/image.tar";
    node.upload(file, archive).await.context("copy the image")?;
    run(node, &["ctr", "--namespace=k8s.io", "images", "import", file])
        .await
        .context("containerd does not take the image")?;
    run(node, &["rm", file]).await.map(drop)
}

#[cfg(test)]
mod tests;
