//! Runs the end-to-end tests on a cluster of the user's choice. The tests, and the program that owns their cluster (`e2e-run`),
//! are separate programs, so that this one stays small: it only chooses the cluster and runs cargo.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

/// The command's arguments.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The cluster to run on [default: existing if USE_EXISTING_CLUSTER=true, else envtest if its binaries are found, else
    /// kind if a Docker engine is running, else embedded]
    #[arg(long, value_enum)]
    cluster: Option<Cluster>,
    /// The Kubernetes version for kind and k3s, such as 1.33 or 1.37 [default: 1.37]
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<String>,
    /// The node image for kind and k3s [default: the one for the version]
    #[arg(long, value_name = "NAME", conflicts_with = "kubernetes")]
    image: Option<String>,
    /// Leave a kind or k3s cluster running, and print how to use and remove it
    #[arg(long)]
    keep: bool,
    /// Run on an existing cluster that is not on this machine
    #[arg(long)]
    yes: bool,
    /// Run only the tests whose names contain one of these; other arguments are passed to the test program
    #[arg(last = true, value_name = "TEST FILTER")]
    filter: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cluster {
    /// kube-embedded, in the test program
    Embedded,
    /// kube-apiserver and etcd from KUBEBUILDER_ASSETS
    Envtest,
    /// kindest/node in a container; needs a Docker engine, but not the kind command
    Kind,
    /// rancher/k3s in a container; needs a Docker engine. Known gap: this has never been run, see docs/testing.md
    K3s,
    /// The current context of the kubeconfig
    Existing,
}

/// The clusters that this machine can provide.
struct Surroundings {
    use_existing: bool,
    envtest: Option<&'static str>,
    docker: Option<String>,
}

/// Replaces this process by the tests. Returns only if that fails. Calls `refuse` if the arguments exclude one another.
#[expect(clippy::print_stderr, reason = "tells the user which cluster is used")]
pub(crate) fn run(arguments: &Arguments, refuse: fn(String) -> !) -> Result<ExitCode> {
    let (cluster, why) = match arguments.cluster {
        Some(cluster) => (cluster, "as asked".to_owned()),
        None => choose(&Surroundings::of_this_machine()),
    };
    if let Some(problem) = misuse(arguments, cluster) {
        refuse(problem);
    }
    eprintln!("e2e: {} ({why})", name(cluster));
    if cluster == Cluster::Envtest
        && let Some(problem) = missing_programs(|name| env::var_os(name))
    {
        bail!(problem);
    }
    if matches!(cluster, Cluster::Kind | Cluster::K3s) {
        // Builds first, so that no cluster is started for tests that do not build.
        let mut build = without_package(Command::new(cargo()));
        build.args(["test", "--quiet", "--package=e2e", "--test=suite", "--no-run"]).args(features(cluster));
        let built = build.status().context("starting cargo")?;
        if !built.success() {
            bail!("the tests cannot be built");
        }
    }
    let mut runner = without_package(Command::new(cargo()));
    runner.args(["run", "--quiet", "--package=e2e", "--bin=e2e-run"]).args(features(cluster));
    runner.arg("--").arg(name(cluster)).args(runner_options(arguments, cluster));
    runner.arg("--").args(tests(arguments, cluster));
    if cluster == Cluster::Envtest
        && env::var_os("KUBEBUILDER_ASSETS").is_none()
        && env::var_os("TEST_ASSET_ETCD").is_none()
    {
        runner.env("KUBEBUILDER_ASSETS", DEFAULT_ASSETS);
    }
    if env::var_os("DOCKER_HOST").is_some_and(|host| host.is_empty()) {
        // testcontainers would take the empty value for a host.
        runner.env_remove("DOCKER_HOST");
    }
    // Replaces this process, so that signals reach the runner and its exit code is returned.
    Err(runner.exec()).context("starting cargo")
}

/// The folder that is used if the environment names none.
const DEFAULT_ASSETS: &str = "/usr/local/kubebuilder/bin";

impl Surroundings {
    fn of_this_machine() -> Surroundings {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let envtest = if set("KUBEBUILDER_ASSETS") {
            Some("KUBEBUILDER_ASSETS is set")
        } else if set("TEST_ASSET_KUBE_APISERVER") && set("TEST_ASSET_ETCD") {
            Some("TEST_ASSET_KUBE_APISERVER and TEST_ASSET_ETCD are set")
        } else if Path::new(DEFAULT_ASSETS).join("kube-apiserver").is_file() {
            Some("/usr/local/kubebuilder/bin has kube-apiserver")
        } else {
            None
        };
        Surroundings {
            use_existing: env::var("USE_EXISTING_CLUSTER")
                .is_ok_and(|value| value.eq_ignore_ascii_case("true")),
            envtest,
            docker: docker(),
        }
    }
}

