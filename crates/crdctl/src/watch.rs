//! `crdctl watch`: prints the events of informers.

mod source;
mod start;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures_util::{Stream, StreamExt as _, stream, stream::select_all};
use kube_informer::{Change, Event, ObjectKey, Status, StatusWatch, Subscription};
use kube_tables::SortBy;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

pub(crate) use self::source::Target;
use self::{
    source::{Role, Source},
    start::Started,
};
use crate::{
    cli::{Cluster, ONE_OR_ALL, WatchArgs},
    connection::Connection,
    health::Health,
    notices::{Notices, notice},
    output::{self, Line, Output, Printer, Scope, Stored, Writer},
    resource::Request,
    shutdown,
    terminal::Terminal,
};

/// Runs `crdctl watch`.
pub(crate) async fn run(cluster: &Cluster, args: WatchArgs) -> Result<ExitCode> {
    let requests = match Request::parse(&args.resources) {
        Ok(requests) => requests,
        Err(problem) => return Ok(crate::cli::wrong_usage(&problem)),
    };
    if args.all_namespaces && cluster.names_a_namespace() {
        return Ok(crate::cli::wrong_usage(ONE_OR_ALL));
    }
    let connections = Connection::each(cluster)?;
    if args.health_addr.is_some() && connections.len() > 1 {
        return Ok(crate::cli::wrong_usage("--health-addr needs a single context"));
    }
    let terminal = Terminal::stdout(args.output.color);
    let target = Target {
        requests,
        all_namespaces: args.all_namespaces,
        labels: args.selector,
        fields: args.field_selector,
        events: args.events,
        sort_by: args.sort_by,
        every: args.every,
        health: args.health_addr,
        output: Arc::new(Output::new(args.output, terminal)),
    };
    let stop = CancellationToken::new();
    shutdown::until_signal(stop.clone(), watch(connections, target, stop)).await
}

/// Watches until `stop` is cancelled or stdout is closed, and serves the health endpoints meanwhile.
pub(crate) async fn watch(
    connections: Vec<Connection>,
    target: Target,
    stop: CancellationToken,
) -> Result<ExitCode> {
    let health = match target.health {
        Some(address) => Some(Health::bind(address).await?),
        None => None,
    };
    // Boxed because it is large, and would make the futures around it large, too.
    let followed = Box::pin(follow_to_the_end(connections, target, stop, health.as_ref()));
    let Some(health) = &health else { return followed.await };
    tokio::select! {
        ended = followed => ended,
        never = health.serve() => match never {},
    }
}

async fn follow_to_the_end(
    connections: Vec<Connection>,
    target: Target,
    stop: CancellationToken,
    health: Option<&Health>,
) -> Result<ExitCode> {
    let watched = tokio::select! {
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
        started = start::start(&connections, &target, health) => started?,
    };
    let mut watched = Watched::new(&connections, target, watched);
    let writer = Writer::stdout().context("starting the thread that writes to stdout")?;
    tokio::select! {
        () = stop.cancelled() => {}
        () = writer.closed() => {}
        followed = watched.follow(&writer) => followed?,
    }
    drop(watched);
    writer.finish().await?;
    Ok(ExitCode::SUCCESS)
}

/// The watches, and how their events are printed.
struct Watched {
    output: Arc<Output>,
    scope: Scope,
    sort_by: Option<SortBy>,
    every: Option<Duration>,
    /// One for each type.
    printers: Vec<Printer>,
    sources: Vec<Source>,
    notices: Vec<Notices>,
}

/// What a source has to say.
enum Heard {
    Event(usize, Event<Stored>),
    Status(usize, Arc<Status>),
}

/// The end of the present state of a source.
struct Synced {
    place: usize,
    count: usize,
    version: String,
}

impl Watched {
    fn new(connections: &[Connection], target: Target, started: Started) -> Self {
        let Started { scope, printers, sources } = started;
        let notices = connections
            .iter()
            .map(|connection| Notices::new(connection.context.clone().filter(|_| scope.contexts)))
            .collect();
        let Target { output, sort_by, every, .. } = target;
        Self { output, scope, sort_by, every, printers, sources, notices }
    }

