//! Runs a command with a cluster, and removes the cluster afterwards, for `cargo xtask e2e`. A cluster that is started for
//! the command, or that of the user's kubeconfig, is passed to it in `KUBECONFIG`, and to the tests in the variables that
//! `given` lists. Embedded servers and envtest control planes are started by the tests themselves.
//!
//! However this process ends, even by SIGKILL, the command and everything that it started ends too. Leftovers on disk and
//! in the engine belong to the [`Owner`], and the next run removes them.

#![expect(clippy::print_stderr, reason = "a command reports its progress to its user")]

use std::{
    ffi::OsString,
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use e2e::{Handed, Owner, existing::Existing, group::Group, program::without_package};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run a command with a cluster, and remove the cluster afterwards
#[derive(Parser)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    cluster: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Start no cluster: the tests use kube-embedded
    Embedded {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Start no cluster: the tests start kube-apiserver and etcd from KUBEBUILDER_ASSETS
    Envtest {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Use the current context of the kubeconfig
    Existing {
        /// Use it even if the server is not on this machine
        #[arg(long)]
        yes: bool,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Start a kind cluster in the Docker engine
    #[cfg(feature = "containers")]
    Kind(containers::Options),
    /// Start a k3s cluster in the Docker engine
    #[cfg(feature = "containers")]
    K3s(containers::Options),
}

/// How a run ended.
enum End {
    Command(ExitStatus),
    /// This process received the signal of this number.
    Signal(u8),
}

#[tokio::main]
async fn main() -> ExitCode {
    let end = match Cli::parse().cluster {
        Which::Embedded { command } | Which::Envtest { command } => until_signal(alone, command).await,
        Which::Existing { yes, command } => {
            until_signal(async |owner, command| existing(owner, yes, command).await, command).await
        }
        #[cfg(feature = "containers")]
        Which::Kind(options) => containers::run(e2e::containers::Distribution::Kind, options).await,
        #[cfg(feature = "containers")]
        Which::K3s(options) => containers::run(e2e::containers::Distribution::K3s, options).await,
    };
    match end {
        Ok(End::Command(status)) => status
            .code()
            .map_or(ExitCode::FAILURE, |code| u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)),
        Ok(End::Signal(number)) => ExitCode::from(128 + number),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command without a cluster, even if the caller's environment describes one.
async fn alone(owner: &Owner, command: Vec<OsString>) -> Result<ExitStatus> {
    run_command(owner, command, |command| {
        command.env_remove("E2E_KUBECONFIG");
    })
    .await
}

async fn existing(owner: &Owner, yes: bool, command: Vec<OsString>) -> Result<ExitStatus> {
    let existing = Existing::current()?;
    let Existing { context, server, .. } = &existing;
    ensure!(
        yes || existing.is_local(),
        "the server of the context {context:?}, {server}, is not on this machine: the tests would install CRDs and create \
         namespaces there; --yes allows that"
    );
    eprintln!("e2e: the context {context:?}, {server}");
    let handed = Handed::new(owner, "existing", &existing.kubeconfig, None)?;
    run_with(owner, command, &handed).await
}

/// Runs the command with a cluster.
async fn run_with(owner: &Owner, command: Vec<OsString>, handed: &Handed) -> Result<ExitStatus> {
    run_command(owner, command, |command| {
        command.envs(handed.variables());
    })
    .await
}

async fn run_command(
    owner: &Owner,
    command: Vec<OsString>,
    surroundings: impl FnOnce(&mut Command),
) -> Result<ExitStatus> {
    let mut words = command.into_iter();
    let mut command = Command::new(words.next().context("no command")?);
    command.args(words).env("TMPDIR", owner.folder());
    surroundings(&mut command);
    without_package(&mut command);
    Group::start(&command)?.wait().await
}

/// Runs the work to its end, or until a signal arrives: then the work is dropped, which ends everything that it started.
async fn until_signal(
    work: impl AsyncFnOnce(&Owner, Vec<OsString>) -> Result<ExitStatus>,
    command: Vec<OsString>,
) -> Result<End> {
    let mut signals = Signals::new()?;
    let owner = Owner::new()?;
    let end = tokio::select! {
        status = work(&owner, command) => status.map(End::Command),
        number = signals.next() => Ok(End::Signal(number)),
    };
    let closed = owner.close().await;
    // If there are two errors, the first is reported.
    let end = end?;
    closed.map(|()| end)
}

/// The signals that ask the process to end.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Signals {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal, and returns its number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => 1,
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

#[cfg(feature = "containers")]
mod containers {
    //! Clusters in containers, which are started and removed.

    use std::{
        env,
        panic::{AssertUnwindSafe, resume_unwind},
        path::{Path, PathBuf},
        time::SystemTime,
    };

    use clap::Args;
    use e2e::{
        Images,
        containers::{Distribution, Engine, Plan, RunningNode},
    };
    use futures_util::FutureExt as _;

    use super::*;

    /// The options for a cluster in a container.
    #[derive(Args)]
    pub(crate) struct Options {
        /// The image of the node
        #[arg(long)]
        image: Option<String>,
        /// The version of Kubernetes
        #[arg(long)]
        kubernetes: Option<String>,
        /// Leave the cluster running
        #[arg(long)]
        keep: bool,
        /// Build the images of crdctl and blog-operator, and load them on the node
        #[arg(long)]
        crdctl: bool,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    }

    /// Runs the command. Whatever happens, everything that is not kept is removed.
    pub(crate) async fn run(distribution: Distribution, options: Options) -> Result<End> {
        let mut signals = Signals::new()?;
        let cluster = format!("e2e-{:x}", SystemTime::UNIX_EPOCH.elapsed()?.as_millis());
        let plan = Plan::new(
            distribution,
            &cluster,
            options.image.clone(),
            options.kubernetes.as_deref(),
            options.keep,
        )?;
        let container = plan.container();
        let engine = Engine::connect().await?;
        let owner = Owner::new()?;
        for swept in engine.sweep().await? {
            eprintln!("e2e: removed {swept}, which a killed run had left");
        }
        let tags = options.crdctl.then(|| Images {
            crdctl: format!("localhost/crdctl:{cluster}"),
            operator: format!("localhost/blog-operator:{cluster}"),
        });
        let run = Run { engine: &engine, owner: &owner, cluster, tags: tags.clone() };

        // The cleanup also runs after a panic.
        let end = AssertUnwindSafe(run.until_signal(plan, options, &mut signals)).catch_unwind().await;
        let kept = matches!(&end, Ok(Ok((_, true))));
        if let Ok(Ok((End::Signal(number), _))) = &end {
            eprintln!("e2e: signal {number}, removing {container}; a second one leaves that to the next run");
        }
        let removed = async {
            if let Some(tags) = &tags {
                engine.remove_image(&tags.crdctl).await?;
                engine.remove_image(&tags.operator).await?;
            }
            if !kept {
                engine.remove(&container).await?;
            }
            owner.close().await
        };
        let removed = tokio::select! {
            removed = removed => removed,
            _ = signals.next() => Ok(()),
        };
        // If there are two errors, the first is reported.
        let (end, _) = end.unwrap_or_else(|panic| resume_unwind(panic))?;
        removed.map(|()| end)
    }

    /// The state of a run that is known from its beginning.
    struct Run<'a> {
        engine: &'a Engine,
        owner: &'a Owner,
        cluster: String,
        /// The tags of the images, if they are requested.
        tags: Option<Images>,
    }

    impl Run<'_> {
        /// Runs to the end or until a signal arrives. Also returns whether the cluster is kept.
        async fn until_signal(
            &self,
            plan: Plan,
            options: Options,
            signals: &mut Signals,
        ) -> Result<(End, bool)> {
            let archives = tokio::select! {
                archives = self.prepare(&plan) => archives?,
                number = signals.next() => return Ok((End::Signal(number), false)),
            };
            eprintln!("e2e: starting {}", plan.image());
            // A signal does not interrupt this, which takes at most a minute: the engine would continue, and create a
            // container after its removal.
            let node = plan.start(self.engine, self.owner).await?;
            tokio::select! {
                status = self.drive(&node, &archives, options.keep, options.command) => {
                    Ok((End::Command(status?), options.keep))
                }
                number = signals.next() => Ok((End::Signal(number), false)),
            }
        }

        /// Pulls the node's image if it is missing. Builds the images of our programs if they are requested, and returns them.
        async fn prepare(&self, plan: &Plan) -> Result<Vec<Vec<u8>>> {
            let archives = match &self.tags {
                Some(tags) => images(self.engine, self.owner, tags).await?,
                None => Vec::new(),
            };
            if self.engine.pull_missing(plan.image()).await? {
                eprintln!("e2e: pulled {}", plan.image());
            }
            Ok(archives)
        }

        /// Sets up the cluster on the node, and runs the command with it.
        async fn drive(
            &self,
            node: &RunningNode,
            archives: &[Vec<u8>],
            keep: bool,
            command: Vec<OsString>,
        ) -> Result<ExitStatus> {
            let kubeconfig = match up(self.engine, node, archives).await {
                Ok(kubeconfig) => kubeconfig,
                Err(error) => return Err(error.context(logs(node, &self.cluster).await?)),
            };
            let tags = self.tags.as_ref().filter(|_| !archives.is_empty());
            let handed = Handed::new(self.owner, node.distribution(), &kubeconfig, tags)?;
            let status = run_with(self.owner, command, &handed).await?;
            if !status.success() {
                eprintln!("e2e: {}", logs(node, &self.cluster).await?);
            }
            if keep {
                let path = folder()?.join(format!("{}.kubeconfig", self.cluster));
                handed.keep(&path)?;
                eprintln!("e2e: kept; to use it:    export KUBECONFIG={}", path.display());
                for line in node.removal() {
                    eprintln!("e2e:       to remove it: {line}");
                }
            }
            Ok(status)
        }
    }

    async fn up(
        engine: &Engine,
        node: &RunningNode,
        archives: &[Vec<u8>],
    ) -> Result<kube::config::Kubeconfig> {
        let kubeconfig = node.bring_up(engine, |step| eprintln!("e2e: {step}")).await?;
        for archive in archives {
            node.load_image(archive).await?;
        }
        if !archives.is_empty() {
            eprintln!("e2e: the node has the images of our programs");
        }
        Ok(kubeconfig)
    }

    /// Collects the logs, and returns a message that says where they are.
    async fn logs(node: &RunningNode, cluster: &str) -> Result<String> {
        let folder = folder()?.join(format!("{cluster}-logs"));
        node.collect_logs(&folder).await?;
        Ok(format!("the node's logs are in {}", folder.display()))
    }

    /// Builds the images of our programs. Returns none if programs of this machine cannot run on a node.
    async fn images(engine: &Engine, owner: &Owner, tags: &Images) -> Result<Vec<Vec<u8>>> {
        if !cfg!(target_os = "linux") {
            eprintln!("e2e: no images are built here: that needs Linux");
            return Ok(Vec::new());
        }
        eprintln!("e2e: building crdctl and blog-operator as static binaries, for their images");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let program = build("crdctl").await?;
        let containerfile = root.join("Containerfile");
        let files = [("Containerfile", containerfile.as_path()), ("crdctl", &program)];
        let crdctl = engine.build_image(owner, &tags.crdctl, &files).await?;

        let program = build("blog-operator").await?;
        let containerfile = root.join("Containerfile.operator");
        // The tests check no https address, so that a machine without certificate authorities will do.
        let mut authorities = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
        if !authorities.is_file() {
            authorities = owner.folder().join("ca-certificates.crt");
            std::fs::write(&authorities, "").context("write a file without certificate authorities")?;
        }
        let files = [
            ("Containerfile", containerfile.as_path()),
            ("blog-operator", &program),
            ("ca-certificates.crt", &authorities),
        ];
        let operator = engine.build_image(owner, &tags.operator, &files).await?;
        Ok(vec![crdctl, operator])
    }

    async fn build(package: &str) -> Result<PathBuf> {
        let rustc = tokio::process::Command::new("rustc").arg("-vV").output().await.context("run rustc")?;
        let version = String::from_utf8_lossy(&rustc.stdout);
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc reports no host")?;
        let target = target()?;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        without_package(&mut cargo);
        // With an explicit target, the flag does not apply to build scripts and macros, which it would break.
        cargo.args(["build", "--quiet", "--locked", "--package", package, "--target", host]);
        cargo.arg("--target-dir");
        cargo.arg(&target).env("RUSTFLAGS", "-C target-feature=+crt-static");
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        ensure!(Group::start(&cargo)?.wait().await?.success(), "{package} does not build");
        Ok(target.join(host).join("debug").join(package))
    }

    /// Returns the folder for the files that a run leaves behind.
    fn folder() -> Result<PathBuf> {
        let folder = target()?.join("e2e");
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder)
    }

    /// Returns cargo's target folder, which contains this program.
    fn target() -> Result<PathBuf> {
        let this = env::current_exe()?;
        Ok(this.ancestors().nth(2).context("a program outside of a target folder")?.to_owned())
    }
}