/// Returns which binary of envtest is missing, and how to set it.
fn missing_programs(variable: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let folder = variable("KUBEBUILDER_ASSETS").unwrap_or_else(|| DEFAULT_ASSETS.into());
    let program = |asset: &str, name: &str| {
        variable(asset).map_or_else(|| Path::new(&folder).join(name), PathBuf::from)
    };
    let programs =
        [program("TEST_ASSET_KUBE_APISERVER", "kube-apiserver"), program("TEST_ASSET_ETCD", "etcd")];
    let missing = programs.iter().find(|program| !program.is_file())?;
    Some(format!(
        "{} does not exist: set KUBEBUILDER_ASSETS to the folder of kube-apiserver and etcd (`setup-envtest use 1.37 --print \
         path` downloads them), or TEST_ASSET_KUBE_APISERVER and TEST_ASSET_ETCD to the files",
        missing.display()
    ))
}

/// Finds a Docker engine at the places where testcontainers looks for it, and describes it.
fn docker() -> Option<String> {
    if let Ok(host) = env::var("DOCKER_HOST")
        && !host.is_empty()
    {
        return Some(format!("DOCKER_HOST is {host}"));
    }
    let below =
        |variable: &str, path: &str| env::var_os(variable).map(|folder| PathBuf::from(folder).join(path));
    let sockets = [
        Some(PathBuf::from("/var/run/docker.sock")),
        below("XDG_RUNTIME_DIR", ".docker/run/docker.sock"),
        below("HOME", ".docker/run/docker.sock"),
        below("HOME", ".docker/desktop/docker.sock"),
    ];
    let answers = |socket: &PathBuf| UnixStream::connect(socket).is_ok();
    let socket = sockets.into_iter().flatten().find(answers)?;
    Some(format!("a Docker engine answers at {}", socket.display()))
}

/// Chooses the cluster, and says why.
fn choose(surroundings: &Surroundings) -> (Cluster, String) {
    if surroundings.use_existing {
        (Cluster::Existing, "USE_EXISTING_CLUSTER is true".to_owned())
    } else if let Some(why) = surroundings.envtest {
        (Cluster::Envtest, why.to_owned())
    } else if let Some(why) = &surroundings.docker {
        (Cluster::Kind, why.clone())
    } else {
        (Cluster::Embedded, "neither kube-apiserver nor a Docker engine was found".to_owned())
    }
}

/// Returns an error message if an option does not apply to the cluster.
fn misuse(arguments: &Arguments, cluster: Cluster) -> Option<String> {
    let in_containers = matches!(cluster, Cluster::Kind | Cluster::K3s);
    let of_containers = [
        ("--kubernetes", arguments.kubernetes.is_some()),
        ("--image", arguments.image.is_some()),
        ("--keep", arguments.keep),
    ];
    let asked = of_containers.iter().find(|(_, asked)| *asked && !in_containers).map(|(option, _)| *option);
    let misused = asked.map(|option| (option, "kind and k3s"));
    let misused =
        misused.or_else(|| (arguments.yes && cluster != Cluster::Existing).then_some(("--yes", "existing")));
    misused.map(|(option, of)| format!("{option} applies only to {of}, but the cluster is {}", name(cluster)))
}

fn name(cluster: Cluster) -> &'static str {
    match cluster {
        Cluster::Embedded => "embedded",
        Cluster::Envtest => "envtest",
        Cluster::Kind => "kind",
        Cluster::K3s => "k3s",
        Cluster::Existing => "existing",
    }
}

/// Returns the command that runs the tests, on only one cluster.
fn tests(arguments: &Arguments, cluster: Cluster) -> Vec<OsString> {
    // `demo` and `runner` use no cluster, and `supervision` tests envtest.
    let others: &[&str] = match cluster {
        Cluster::Embedded => &["::real", "supervision::"],
        Cluster::Envtest => &["::embedded", "demo::", "runner::"],
        Cluster::Kind | Cluster::K3s | Cluster::Existing => {
            &["::embedded", "demo::", "runner::", "supervision::"]
        }
    };
    let mut command = vec![cargo()];
    command.extend(["test", "--quiet", "--package=e2e", "--test=suite"].map(OsString::from));
    command.extend(features(cluster).iter().map(OsString::from));
    command.push("--".into());
    command.extend(others.iter().flat_map(|other| ["--skip", other]).map(OsString::from));
    command.extend(arguments.filter.iter().cloned());
    command
}

