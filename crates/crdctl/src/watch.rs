//! `crdctl watch`: prints the events of an informer.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use kube::core::DynamicObject;
use kube_informer::{Change, Compact, Event, Informer, Informers, ObjectKey};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Cluster, OutputArgs, WatchArgs},
    connection::Connection,
    health::Health,
    output::{Line, Printer, Writer},
    resource::{Discovered, Request, ResourceType},
    shutdown,
};

/// The objects in the cache. A decoded `DynamicObject` is many times as large, and is needed only when it is printed.
type Stored = Compact<DynamicObject>;

/// What to watch, and how to print it.
pub(crate) struct Target {
    pub(crate) request: Request,
    /// `None`: all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
    pub(crate) every: Option<Duration>,
    pub(crate) health: Option<SocketAddr>,
    pub(crate) output: OutputArgs,
}

/// Runs `crdctl watch`.
pub(crate) async fn run(cluster: &Cluster, args: WatchArgs) -> Result<ExitCode> {
    let request = match Request::parse(&args.resource, args.name.as_deref()) {
        Ok(request) => request,
        Err(problem) => return Ok(crate::cli::wrong_usage(&problem)),
    };
    let connection = Connection::new(cluster)?;
    let chosen = args.namespace.filter(|namespace| !namespace.is_empty());
    let namespace = (!args.all_namespaces).then(|| chosen.unwrap_or_else(|| connection.namespace.clone()));
    let target = Target {
        request,
        namespace,
        labels: args.selector,
        fields: args.field_selector,
        every: args.every,
        health: args.health_addr,
        output: args.output,
    };
    let stop = CancellationToken::new();
    shutdown::until_signal(stop.clone(), watch(connection, target, stop)).await
}

/// Watches until `stop` is cancelled or stdout is closed, and serves the health endpoints meanwhile.
pub(crate) async fn watch(
    connection: Connection,
    target: Target,
    stop: CancellationToken,
) -> Result<ExitCode> {
    let health = match target.health {
        Some(address) => Some(Health::bind(address).await?),
        None => None,
    };
    // Boxed because it is large, and would make the futures around it large, too.
    let followed = Box::pin(follow_to_the_end(connection, target, stop, health.as_ref()));
    let Some(health) = &health else { return followed.await };
    tokio::select! {
        ended = followed => ended,
        never = health.serve() => match never {},
    }
}

async fn follow_to_the_end(
    connection: Connection,
    target: Target,
    stop: CancellationToken,
    health: Option<&Health>,
) -> Result<ExitCode> {
    let started = async {
        let resource = discover(&connection, &target.request.resource).await?;
        let printer = Printer::new(&connection, &resource, target.output).await?;
        let informers = Informers::new(connection.client.clone());
        let informer = start(&informers, &resource, &target);
        if let Some(health) = health {
            health.follow(&informers, informer.status());
        }
        let action = format!("watch {}", resource.qualified_plural());
        connection.first_list(&action, &informer).await?;
        anyhow::Ok((informer, resource, printer))
    };
    let (informer, resource, mut printer) = tokio::select! {
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
        started = started => started?,
    };
    let writer = Writer::stdout().context("starting the thread that writes to stdout")?;
    tokio::select! {
        () = stop.cancelled() => {}
        () = writer.closed() => {}
        followed = follow(&informer, &target, &resource, &mut printer, &writer) => followed?,
    }
    drop(informer);
    writer.finish().await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints events until stdout is closed or the informer ends.
async fn follow(
    informer: &Informer<Stored>,
    target: &Target,
    resource: &ResourceType,
    printer: &mut Printer,
    writer: &Writer,
) -> Result<()> {
    let mut events = informer.subscribe();
    let every = target.every.filter(|every| !every.is_zero());
    let mut ticks = every.map(|every| {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    });
    loop {
        let text = tokio::select! {
            event = events.next() => match event {
                None => return Ok(()),
                Some(event) => printed(&event, target.output.watch_only, printer)?,
            },
            () = tick(&mut ticks) => printer.print(&Line::Cached(&names(informer, target, resource))),
        };
        if writer.write(text).await.is_err() {
            return Ok(());
        }
    }
}

async fn tick(ticks: &mut Option<tokio::time::Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn printed(event: &Event<Stored>, watch_only: bool, printer: &mut Printer) -> Result<String> {
    Ok(match event {
        Event::Change(Change::Added { initial: true, .. }) if watch_only => String::new(),
        Event::Change(Change::Added { object, .. }) => printer.print(&Line::Added(&read(object)?)),
        Event::Change(Change::Updated { old, new, .. }) => {
            printer.print(&Line::Modified { old: &read(old)?, new: &read(new)? })
        }
        Event::Change(Change::Deleted { last, .. }) => printer.print(&Line::Deleted(&read(last)?)),
        Event::Synced { count, resource_version } => {
            let resource_version = resource_version.map(|version| version.to_string()).unwrap_or_default();
            printer.print(&Line::Synced { count: *count, resource_version: &resource_version })
        }
        // A kind of event that a later kube-informer may add.
        _ => String::new(),
    })
}

fn read(stored: &Stored) -> Result<DynamicObject> {
    stored.decode().context("decoding a cached object")
}

/// Returns the names in the cache, with their namespaces if all namespaces are watched.
fn names(informer: &Informer<Stored>, target: &Target, resource: &ResourceType) -> Vec<String> {
    let qualified = resource.namespaced && target.namespace.is_none();
    // This is called after the first sync, from when on there is always a snapshot.
    let Ok(snapshot) = informer.snapshot() else { return Vec::new() };
    let name = |key: &ObjectKey| if qualified { key.to_string() } else { key.name().to_owned() };
    snapshot.entries().map(|(key, _)| name(key)).collect()
}

/// Looks up the resource type that the user means.
async fn discover(connection: &Connection, asked: &str) -> Result<ResourceType> {
    let action = "discover the resource types";
    let client = &connection.client;
    let core = connection.ask(action, client.list_core_api_versions_aggregated()).await?;
    let groups = connection.ask(action, client.list_api_groups_aggregated()).await?;
    Discovered::new(core, groups).watchable(asked).cloned()
}

fn start(informers: &Informers, resource: &ResourceType, target: &Target) -> Informer<Stored> {
    let mut informer = informers.dynamic(&resource.api).compact();
    if let Some(namespace) = target.namespace.as_deref().filter(|_| resource.namespaced) {
        informer = informer.namespace(namespace);
    }
    if let Some(labels) = &target.labels {
        informer = informer.label_selector(labels);
    }
    let name = target.request.name.as_ref().map(|name| format!("metadata.name={name}"));
    let fields: Vec<&str> = target.fields.as_deref().into_iter().chain(name.as_deref()).collect();
    if !fields.is_empty() {
        informer = informer.field_selector(&fields.join(","));
    }
    informer.start()
}
