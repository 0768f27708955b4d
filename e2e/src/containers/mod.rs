//! Clusters in containers of a Docker engine: kind and k3s, without their command-line tools.
//!
//! The steps inside a container are written against [`node::Node`], and tested with a recording implementation. The
//! container's settings are plain data, [`settings::Settings`]. [`engine`] is the imperative shell that drives both.

mod engine;
mod k3s;
mod kind;
mod kubeadm;
mod logs;
mod node;
#[cfg(test)]
mod recording;
mod settings;

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::config::Kubeconfig;

pub use engine::Engine;

use engine::Container;
use kind::Place;
use settings::Keep;

use crate::Owner;

/// The distribution of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// `kindest/node`.
    Kind,
    /// `rancher/k3s`.
    K3s,
}

/// A cluster that has not been started yet.
#[derive(Debug, Clone)]
pub struct Plan {
    distribution: Distribution,
    cluster: String,
    image: String,
    keep: bool,
}

/// A running node. It is removed by [`Engine::remove`], or, once its owner has ended, by [`Engine::sweep`].
pub struct RunningNode {
    plan: Plan,
    container: Container,
}

impl Plan {
    /// Plans a cluster, whose name must be unique; `image` takes precedence over `kubernetes`.
    ///
    /// # Errors
    /// Fails if there is no image for that Kubernetes version.
    pub fn new(
        distribution: Distribution,
        cluster: &str,
        image: Option<String>,
        kubernetes: Option<&str>,
        keep: bool,
    ) -> Result<Plan> {
        let image = match (image, distribution) {
            (Some(image), _) => image,
            (None, Distribution::Kind) => kind::image(kubernetes)?,
            (None, Distribution::K3s) => k3s::image(kubernetes)?,
        };
        Ok(Plan { distribution, cluster: cluster.to_owned(), image, keep })
    }

    /// Returns the image of the node.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Returns the name of the node's container.
    pub fn container(&self) -> String {
        match self.distribution {
            Distribution::Kind => kind::node_name(&self.cluster),
            Distribution::K3s => self.cluster.clone(),
        }
    }

    /// Starts the node's container, in which the cluster is not set up yet. The image must be present
    /// ([`Engine::pull_missing`]).
    ///
    /// # Errors
    /// Fails if the engine refuses, or takes longer than a minute.
    pub async fn start(self, engine: &Engine, owner: &Owner) -> Result<RunningNode> {
        let label = owner.label();
        let keep = if self.keep { Keep::Kept } else { Keep::Owned(&label) };
        let settings = match self.distribution {
            Distribution::Kind => {
                kind::settings(&self.cluster, &self.image, keep, Path::new("/lib/modules").is_dir())
            }
            Distribution::K3s => k3s::settings(&self.cluster, &self.image, keep),
        };
        let container = engine.start(&settings).await?;
        Ok(RunningNode { plan: self, container })
    }
}

impl RunningNode {
    /// Returns the distribution's name.
    pub fn distribution(&self) -> &'static str {
        match self.plan.distribution {
            Distribution::Kind => "kind",
            Distribution::K3s => "k3s",
        }
    }

    /// Sets up the cluster, and waits until its node is Ready. Reports each step to `say`.
    ///
    /// # Errors
    /// Fails if a step fails or takes too long.
    pub async fn bring_up(&self, engine: &Engine, say: impl Fn(&str)) -> Result<Kubeconfig> {
        match self.plan.distribution {
            Distribution::Kind => {
                let place = Place {
                    cluster: self.plan.cluster.clone(),
                    name: self.plan.container(),
                    address: self.container.address.clone(),
                    port: self.container.port,
                    cgroup_v1: engine.has_cgroup_v1(),
                };
                kind::bring_up(&self.container, &place, say).await
            }
            Distribution::K3s => k3s::bring_up(&self.container, self.container.port, say).await,
        }
    }

    /// Loads an image that [`Engine::build_image`] returned onto the node.
    ///
    /// # Errors
    /// Fails if the node's containerd does not accept it.
    pub async fn load_image(&self, archive: &[u8]) -> Result<()> {
        match self.plan.distribution {
            Distribution::Kind => kind::load_image(&self.container, archive).await,
            Distribution::K3s => k3s::load_image(&self.container, archive).await,
        }
    }

    /// Writes the journal and the logs of the kubelet and of pods to a new folder.
    ///
    /// # Errors
    /// Fails if the folder cannot be written to.
    pub async fn collect_logs(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        logs::collect(&self.container, folder).await
    }

    /// Returns the commands that remove a cluster that is kept. Each of them is sufficient.
    pub fn removal(&self) -> Vec<String> {
        let by_docker = format!("docker rm --force --volumes {}", self.plan.container());
        match self.plan.distribution {
            Distribution::Kind => {
                vec![format!("kind delete cluster --name {}", self.plan.cluster), by_docker]
            }
            Distribution::K3s => vec![by_docker],
        }
    }
}