/// Returns the cargo options for the clusters in containers, which need an additional feature.
fn features(cluster: Cluster) -> &'static [&'static str] {
    match cluster {
        Cluster::Kind | Cluster::K3s => &["--features=containers"],
        Cluster::Embedded | Cluster::Envtest | Cluster::Existing => &[],
    }
}

fn runner_options(arguments: &Arguments, cluster: Cluster) -> Vec<OsString> {
    let option = |name: &str, value: &Option<String>| {
        value.iter().flat_map(|value| [OsString::from(name), OsString::from(value)]).collect::<Vec<_>>()
    };
    let mut options = option("--image", &arguments.image);
    options.extend(option("--kubernetes", &arguments.kubernetes));
    options.extend(arguments.keep.then(|| OsString::from("--keep")));
    let in_containers = matches!(cluster, Cluster::Kind | Cluster::K3s);
    options.extend(in_containers.then(|| OsString::from("--crdctl")));
    options.extend(arguments.yes.then(|| OsString::from("--yes")));
    options
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned())
}

/// Removes the variables that cargo set for this package from a command: some build scripts (ring's) depend on them, and
/// everything that uses those crates would be rebuilt.
fn without_package(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(words: &str) -> Arguments {
        Call::parse_from(["e2e"].into_iter().chain(words.split_whitespace())).arguments
    }

    fn text(words: Vec<OsString>) -> String {
        words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_available_cluster_is_chosen() {
        let docker = || Some("a Docker engine answers".to_owned());
        for (use_existing, envtest, docker, cluster) in [
            (true, Some("set"), docker(), Cluster::Existing),
            (false, Some("set"), docker(), Cluster::Envtest),
            (false, None, docker(), Cluster::Kind),
            (false, None, None, Cluster::Embedded),
        ] {
            let (chosen, why) = choose(&Surroundings { use_existing, envtest, docker });
            assert_eq!(chosen, cluster);
            assert!(!why.is_empty());
        }
    }

    #[test]
    fn the_missing_binary_of_envtest_is_named() {
        let this = env::current_exe().unwrap();
        let missing = |variables: &[(&str, &Path)]| {
            let named = |name: &str| variables.iter().find(|(known, _)| *known == name);
            missing_programs(|name| named(name).map(|(_, path)| path.as_os_str().to_owned()))
        };
        let nowhere = missing(&[("KUBEBUILDER_ASSETS", Path::new("/nowhere"))]).unwrap();
        assert!(nowhere.starts_with("/nowhere/kube-apiserver does not exist: "), "{nowhere}");
        assert_eq!(nowhere.lines().count(), 1);
        let server = ("TEST_ASSET_KUBE_APISERVER", &*this);
        assert!(missing(&[server, ("KUBEBUILDER_ASSETS", Path::new("/nowhere"))]).unwrap().contains("etcd"));
        assert_eq!(missing(&[server, ("TEST_ASSET_ETCD", &this)]), None);
    }

    #[test]
    fn options_of_containers_are_refused_elsewhere() {
        for words in ["--kubernetes 1.33", "--image x", "--keep"] {
            for cluster in [Cluster::Embedded, Cluster::Envtest, Cluster::Existing] {
                assert!(misuse(&arguments(words), cluster).is_some(), "{words} {cluster:?}");
            }
            assert!(misuse(&arguments(words), Cluster::Kind).is_none(), "{words}");
            assert!(misuse(&arguments(words), Cluster::K3s).is_none(), "{words}");
        }
        assert!(misuse(&arguments("--yes"), Cluster::Kind).is_some());
        assert!(misuse(&arguments("--yes"), Cluster::Existing).is_none());
    }

    #[test]
    fn the_filter_applies_to_one_cluster() {
        let words = arguments("-- crdctl:: --nocapture");
        let on = |cluster| text(tests(&words, cluster)[1..].to_vec());
        assert_eq!(
            on(Cluster::Embedded),
            "test --quiet --package=e2e --test=suite -- --skip ::real --skip supervision:: crdctl:: --nocapture"
        );
        assert_eq!(
            on(Cluster::Kind),
            "test --quiet --package=e2e --test=suite --features=containers -- --skip ::embedded --skip demo:: \
             --skip runner:: --skip supervision:: crdctl:: --nocapture"
        );
        let words = arguments("--image localhost/kind-node:v1.37.2 --keep");
        let options = text(runner_options(&words, Cluster::Kind));
        assert_eq!(options, "--image localhost/kind-node:v1.37.2 --keep --crdctl");
        assert_eq!(text(runner_options(&arguments("--yes"), Cluster::Existing)), "--yes");
        assert_eq!(text(runner_options(&arguments(""), Cluster::Embedded)), "");
    }
}
