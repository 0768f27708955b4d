//! `bench api`: the API server itself. How fast it starts, creates, lists and sends events, what webhooks cost, and how much memory
//! it takes; in process, and as the pair of programs that `crdctl envtest` makes.
//!
//! The figures include the clients, which run in the process of the embedded server, or on the machine of the real one.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bench::{blogs, kind::Kind};
use e2e::{
    crdctl,
    webhook::{Answer, NAMES, Webhook},
};
use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use http::Request;
use http_body_util::BodyExt as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use kube_embedded::Server;
use serde_json::json;
use tokio::{
    process::Command,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    child,
    cluster::{self, Choice, Cluster, Own},
    fill::{self, NAMESPACE},
    machine, pair, table, usage,
};

/// The number of requests in flight, which the goals specify.
const IN_FLIGHT: usize = 64;
/// The number of servers that are started to measure the time of a start.
const STARTS: usize = 50;
/// What is measured with webhooks.
const WITH_WEBHOOKS: &str = "creates, over TLS, with a mutating and a validating webhook";
/// How long the last event of a watch may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Blogs to create for each rate
    #[arg(long, default_value_t = 20_000)]
    creates: usize,
    /// Blogs to list, and to keep in memory
    #[arg(long, default_value_t = 100_000)]
    objects: usize,
    /// Watches that are open at the same time
    #[arg(long, default_value_t = 10_000)]
    watchers: usize,
    /// Events that each watch receives, one per second
    #[arg(long, default_value_t = 5)]
    seconds: usize,
    /// Pairs of kube-apiserver and etcd that are started at the same time
    #[arg(long, default_value_t = 32)]
    pairs: usize,
}

#[derive(clap::Args)]
pub(crate) struct MemoryArguments {
    objects: usize,
}

/// Prints the measurements next to the goals. With KUBEBUILDER_ASSETS, includes kube-apiserver.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mut rows = Vec::new();
    let mut row = |what: &str, figure: String, goal: &str| {
        rows.push(vec![what.to_owned(), figure, goal.to_owned()]);
    };
    let own = tempfile::tempdir()?;
    make_pair(own.path()).await?;
    usage::progress("starts")?;
    row("start to the first answer", format!("{:.1} ms", start().await? * 1e3), "10 ms");

    let creates = arguments.creates;
    let rate = |seconds: f64| format!("{:.0}/s", creates as f64 / seconds);
    usage::progress("creates in process")?;
    let server = Server::start();
    row("creates, in process", rate(create(&server.client(), creates).await?), "20,000/s");
    drop(server);
    usage::progress("creates over TLS")?;
    row("creates, over TLS", rate(over_tls(Server::start(), creates).await?), "5,000/s");
    usage::progress("creates with a data folder")?;
    let folder = tempfile::tempdir()?;
    let server = Server::builder().data_dir(folder.path()).start()?;
    row("creates, over TLS, with a data folder", rate(over_tls(server, creates).await?), "");
    usage::progress("creates with webhooks")?;
    let embedded = Cluster::start(&Choice::Own(Own::Embedded)).await?;
    let hooked = creates / 10;
    let hooked_rate = |seconds: f64| format!("{:.0}/s", hooked as f64 / seconds);
    row(WITH_WEBHOOKS, hooked_rate(with_webhooks(&embedded, hooked).await?), "");
    drop(embedded);
    let real = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    if real.is_some() {
        usage::progress("creates on kube-apiserver")?;
        let real = Cluster::start(&Choice::Own(Own::Real)).await?;
        let client = cluster::client(real.kubeconfig()).await?;
        row("creates, kube-apiserver with etcd", rate(create(&client, creates).await?), "");
        drop(real);
        let real = Cluster::start(&Choice::Own(Own::Real)).await?;
        row(
            &format!("{WITH_WEBHOOKS}, kube-apiserver with etcd"),
            hooked_rate(with_webhooks(&real, hooked).await?),
            "",
        );
    }

    usage::progress("pairs")?;
    let pairs = arguments.pairs;
    for (whose, assets, goals) in [
        ("", Some(own.path().to_owned()), ["", "250 ms", "30 MB"]),
        (", kube-apiserver and etcd", real, ["", "", ""]),
    ] {
        let Some(assets) = assets else { continue };
        let ms = |seconds: f64| format!("{:.0} ms", seconds * 1e3);
        let one = pair::measure(&assets, 1).await?;
        row(&format!("start of the pair to ready{whose}"), ms(one.seconds.median), goals[0]);
        let all = pair::measure(&assets, pairs).await?;
        row(&format!("  {pairs} at once, the slowest{whose}"), ms(all.seconds.most), goals[1]);
        row(&format!("  memory of each{whose}"), format!("{:.0} MB", all.memory / 1e6), goals[2]);
    }

    let objects = arguments.objects;
    usage::progress("memory")?;
    let mut measured = child::myself()?;
    measured.arg("api-memory").arg(objects.to_string());
    let memory: Memory = child::result(measured).await?;
    row(&format!("{objects} Blogs in memory"), format!("{:.0} MB", memory.resident as f64 / 1e6), "150 MB");
    row(
        &format!("list of {objects} Blogs, in process"),
        format!("{:.0} MB/s", memory.listed as f64 / 1e6 / memory.list_seconds),
        "300 MB/s",
    );

    usage::progress("watches")?;
    let told = watches(arguments.watchers, arguments.seconds).await?;
    row(
        &format!("{} watches, an event a second each: CPU", arguments.watchers),
        format!("{:.0} %", told.cpu * 100.0),
        "",
    );
    row("  the slowest event came after", format!("{:.0} ms", told.slowest * 1e3), "1000 ms");

    let text =
        format!("{}\n\n{}", machine::describe()?, table::render(&["measurement", "measured", "goal"], &rows));
    usage::print_line(text.trim_end())
}