    /// Prints the first lists, then events until stdout is closed or the informers end.
    async fn follow(&mut self, writer: &Writer) -> Result<()> {
        let mut subscriptions = Vec::new();
        for printer in 0..self.printers.len() {
            let (changes, synced) = self.present(Role::Objects(printer), &mut subscriptions).await;
            let mut text = self.first(printer, changes)?;
            for Synced { place, count, version } in synced {
                text +=
                    &self.printers[printer].synced(self.sources[place].context.as_deref(), count, &version);
            }
            if writer.write(text).await.is_err() {
                return Ok(());
            }
        }
        let (events, _) = self.present(Role::Events, &mut subscriptions).await;
        if writer.write(self.earlier(events)).await.is_err() {
            return Ok(());
        }
        self.name_the_missing();
        self.follow_events(subscriptions, writer).await
    }

    /// Subscribes to the sources of a role, and returns their present state.
    async fn present(
        &self,
        role: Role,
        subscriptions: &mut Vec<(usize, Subscription<Stored>)>,
    ) -> (Vec<(usize, Change<Stored>)>, Vec<Synced>) {
        let (mut changes, mut synced) = (Vec::new(), Vec::new());
        for (place, source) in self.sources.iter().enumerate().filter(|(_, source)| source.role == role) {
            let mut subscription = source.informer.subscribe();
            while let Some(event) = subscription.next().await {
                match event {
                    Event::Change(change) => changes.push((place, change)),
                    Event::Synced { count, resource_version, .. } => {
                        let version = resource_version.map(|version| version.to_string()).unwrap_or_default();
                        synced.push(Synced { place, count, version });
                        break;
                    }
                    _ => {}
                }
            }
            subscriptions.push((place, subscription));
        }
        (changes, synced)
    }

