//! Follows the objects of a wait, from before their type exists.

use std::time::Duration;

use anyhow::Result;
use kube::core::DynamicObject;
use kube_informer::{Error, Event, Informer, Informers, StatusWatch};
use tokio::{sync::mpsc, time::sleep};

use super::progress::Plan;
use crate::{
    connection::Connection,
    discovery, explain,
    resource::{Discovered, Request, ResourceType},
};

/// How often the server is asked for a type that it does not serve yet. Discovery cannot be watched.
const ASK_FOR_TYPE: Duration = Duration::from_secs(1);

/// Where objects are looked for.
pub(super) struct Scope<'a> {
    /// `None`: in all namespaces.
    pub(super) namespace: Option<String>,
    pub(super) labels: Option<&'a str>,
    pub(super) fields: Option<&'a str>,
}

/// What is reported about an argument.
pub(super) enum News {
    /// The server does not serve the type, yet.
    NoType(String),
    Started(ResourceType, StatusWatch),
    Event(Event<DynamicObject>),
}

/// Follows the objects of the arguments.
pub(super) struct Watcher<'a> {
    pub(super) connection: &'a Connection,
    pub(super) scope: &'a Scope<'a>,
    pub(super) plan: &'a Plan,
    pub(super) informers: &'a Informers,
    pub(super) discovered: &'a Discovered,
    /// Whether to fail where the server may answer later.
    pub(super) once: bool,
}

type Sender = mpsc::Sender<(usize, News)>;

impl Watcher<'_> {
    /// Sends what happens to the objects of the argument at this place, until the receiver is dropped.
    pub(super) async fn follow(&self, place: usize, request: &Request, news: &Sender) -> Result<()> {
        let resource = self.resource_type(place, &request.resource, news).await?;
        let informer = self.start(&resource, request.name.as_deref());
        // Before the first list, so that an object which is gone soon after it is seen, too.
        let mut events = informer.subscribe();
        let action = format!("watch {}", resource.qualified_plural());
        let started = News::Started(resource, informer.watch_status());
        send(news, place, started).await;
        let listed = self.first_list(&informer).await;
        listed.map_err(|error| explain::request(&self.connection.server, &action, &error))?;
        while let Some(event) = events.next().await {
            send(news, place, News::Event(event)).await;
        }
        Ok(())
    }

    /// Returns the type, as soon as the server serves it. While it does not, an object of it cannot be told from one that
    /// was never meant, so that waiting for its deletion fails, as in kubectl.
    async fn resource_type(&self, place: usize, asked: &str, news: &Sender) -> Result<ResourceType> {
        let mut problem = match self.discovered.get(asked) {
            Ok(_) => return self.discovered.watchable(asked).cloned(),
            Err(problem) if self.plan.is_met_by_absence() => return Err(problem),
            Err(problem) => Some(problem.to_string()),
        };
        loop {
            if let Some(problem) = problem.take() {
                send(news, place, News::NoType(problem)).await;
            }
            sleep(ASK_FOR_TYPE).await;
            // A failure is as good as an answer without the type: the server may be restarting.
            if let Ok(discovered) = discovery::discover(self.connection).await
                && discovered.get(asked).is_ok()
            {
                return discovered.watchable(asked).cloned();
            }
        }
    }

    fn start(&self, resource: &ResourceType, name: Option<&str>) -> Informer<DynamicObject> {
        let mut informer = self.informers.dynamic(&resource.api);
        if let Some(namespace) = self.scope.namespace.as_deref().filter(|_| resource.namespaced) {
            informer = informer.namespace(namespace);
        }
        if let Some(labels) = self.scope.labels {
            informer = informer.label_selector(labels);
        }
        let name = name.map(|name| format!("metadata.name={name}"));
        if let Some(fields) = name.as_deref().or(self.scope.fields) {
            informer = informer.field_selector(fields);
        }
        informer.start()
    }

    /// Waits for the first list, and through failures that may pass: of the connection, of a busy server, and of a type that
    /// was installed a moment ago.
    async fn first_list(&self, informer: &Informer<DynamicObject>) -> Result<(), Error> {
        let mut status = informer.watch_status();
        loop {
            let Err(error) = informer.synced().await.map(drop) else { return Ok(()) };
            let lasts = match &error {
                Error::Api { .. } => !matches!(error.code(), Some(404 | 429 | 500..)),
                Error::Unreachable { .. } | Error::Interrupted { .. } | Error::Silent { .. } => false,
                _ => true,
            };
            // The status changes with each attempt, and when the informer ends.
            if lasts || self.once || status.changed().await.is_err() {
                return Err(error);
            }
        }
    }
}

async fn send(news: &Sender, place: usize, piece: News) {
    // The receiver lives as long as this task.
    let _ = news.send((place, piece)).await;
}