/// Makes the pair of crdctl in a folder.
async fn make_pair(folder: &Path) -> Result<()> {
    let made = Command::new(crdctl::program().await?)
        .args(["envtest", "--path"])
        .arg(folder)
        .stdout(Stdio::null())
        .status()
        .await
        .context("starting crdctl")?;
    ensure!(made.success(), "`crdctl envtest` ended with {made}");
    Ok(())
}

/// Returns the seconds that it takes to create this number of Blogs while one webhook changes and another validates each of them.
/// Both run in this process.
async fn with_webhooks(cluster: &Cluster, creates: usize) -> Result<f64> {
    let client = cluster::client(cluster.kubeconfig()).await?;
    fill::install(&client).await?;
    let webhook = Webhook::start(NAMES, |call| match call.uri.path() {
        "/mutate" => Answer::patch(
            call,
            &json!([{"op": "add", "path": "/metadata/labels", "value": {"changed": "yes"}}]),
        ),
        _ => Answer::allow(call),
    })
    .await?;
    for (kind, path) in [("Mutating", "/mutate"), ("Validating", "/validate")] {
        let hook = json!({
            "name": "blogs.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": webhook.at(path),
            "rules": [{"operations": ["CREATE"], "apiGroups": ["web.helloworld"], "apiVersions": ["*"], "resources": ["blogs"]}],
        });
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": "bench"}, "webhooks": [hook],
        });
        let collection =
            format!("/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations", kind.to_lowercase());
        let request = Request::post(collection).header("content-type", "application/json");
        client.request_text(request.body(configuration.to_string().into_bytes())?).await?;
    }
    // kube-apiserver calls webhooks a moment after they are configured. An object whose webhooks answer is dropped again.
    let tried = format!("{}?dryRun=All", Kind::Blogs.path(NAMESPACE));
    timeout(PATIENCE, async {
        loop {
            let body = Kind::Blogs.object(NAMESPACE, 0).to_string().into_bytes();
            let request = Request::post(&tried).header("content-type", "application/json").body(body)?;
            let both =
                client.request_text(request).await?.contains("\"changed\"") && webhook.calls().len() == 2;
            if both {
                return anyhow::Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .context("the webhooks are not called")??;
    let seconds = create(&client, creates).await?;
    let called = webhook.calls().len();
    ensure!(called == 2 * creates, "{creates} creates called the webhooks {called} times");
    Ok(seconds)
}

/// Returns the median of the seconds from nothing to an answered request.
async fn start() -> Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let server = Server::start();
        server.client().apiserver_version().await?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    let spread = table::Spread::of(seconds).context("no starts")?;
    Ok(spread.median)
}

async fn over_tls(server: Server, creates: usize) -> Result<f64> {
    let endpoint = server.listen("127.0.0.1:0").await?;
    let seconds = create(&connect(endpoint.kubeconfig()).await?, creates).await?;
    endpoint.stop().await;
    Ok(seconds)
}

async fn connect(kubeconfig: Kubeconfig) -> Result<Client> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.disable_compression = true;
    Ok(Client::try_from(config)?)
}

/// Returns the seconds that it takes to create this number of Blogs, with [`IN_FLIGHT`] concurrent requests.
async fn create(client: &Client, creates: usize) -> Result<f64> {
    fill::install(client).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut writers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, next) = (client.clone(), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= creates {
                    return anyhow::Ok(());
                }
                fill::create(&client, Kind::Blogs, number).await?;
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// The memory and the list time of objects, measured in a process of its own.
#[derive(serde::Serialize, serde::Deserialize)]
struct Memory {
    /// The bytes that the objects add to a server.
    resident: u64,
    /// The bytes of a list of all objects.
    listed: u64,
    list_seconds: f64,
}

/// Runs the process whose memory is measured.
pub(crate) async fn memory(arguments: MemoryArguments) -> Result<()> {
    let server = Server::start();
    let client = server.client();
    // The first objects cause allocations that are made only once.
    create(&client, 100).await?;
    let before = usage::resident()?;
    create(&client, arguments.objects).await?;
    server.compact();
    let resident = usage::resident()?.saturating_sub(before);
    let mut best = Memory { resident, listed: 0, list_seconds: f64::INFINITY };
    for _ in 0..5 {
        let begin = Instant::now();
        let request = Request::get(path("")).body(kube::client::Body::empty())?;
        let mut body = client.send(request).await?.into_body();
        let mut listed = 0;
        while let Some(frame) = body.frame().await {
            listed += frame?.into_data().map_or(0, |data| data.len() as u64);
        }
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(listed > arguments.objects as u64 * 500, "the list has only {listed} B");
        if seconds < best.list_seconds {
            best = Memory { listed, list_seconds: seconds, ..best };
        }
    }
    usage::print(&best)
}

/// The cost of watches that receive an event each second.
struct Told {
    /// The share of one core.
    cpu: f64,
    /// The seconds from the write until the last watch received it.
    slowest: f64,
}

/// Opens watches, writes an object each second, and waits until each watch has received each write.
async fn watches(watchers: usize, seconds: usize) -> Result<Told> {
    let server = Server::start();
    let client = server.client();
    fill::install(&client).await?;
    let heard = Arc::new(Semaphore::new(0));
    let mut watches = JoinSet::new();
    for _ in 0..watchers {
        let request = Request::get(path("?watch=true&resourceVersion=0")).body(Vec::new())?;
        let mut lines = client.request_stream(request).await?.lines();
        let heard = Arc::clone(&heard);
        watches.spawn(async move {
            for number in 0..seconds {
                let line = lines.try_next().await?.context("a watch has ended")?;
                let is_next = line.starts_with("{\"type\":\"ADDED\"") && line.contains(&blogs::name(number));
                ensure!(is_next, "not the event of blog {number}: {line}");
                heard.add_permits(1);
            }
            anyhow::Ok(())
        });
    }
    let (mut slowest, cpu, begin) = (0.0_f64, usage::cpu_seconds(), Instant::now());
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    for number in 0..seconds {
        tick.tick().await;
        let written = Instant::now();
        fill::create(&client, Kind::Blogs, number).await?;
        let all = heard.acquire_many(u32::try_from(watchers)?);
        tokio::time::timeout(PATIENCE, all).await.context("an event is lost")??.forget();
        slowest = slowest.max(written.elapsed().as_secs_f64());
    }
    tick.tick().await;
    let cpu = (usage::cpu_seconds() - cpu) / begin.elapsed().as_secs_f64();
    while let Some(watched) = watches.join_next().await {
        watched??;
    }
    Ok(Told { cpu, slowest })
}

fn path(query: &str) -> String {
    format!("/apis/web.helloworld/v1/namespaces/{NAMESPACE}/blogs{query}")
}
