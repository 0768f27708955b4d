//! The Docker engine. Containers are started through testcontainers; what it does not support (copying into a running
//! container, building and saving images, finding leftovers of other runs) uses the engine's API directly.

use std::{collections::HashMap, mem::ManuallyDrop, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt as _,
    bollard::{
        self, Docker,
        errors::Error as DockerError,
        models::{HostConfig, Mount, MountType, PortBinding, SystemInfoCgroupVersionEnum},
        query_parameters::{
            BuildImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
            RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, UploadToContainerOptionsBuilder,
        },
    },
    core::{CgroupnsMode, ExecCommand, IntoContainerPort as _, client::docker_client_instance},
    runners::AsyncRunner as _,
};
use tokio::time::timeout;
use tokio_tar::{Builder, Header};

use super::{
    node::Node,
    settings::{OWNER_LABEL, Settings, split_image},
};
use crate::{
    eventually,
    owner::{self, Owner},
    program::Output,
};

/// How long a command in a container may run. kubeadm itself gives up sooner.
const LIMIT: Duration = Duration::from_secs(600);

/// A connection to a Docker engine.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    cgroup_v1: bool,
}

/// A running container. It is removed by [`Engine::remove`], or, once its owner has ended, by the next run's
/// [`Engine::sweep`].
pub(crate) struct Container {
    /// Never dropped: its destructor would block the thread that listens for signals, and remove containers that are to be
    /// kept.
    inner: ManuallyDrop<ContainerAsync<GenericImage>>,
    docker: Docker,
    /// Its address in the engine's network.
    pub(crate) address: String,
    /// Its published port on 127.0.0.1.
    pub(crate) port: u16,
}

impl Engine {
    /// Connects to the engine that `DOCKER_HOST` names, or else to the one on the usual sockets.
    ///
    /// # Errors
    /// Fails if no engine answers. The message says what to do about it.
    pub async fn connect() -> Result<Engine> {
        let advice = "no Docker engine answers: start one, or let DOCKER_HOST name it (`--cluster embedded` needs none)";
        let docker = docker_client_instance().await.context(advice)?;
        let info = docker.info().await.context(advice)?;
        Ok(Engine { docker, cgroup_v1: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1) })
    }

    /// Reports whether containers use cgroup v1.
    pub(crate) fn has_cgroup_v1(&self) -> bool {
        self.cgroup_v1
    }

    /// Removes the containers and images of owners that have ended without removing them, for example after SIGKILL.
    /// Returns their names.
    ///
    /// # Errors
    /// Fails if the engine refuses.
    pub async fn sweep(&self) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![OWNER_LABEL])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.docker.list_containers(Some(options)).await.context("list the containers")?;
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = self.docker.list_images(Some(options)).await.context("list the images")?;
        let is_left = |labels: &HashMap<String, String>| {
            labels.get(OWNER_LABEL).is_some_and(|owner| owner::is_gone(owner))
        };
        let mut swept = Vec::new();
        for container in containers {
            if is_left(&container.labels.unwrap_or_default()) {
                let id = container.id.unwrap_or_default();
                self.remove(&id).await?;
                let names = container.names.unwrap_or_default();
                swept.push(names.first().map_or(id, |name| name.trim_start_matches('/').to_owned()));
            }
        }
        for image in images {
            if is_left(&image.labels) {
                self.remove_image(&image.id).await?;
                swept.push(image.repo_tags.into_iter().next().unwrap_or(image.id));
            }
        }
        Ok(swept)
    }

    /// Removes a container and its volumes, whether it runs or not. It is not an error if it does not exist.
    ///
    /// # Errors
    /// Fails if the engine refuses.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        // If another process is already removing it, this is retried until it is gone.
        eventually(Duration::from_secs(30), || async {
            match self.docker.remove_container(name, Some(options.clone())).await {
                Ok(()) | Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
                Err(error) => Err(error).with_context(|| format!("remove the container {name}")),
            }
        })
        .await
    }

    /// Pulls an image if it is missing, and returns whether it did so.
    ///
    /// # Errors
    /// Fails if the image cannot be pulled.
    pub async fn pull_missing(&self, image: &str) -> Result<bool> {
        match self.docker.inspect_image(image).await {
            Ok(_) => return Ok(false),
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(error).with_context(|| format!("look for the image {image}")),
        }
        let (repository, tag) = split_image(image);
        let pulled = GenericImage::new(repository, tag).pull_image().await;
        pulled.map(|_| true).with_context(|| {
            format!("pull {image}: if that is not possible here, use --image to name a local image or one that can be pulled")
        })
    }

    /// Removes an image. It is not an error if it does not exist.
    ///
    /// # Errors
    /// Fails if the engine refuses.
    pub async fn remove_image(&self, name: &str) -> Result<()> {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        match self.docker.remove_image(name, Some(options), None).await {
            Ok(_) | Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("remove the image {name}")),
        }
    }

    /// Builds an image from files, which must include `Containerfile`, and returns it as an archive, as `docker save` does.
    /// The image is then removed from the engine.
    ///
    /// # Errors
    /// Fails if the engine refuses.
    pub async fn build_image(&self, owner: &Owner, tag: &str, files: &[(&str, &Path)]) -> Result<Vec<u8>> {
        let mut context = Builder::new(Vec::new());
        for (name, path) in files {
            let added = context.append_path_with_name(path, name).await;
            added.with_context(|| format!("read {}", path.display()))?;
        }
        let context = context.into_inner().await.context("write the build's context")?;
        let labels = HashMap::from([(OWNER_LABEL, owner.label())]);
        let options = BuildImageOptionsBuilder::new().dockerfile("Containerfile").t(tag).labels(&labels);
        let options = options.rm(true).forcerm(true).build();
        let mut steps = self.docker.build_image(options, None, Some(bollard::body_full(context.into())));
        while let Some(step) = steps.next().await {
            let failed = step.with_context(|| format!("build the image {tag}"))?.error_detail;
            if let Some(message) = failed.and_then(|detail| detail.message) {
                return Err(anyhow!(message).context(format!("build the image {tag}")));
            }
        }
        let archive = self.docker.export_image(tag).map_ok(|chunk| chunk.to_vec()).try_concat().await;
        // The image is not needed once it is saved.
        let removed = self.remove_image(tag).await;
        let archive = archive.with_context(|| format!("save the image {tag}"))?;
        removed?;
        Ok(archive)
    }

    /// Starts a container. Its image must be present.
    pub(crate) async fn start(&self, settings: &Settings) -> Result<Container> {
        let Settings { image, name, port, .. } = settings;
        let (repository, tag) = split_image(image);
        let host = host_config(settings);
        let mut request = GenericImage::new(repository, tag)
            .with_exposed_port(port.tcp())
            .with_container_name(name)
            .with_hostname(name)
            .with_privileged(true)
            .with_cgroupns_mode(CgroupnsMode::Private)
            .with_labels(&settings.labels)
            .with_cmd(settings.arguments.clone())
            .with_host_config_modifier(move |config| host.clone().apply(config));
        for security in &settings.security {
            request = request.with_security_opt(security);
        }
        for (name, value) in &settings.env {
            request = request.with_env_var(name, value);
        }
        let inner = request.start().await.with_context(|| format!("start {image}"))?;
        let id = inner.id().to_owned();
        let inspected = self.docker.inspect_container(&id, None).await.context("inspect the container")?;
        let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address =
            networks.into_values().filter_map(|network| network.ip_address).find(|it| !it.is_empty());
        let address = address.context("the engine gave the container no address")?;
        let port = inner.get_host_port_ipv4(port.tcp()).await.context("the engine published no port")?;
        Ok(Container { inner: ManuallyDrop::new(inner), docker: self.docker.clone(), address, port })
    }
}

