//! `bench names`: the CPU of `crdctl watch -o name`, and of a program with kube-runtime's reflector that prints the same names.
//!
//! Both are processes that watch the same objects of the same server over TLS while they are updated one after another. A
//! last object, which is created at the end, shows that everything before it has arrived.

use std::{num::NonZeroUsize, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result};
use blog_api::Blog;
use clap::Args;
use e2e::crdctl;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, CustomResourceExt as _, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use bench::{blogs, kind::Kind};

use crate::{
    child,
    cluster::{self, Choice, Cluster},
    fill::{self, NAMESPACE},
    machine,
    table::{self, Spread},
    usage::{print_line, progress},
};

/// The name of the object that comes last.
const LAST: &str = "last";
/// The number of requests in flight.
const IN_FLIGHT: usize = 16;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The server: `embedded`, `real`, or the path of a kubeconfig
    #[arg(long, default_value = "embedded")]
    server: Choice,
    /// The number of Blogs, each of which is updated once
    #[arg(long, default_value = "10000")]
    objects: NonZeroUsize,
    /// The number of runs of each program, which take turns; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

#[derive(Args)]
pub(crate) struct ClientArguments {
    kubeconfig: PathBuf,
}

/// Prints the table.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let server = Cluster::start(&arguments.server).await?;
    let client = cluster::client(server.kubeconfig()).await?;
    let objects = arguments.objects.get();
    fill::fill(&client, Kind::Blogs, objects).await?;
    let (home, program) = (tempfile::tempdir()?, crdctl::program().await?);
    let (mut own, mut peer) = (Vec::new(), Vec::new());
    for run in 1..=arguments.runs {
        progress(&format!("run {run} of {}", arguments.runs))?;
        let mut crdctl = Command::new(&program);
        crdctl
            .args(["watch", "blogs", "-o", "name", "-n", NAMESPACE, "--kubeconfig"])
            .arg(server.kubeconfig());
        crdctl.env("HOME", home.path()).env_remove("RUST_LOG");
        own.push(cpu_seconds(crdctl, &client, objects, run * 2).await.context("crdctl")?);
        let mut reflector = child::myself()?;
        reflector.arg("names-client").arg(server.kubeconfig());
        peer.push(cpu_seconds(reflector, &client, objects, run * 2 + 1).await.context("kube-runtime")?);
    }
    print_line(&format!(
        "{objects} Blogs listed and updated once, over TLS; CPU of the process; median of {} runs (least-most).",
        arguments.runs
    ))?;
    print_line(&format!("Machine: {}.", machine::describe()?))?;
    print_line(&format!("Clients: {}.\n", machine::versions(&machine::CACHES, None)?))?;
    let (own, peer) = (Spread::of(own).context("no run")?, Spread::of(peer).context("no run")?);
    let row = |name: &str, spread: &Spread| {
        vec![name.to_owned(), spread.show(1.0, 2), format!("{:.2}", spread.median / peer.median)]
    };
    let rows = [row("crdctl watch -o name", &own), row("kube-runtime, reflector of DynamicObject", &peer)];
    print_line(&table::render(&["program", "CPU s", "/ kube-runtime"], &rows))
}

/// Runs a program that prints names, updates all objects meanwhile, and returns its user and system time.
async fn cpu_seconds(mut command: Command, client: &Client, objects: usize, round: u32) -> Result<f64> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), NAMESPACE, &Blog::api_resource());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("a child without stdout")?).lines();
    let process = child.id().context("the program has ended")?;
    let work = async {
        // Its first list.
        for _ in 0..objects {
            lines.next_line().await?.context("the program has ended")?;
        }
        let read = async {
            while !lines.next_line().await?.context("the program has ended")?.ends_with(&format!("/{LAST}")) {
            }
            anyhow::Ok(())
        };
        let write = async {
            let updates = (0..objects).map(|number| {
                let (api, change) =
                    (api.clone(), json!({"metadata": {"labels": {"round": round.to_string()}}}));
                async move {
                    api.patch(&blogs::name(number), &PatchParams::default(), &Patch::Merge(change))
                        .await
                        .map(drop)
                }
            });
            stream::iter(updates).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
            let mut last: DynamicObject = serde_json::from_value(blogs::blog(NAMESPACE, 0))?;
            last.metadata.name = Some(LAST.to_owned());
            api.create(&Default::default(), &last).await?;
            anyhow::Ok(())
        };
        tokio::try_join!(read, write)?;
        let used = used(process)?;
        api.delete(LAST, &DeleteParams::default()).await?;
        anyhow::Ok(used)
    };
    timeout(child::LIMIT, work).await.context("not done in time")?
}

/// Returns the user and system time of a process; see proc_pid_stat(5).
fn used(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).context("the program has ended")?;
    let (_, fields) = text.rsplit_once(") ").context("an unknown format of /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks =
        |index: usize| anyhow::Ok(fields.get(index).context("a short /proc/PID/stat")?.parse::<u32>()?);
    // The unit is 1/100 s on all architectures that Linux runs on today.
    Ok(f64::from(ticks(11)? + ticks(12)?) / 100.0)
}

/// Prints the name of each object that is added or changed, out of kube-runtime's reflector.
pub(crate) async fn client(arguments: ClientArguments) -> Result<()> {
    let client = cluster::client(&arguments.kubeconfig).await?;
    let resource = Blog::api_resource();
    let api = Api::<DynamicObject>::namespaced_with(client, NAMESPACE, &resource);
    let writer = reflector::store::Writer::new(resource);
    let mut objects = reflector::reflector(writer, watcher(api, watcher::Config::default()))
        .default_backoff()
        .applied_objects()
        .boxed();
    while let Some(object) = objects.next().await {
        print_line(&format!("blog.web.helloworld/{}", object?.name_any()))?;
    }
    Ok(())
}