    async fn follow_events(
        &mut self,
        subscriptions: Vec<(usize, Subscription<Stored>)>,
        writer: &Writer,
    ) -> Result<()> {
        let events = subscriptions
            .into_iter()
            .map(|(place, subscription)| subscription.map(move |event| Heard::Event(place, event)).boxed());
        let mut places = Vec::new();
        for source in &self.sources {
            places.push(self.notices[source.connection].add(source.resource.qualified_plural()));
        }
        let statuses = self.sources.iter().enumerate().map(|(place, source)| {
            statuses(source.informer.watch_status()).map(move |status| Heard::Status(place, status)).boxed()
        });
        // Statuses never end before their informer, whose events do.
        let mut heard = select_all(events.chain(statuses));
        let every = self.every.filter(|every| !every.is_zero());
        let mut ticks = every.map(|every| {
            let mut ticks = interval_at(Instant::now() + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        loop {
            let text = tokio::select! {
                heard = heard.next() => match heard {
                    None => return Ok(()),
                    Some(Heard::Event(place, event)) => self.printed(place, &event),
                    Some(Heard::Status(place, status)) => {
                        let connection = self.sources[place].connection;
                        let now = std::time::Instant::now();
                        let said = self.notices[connection].on_status(places[place], &status, now);
                        said.iter().for_each(|text| notice(text));
                        continue;
                    }
                },
                () = tick(&mut ticks) => self.output.cached(&self.names()),
            };
            if writer.write(text).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Renders the objects of the first list of a type.
    fn first(&mut self, printer: usize, mut initial: Vec<(usize, Change<Stored>)>) -> Result<String> {
        if let Some(sort_by) = &self.sort_by {
            let objects = initial
                .into_iter()
                .map(|(place, change)| (output::json_of(change.object()), (place, change)));
            let mut objects: Vec<_> = objects.collect();
            sort_by.sort(&mut objects, |(object, _)| object).context("sorting by --sort-by")?;
            initial = objects.into_iter().map(|(_, change)| change).collect();
        }
        let time = output::now();
        let lines: Vec<Line<'_>> = initial
            .iter()
            .map(|(place, change)| Line {
                event: output::Event::Added { initial: true },
                time,
                context: self.sources[*place].context.as_deref(),
                key: change.key(),
                object: change.object(),
                old: None,
            })
            .collect();
        Ok(self.printers[printer].first(&lines))
    }

    fn printed(&mut self, place: usize, event: &Event<Stored>) -> String {
        let Event::Change(change) = event else { return String::new() };
        let source = &self.sources[place];
        let Role::Objects(printer) = source.role else {
            return match change {
                Change::Added { object, .. } | Change::Updated { new: object, .. } => {
                    self.about(source, object, &output::json_of(object))
                }
                _ => String::new(),
            };
        };
        let (event, old) = match change {
            Change::Added { initial, .. } => (output::Event::Added { initial: *initial }, None),
            Change::Updated { old, .. } => (output::Event::Modified, Some(old as &dyn output::Object)),
            Change::Deleted { .. } => (output::Event::Deleted, None),
            // A kind of change that a later kube-informer may add.
            _ => return String::new(),
        };
        let line = Line {
            event,
            time: output::now(),
            context: source.context.as_deref(),
            key: change.key(),
            object: change.object(),
            old,
        };
        self.printers[printer].event(&line)
    }

    /// Renders the Events that are there already, the latest last.
    fn earlier(&self, events: Vec<(usize, Change<Stored>)>) -> String {
        if self.output.watch_only() {
            return String::new();
        }
        let mut events: Vec<(Value, usize, Change<Stored>)> = events
            .into_iter()
            .map(|(place, change)| (output::json_of(change.object()), place, change))
            .collect();
        events.sort_by(|(a, ..), (b, ..)| last_seen(a).cmp(last_seen(b)));
        let about = |(event, place, change): &(Value, usize, Change<Stored>)| {
            self.about(&self.sources[*place], change.object(), event)
        };
        events.iter().map(about).collect()
    }

    /// Renders an Event, if it is about one of the objects.
    fn about(&self, events: &Source, object: &Stored, event: &Value) -> String {
        let about = &event["involvedObject"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let is_about = |source: &&Source| {
            let namespace = Some(text(&about["namespace"])).filter(|namespace| !namespace.is_empty());
            source.connection == events.connection
                && source.resource.api.kind == text(&about["kind"])
                && source.informer.snapshot().is_ok_and(|snapshot| {
                    let namespace = namespace.as_deref().filter(|_| source.resource.namespaced);
                    snapshot.get(namespace, &text(&about["name"])).is_some()
                })
        };
        let mut objects = self.sources.iter().filter(|source| matches!(source.role, Role::Objects(_)));
        let Some(Role::Objects(printer)) = objects.find(is_about).map(|source| source.role) else {
            return String::new();
        };
        self.printers[printer].about(events.context.as_deref(), object, event)
    }

    /// Says which of the objects that were named do not exist.
    fn name_the_missing(&self) {
        for source in &self.sources {
            if let Some(name) = &source.name
                && source.informer.snapshot().is_ok_and(|snapshot| snapshot.is_empty())
            {
                let context =
                    source.context.as_ref().map(|context| format!("{context}: ")).unwrap_or_default();
                notice(&format!("{context}{}/{name} does not exist", source.resource.qualified_singular()));
            }
        }
    }

    /// Returns the names in the cache, with what is needed to tell them apart.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for source in self.sources.iter().filter(|source| source.role != Role::Events) {
            // After the first list there is always a snapshot.
            let Ok(snapshot) = source.informer.snapshot() else { continue };
            let context = source.context.as_ref().map(|context| format!("{context}:")).unwrap_or_default();
            let prefix = if self.scope.types {
                format!("{}/", source.resource.qualified_singular())
            } else {
                String::new()
            };
            let qualified = source.resource.namespaced && self.scope.namespaces;
            let name = |key: &ObjectKey| if qualified { key.to_string() } else { key.name().to_owned() };
            names.extend(snapshot.entries().map(|(key, _)| format!("{context}{prefix}{}", name(key))));
        }
        names
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

/// Returns each status after the present one.
fn statuses(watch: StatusWatch) -> impl Stream<Item = Arc<Status>> {
    stream::unfold(watch, async |mut watch| Some((watch.changed().await.ok()?, watch)))
}

/// Returns when an Event was last seen, as text that sorts like the time.
fn last_seen(event: &Value) -> &str {
    let times = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
    let time = times.into_iter().find_map(Value::as_str).or(event["metadata"]["creationTimestamp"].as_str());
    time.unwrap_or_default()
}