impl Node for Container {
    async fn exec(&self, command: &[&str]) -> Result<Output> {
        timeout(LIMIT, self.exec_to_end(command))
            .await
            .with_context(|| format!("not done within {LIMIT:?}"))?
    }

    async fn upload(&self, path: &str, content: &[u8]) -> Result<()> {
        let (folder, name) = path.rsplit_once('/').context("a path has a folder")?;
        ensure!(!name.is_empty(), "{path} names no file");
        let mut header = Header::new_gnu();
        header.set_size(content.len().try_into()?);
        header.set_mode(0o600);
        let mut archive = Builder::new(Vec::new());
        archive.append_data(&mut header, name, content).await?;
        let archive = archive.into_inner().await?;
        let options = UploadToContainerOptionsBuilder::new().path(folder).build();
        let upload = self.docker.upload_to_container(
            self.inner.id(),
            Some(options),
            bollard::body_full(archive.into()),
        );
        upload.await.with_context(|| format!("copy {path} into the container"))
    }
}

impl Container {
    async fn exec_to_end(&self, command: &[&str]) -> Result<Output> {
        let mut running = self.inner.exec(ExecCommand::new(command.iter().copied())).await?;
        let stdout = running.stdout_to_vec().await?;
        let stderr = running.stderr_to_vec().await?;
        // The engine reports the exit code a moment after the end of the output.
        let code = eventually(Duration::from_secs(10), || async {
            running.exit_code().await?.context("the command has closed its output and still runs")
        });
        Ok(Output {
            code: i32::try_from(code.await?).ok(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }
}

/// The settings for which testcontainers has no method, or a different default.
#[derive(Clone)]
struct HostSettings {
    tmpfs: HashMap<String, String>,
    mounts: Vec<Mount>,
    ports: HashMap<String, Option<Vec<PortBinding>>>,
}

fn host_config(settings: &Settings) -> HostSettings {
    // An anonymous volume, without a source: a named volume would not be removed with the container.
    let volume = |target: &String| Mount {
        typ: Some(MountType::VOLUME),
        target: Some(target.clone()),
        ..Mount::default()
    };
    let bind = |path: &String| Mount {
        typ: Some(MountType::BIND),
        source: Some(path.clone()),
        target: Some(path.clone()),
        read_only: Some(true),
        ..Mount::default()
    };
    let loopback = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
    HostSettings {
        tmpfs: settings.tmpfs.iter().map(|folder| (folder.clone(), String::new())).collect(),
        mounts: settings.volumes.iter().map(volume).chain(settings.host_folders.iter().map(bind)).collect(),
        ports: HashMap::from([(format!("{}/tcp", settings.port), Some(vec![loopback]))]),
    }
}

impl HostSettings {
    fn apply(self, config: &mut HostConfig) {
        config.tmpfs = Some(self.tmpfs);
        config.mounts = Some(self.mounts);
        // testcontainers would publish it on all of the host's addresses.
        config.publish_all_ports = Some(false);
        config.port_bindings = Some(self.ports);
    }
}
