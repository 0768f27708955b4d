//! Events about objects: sent in the background, by a task that the operator flushes at its end.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
pub(crate) use kube::runtime::events::Event;
pub use kube::runtime::events::EventType;
use kube::runtime::events::{Recorder, Reporter};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::fence::Fence;

/// How many Events wait at most. More than that are dropped: they are for people.
const LONGEST: usize = 1000;

/// Where Events go. Clones are handles to the same task, which ends with the last of them.
#[derive(Clone)]
pub(crate) struct Events(Option<Arc<Sink>>);

struct Sink {
    sender: mpsc::Sender<Message>,
    dropped: Counter,
    _task: AbortOnDropHandle<()>,
}

enum Message {
    Event(Box<(Fence, ObjectReference, Event)>),
    Flush(oneshot::Sender<()>),
}

impl Events {
    /// Events of this reporter. Counts those that are dropped.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub(crate) fn new(client: Client, reporter: &str, dropped: Counter) -> Self {
        let (sender, mut messages) = mpsc::channel(LONGEST);
        let reporter = Reporter { controller: reporter.to_owned(), instance: instance() };
        let recorder = Recorder::new(client, reporter);
        let task = tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                match message {
                    Message::Event(event) => publish(&recorder, *event).await,
                    // Who waited may have given up.
                    Message::Flush(done) => drop(done.send(())),
                }
            }
        });
        Self(Some(Arc::new(Sink { sender, dropped, _task: AbortOnDropHandle::new(task) })))
    }

    /// Events that nobody sends: those of a dry run.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Sends an Event in the background, unless the fence is closed by then.
    pub(crate) fn publish(&self, fence: Fence, about: ObjectReference, event: Event) {
        let Some(sink) = &self.0 else { return };
        if sink.sender.try_send(Message::Event(Box::new((fence, about, event)))).is_err() {
            sink.dropped.inc();
            tracing::debug!("an Event is dropped: too many wait");
        }
    }

    /// Waits until what was published is sent, at most for this time.
    pub(crate) async fn flush(&self, within: Duration) {
        let Some(sink) = &self.0 else { return };
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if sink.sender.send(Message::Flush(done)).await.is_ok() {
                // An error means that there is no task any more.
                let _ = flushed.await;
            }
        };
        if timeout(within, flush).await.is_err() {
            tracing::warn!("not all Events were sent within {within:?}");
        }
    }
}

async fn publish(recorder: &Recorder, (fence, about, event): (Fence, ObjectReference, Event)) {
    if fence.check(Instant::now()).is_err() {
        return;
    }
    tokio::select! {
        biased;
        () = fence.closed_wait() => {}
        published = recorder.publish(&event, &about) => {
            if let Err(error) = published {
                tracing::debug!(%error, reason = event.reason, "an Event was not written");
            }
        }
    }
}

/// The name of the pod, or of the machine.
fn instance() -> Option<String> {
    let pod = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    pod.or_else(|| rustix::system::uname().nodename().to_str().ok().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::events::v1::Event as Written;
    use kube::Api;
    use kube_embedded::Server;

    use super::*;

    fn event(reason: &str) -> Event {
        Event {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note: None,
            action: "Test".to_owned(),
            secondary: None,
        }
    }

    fn about() -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            name: Some("a".to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some("1".to_owned()),
            ..ObjectReference::default()
        }
    }

    #[tokio::test]
    async fn what_was_published_is_there_after_a_flush_and_nothing_past_the_fence() {
        let server = Server::start();
        let events = Events::new(server.client(), "test", Counter::default());
        let (open, closed) = (Fence::open(), Fence::open());
        closed.close();
        events.publish(open, about(), event("Open"));
        events.publish(closed, about(), event("Closed"));
        events.flush(Duration::from_secs(60)).await;
        let written: Api<Written> = Api::default_namespaced(server.client());
        let written = written.list(&kube::api::ListParams::default()).await.unwrap();
        let reasons: Vec<_> = written.items.iter().map(|event| event.reason.as_deref()).collect();
        assert_eq!(reasons, [Some("Open")]);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let dropped = Counter::default();
        let events = Events::new(Server::start().client(), "test", dropped.clone());
        // The task that sends them has no turn before this test waits.
        for _ in 0..LONGEST + 3 {
            events.publish(Fence::closed(), about(), event("Again"));
        }
        assert_eq!(dropped.get(), 3);
    }
}
