//! `crdctl wait`: waits until objects meet a condition.

mod condition;
mod progress;
mod watcher;

use std::{process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::future::try_join_all;
use kube_informer::{Change, Event, Informers, ObjectKey, StatusWatch};
use tokio::{sync::mpsc, time::sleep};

use self::{
    progress::{Outcome, Plan, Target, all_met},
    watcher::{News, Scope, Watcher},
};
use crate::{
    cli::{Cluster, ONE_OR_ALL, WaitArgs, WaitFormat, wrong_usage},
    connection::Connection,
    discovery,
    resource::{Request, ResourceType},
    shutdown,
    stdio::{print, say},
};

/// The exit code of a wait that took too long, as that of coreutils' `timeout`.
const TIMED_OUT: u8 = 124;

/// Runs `crdctl wait`.
pub(crate) async fn run(cluster: &Cluster, args: WaitArgs) -> Result<ExitCode> {
    if args.all_namespaces && cluster.names_a_namespace() {
        return Ok(wrong_usage(ONE_OR_ALL));
    }
    let plan = Plan::parse(&args.all, &args.or, &args.fail_on);
    let (plan, requests) = match plan.and_then(|plan| Ok((plan, requests(&args)?))) {
        Ok(parsed) => parsed,
        Err(problem) => return Ok(wrong_usage(&problem)),
    };
    let connection = Connection::new(cluster)?;
    let scope = Scope {
        namespace: (!args.all_namespaces).then(|| connection.namespace.clone()),
        labels: args.selector.as_deref(),
        fields: args.field_selector.as_deref(),
    };
    let mut arguments: Vec<Argument> = requests.into_iter().map(Argument::new).collect();
    let once = args.timeout.is_zero();
    let deadline = async { if once { std::future::pending().await } else { sleep(args.timeout).await } };
    let waited = tokio::select! {
        waited = wait(&connection, &scope, &plan, &mut arguments, once, args.format) => waited?,
        () = deadline => Ended::Unmet,
        interrupted = shutdown::signal() => Ended::Interrupted(interrupted?),
    };
    let report = |arguments: &[Argument]| {
        arguments.iter().for_each(|argument| argument.report(&plan, &scope));
        if arguments.iter().all(|argument| argument.target.is_synced() && !argument.target.has_objects()) {
            say("nothing is selected");
        }
    };
    Ok(match waited {
        Ended::Met => ExitCode::SUCCESS,
        Ended::Failed(state) => {
            say(&format!("error: {state}"));
            ExitCode::FAILURE
        }
        Ended::Interrupted(code) => {
            report(&arguments);
            code
        }
        Ended::Unmet => {
            let waited = if once { String::new() } else { format!(" after {:?}", args.timeout) };
            say(&format!("error: the condition is not met{waited}"));
            report(&arguments);
            ExitCode::from(TIMED_OUT)
        }
    })
}

/// How a wait ended.
enum Ended {
    Met,
    /// With the state that `--fail-on` names.
    Failed(String),
    Unmet,
    Interrupted(ExitCode),
}

/// Parses the objects. They are either named or selected.
fn requests(args: &WaitArgs) -> Result<Vec<Request>, String> {
    let selects = args.every || args.selector.is_some() || args.field_selector.is_some();
    let requests = Request::parse(&args.objects)?;
    match (selects, requests.iter().all(|request| request.name.is_some())) {
        (true, true) => {
            Err("objects are either named or selected by --selector, --field-selector or --all".into())
        }
        (false, false) => {
            Err("no object is named; --selector, --field-selector or --all selects some of the type".into())
        }
        (false, true) if args.all_namespaces => Err("a name cannot be looked for in all namespaces".into()),
        _ => Ok(requests),
    }
}

/// Waits until every object has met a goal, or one has failed. With `once`, does not wait for changes.
async fn wait(
    connection: &Connection,
    scope: &Scope<'_>,
    plan: &Plan,
    arguments: &mut [Argument],
    once: bool,
    format: Option<WaitFormat>,
) -> Result<Ended> {
    let discovered = discovery::discover(connection).await?;
    let informers = Informers::new(connection.client.clone());
    let (news, mut receiver) = mpsc::channel(16);
    let watcher = Watcher { connection, scope, plan, informers: &informers, discovered: &discovered, once };
    let requests: Vec<Request> = arguments.iter().map(|argument| argument.request.clone()).collect();
    let followers = requests.iter().enumerate().map(|(place, request)| watcher.follow(place, request, &news));
    let judged = async {
        while let Some((place, piece)) = receiver.recv().await {
            let Some(argument) = arguments.get_mut(place) else { continue };
            if let Some(failure) = argument.take(piece, plan, scope, format)? {
                return Ok(Ended::Failed(failure));
            }
            if all_met(plan, arguments.iter().map(|argument| &argument.target)) {
                return Ok(Ended::Met);
            }
            if once
                && arguments.iter().all(|argument| argument.target.is_synced() || argument.problem.is_some())
            {
                return Ok(Ended::Unmet);
            }
        }
        bail!("nothing is followed")
    };
    tokio::select! {
        judged = judged => judged,
        followed = try_join_all(followers) => followed.and_then(|_| bail!("an informer ended")),
    }
}

/// An argument, and what is known about its objects.
struct Argument {
    request: Request,
    target: Target,
    /// Its type and the state of its informer, once it is known.
    followed: Option<(ResourceType, StatusWatch)>,
    /// Why there is no type.
    problem: Option<String>,
}

impl Argument {
    fn new(request: Request) -> Self {
        let target = Target::new(request.name.as_deref());
        Self { request, target, followed: None, problem: None }
    }

    /// Returns an object's name as kubectl prints it: `blog.web.helloworld/x`.
    fn name(&self, key: &ObjectKey) -> String {
        match &self.followed {
            Some((resource, _)) => format!("{}/{}", resource.qualified_singular(), key.name()),
            None => format!("{}/{}", self.request.resource, key.name()),
        }
    }

    /// Prints the last known state of each object that has not met the condition, and why it is not known better.
    fn report(&self, plan: &Plan, scope: &Scope<'_>) {
        let status = self.followed.as_ref().map(|(_, status)| status.current());
        let trouble = match (&status, &self.problem) {
            (Some(status), _) => status.error().map(|error| format!("retrying: {error}")),
            (None, problem) => problem.clone(),
        };
        let subject = |key: &ObjectKey| match key.namespace().filter(|_| scope.namespace.is_none()) {
            Some(namespace) => format!("{} in {namespace}", self.name(key)),
            None => self.name(key),
        };
        if !self.target.is_synced() {
            let name = self.request.name.iter().map(|name| format!("/{name}")).collect::<String>();
            let trouble = trouble.as_deref().unwrap_or("not known yet");
            return say(&format!("{}{name}: {trouble}", self.request.resource));
        }
        for (key, state) in self.target.unmet(plan, Instant::now()) {
            let trouble = trouble.iter().map(|trouble| format!("; {trouble}")).collect::<String>();
            say(&format!("{}: {state}{trouble}", subject(key)));
        }
    }

    /// Takes notice of a piece of news, and prints the name of an object that met a goal. Returns the state of one that
    /// met a condition of `--fail-on`.
    fn take(
        &mut self,
        news: News,
        plan: &Plan,
        scope: &Scope<'_>,
        format: Option<WaitFormat>,
    ) -> Result<Option<String>> {
        let wrong = |name: String| move |problem| anyhow!("{name}: {problem}");
        let (key, outcome) = match news {
            News::NoType(problem) => {
                say(&format!("waiting for the type: {problem}"));
                self.problem = Some(problem);
                return Ok(None);
            }
            News::Started(resource, status) => {
                self.problem = None;
                self.followed = Some((resource, status));
                return Ok(None);
            }
            News::Event(Event::Change(
                Change::Added { key, object, .. } | Change::Updated { key, new: object, .. },
            )) => {
                let object = serde_json::to_value(&*object).context("reading an object")?;
                let name = self.name(&key);
                let outcome = self.target.exists(plan, key.clone(), object, Instant::now());
                (key, outcome.map_err(wrong(name))?)
            }
            News::Event(Event::Change(Change::Deleted { key, .. })) => {
                let outcome = self.target.gone(plan, &key);
                (key, outcome)
            }
            News::Event(Event::Synced { .. }) => {
                self.check_decoded()?;
                let namespaced = self.followed.as_ref().is_some_and(|(resource, _)| resource.namespaced);
                let namespace = scope.namespace.as_deref().filter(|_| namespaced);
                match self.target.synced(plan, namespace) {
                    Some((key, outcome)) => (key, Some(outcome)),
                    None => return Ok(None),
                }
            }
            // A kind of event that a later kube-informer may add.
            News::Event(_) => return Ok(None),
        };
        match outcome {
            None => Ok(None),
            Some(Outcome::Met(goal)) => self.print(&key, goal, plan, format).map(|()| None),
            Some(Outcome::Failed(condition)) => {
                let state = match self.target.last(&key) {
                    Some(_) if condition.is_deletion() => "was deleted".to_owned(),
                    Some(object) => condition.state(object),
                    None => condition.to_string(),
                };
                Ok(Some(format!("{}: {state}", self.name(&key))))
            }
        }
    }

    /// Fails if there are objects that cannot be decoded: they would be taken for absent.
    fn check_decoded(&self) -> Result<()> {
        let status = self.followed.as_ref().map(|(_, status)| status.current());
        match status.as_ref().and_then(|status| status.quarantined.iter().next()) {
            Some((key, problem)) => bail!("{} cannot be read: {}", self.name(key), problem.error),
            None => Ok(()),
        }
    }

    /// Prints an object that met the goal.
    fn print(&self, key: &ObjectKey, goal: &str, plan: &Plan, format: Option<WaitFormat>) -> Result<()> {
        let name = self.name(key);
        let text = match (format, self.target.last(key)) {
            (None, _) if plan.has_alternatives() => format!("{name} condition met ({goal})\n"),
            (None, _) => format!("{name} condition met\n"),
            (Some(WaitFormat::Name), _) => format!("{name}\n"),
            (Some(WaitFormat::Json), Some(object)) => format!("{object}\n"),
            // It never existed.
            (Some(WaitFormat::Json), None) => return Ok(()),
        };
        print(&text).map(drop)
    }
}
