//! A watch from memory: a service that a `kube::Client` takes for a server.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::{Client, client::Body};
use tokio::{sync::oneshot, task::coop};

use crate::blogs;

/// The namespace of the Blogs.
const NAMESPACE: &str = "default";

/// As large as the pieces in which initial events come over a socket.
const PIECE: usize = 16 << 10;

/// The other end of a watch.
pub(crate) struct Feed {
    /// Sent, it lets the updates come.
    pub(crate) open: oneshot::Sender<()>,
    /// How long the client was busy with each update, in nanoseconds.
    pub(crate) busy: Arc<Mutex<Vec<u64>>>,
    /// The version of the last update.
    pub(crate) last: String,
}

/// The lines that are still to come.
struct Lines {
    initial: std::vec::IntoIter<Bytes>,
    gate: oneshot::Receiver<()>,
    opened: bool,
    updates: std::vec::IntoIter<Bytes>,
    handed_over: Option<Instant>,
    busy: Arc<Mutex<Vec<u64>>>,
}

/// A client whose first watch-list gets so many Blogs and then, when it is let, so many updates.
pub(crate) fn client(objects: usize, updates: usize) -> (Client, Feed) {
    let mut initial = vec![BytesMut::new()];
    let added = (0..objects).map(|number| blogs::watch_line("ADDED", NAMESPACE, number, number + 1));
    for line in added.chain([blogs::initial_events_end(objects)]) {
        match initial.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.extend_from_slice(&line),
            _ => initial.push(BytesMut::from(&line[..])),
        }
    }
    // Spread over the objects: the next one is far from the last.
    let modified = |update: usize| {
        blogs::watch_line("MODIFIED", NAMESPACE, update * 7919 % objects, objects + update + 1)
    };
    let (open, gate) = oneshot::channel();
    let busy = Arc::new(Mutex::new(Vec::with_capacity(updates)));
    let lines = Lines {
        initial: initial.into_iter().map(BytesMut::freeze).collect::<Vec<_>>().into_iter(),
        gate,
        opened: false,
        updates: (0..updates).map(modified).collect::<Vec<_>>().into_iter(),
        handed_over: None,
        busy: Arc::clone(&busy),
    };
    let lines = Arc::new(Mutex::new(Some(lines)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer(&request, &lines);
        async move { answer }
    });
    let last = (objects + updates).to_string();
    (Client::new(service, NAMESPACE), Feed { open, busy, last })
}

fn answer(
    request: &Request<Body>,
    lines: &Mutex<Option<Lines>>,
) -> Result<Response<StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>>>> {
    let query = request.uri().query().unwrap_or_default();
    let watch_list = query.contains("watch=true") && query.contains("sendInitialEvents=true");
    ensure!(watch_list, "only a watch-list is served, not {}", request.uri());
    let taken = lines.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut lines = taken.context("only one watch is served")?;
    let body = stream::poll_fn(move |context| lines.poll(context).map(|line| Some(Ok(Frame::data(line)))));
    Ok(Response::new(StreamBody::new(body)))
}

impl Lines {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        if let Some(at) = self.handed_over.take() {
            let nanoseconds = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.busy.lock().unwrap_or_else(PoisonError::into_inner).push(nanoseconds);
        }
        // As a socket does, so that a task that is always fed lets others run.
        let budget = ready!(coop::poll_proceed(context));
        if let Some(piece) = self.initial.next() {
            budget.made_progress();
            return Poll::Ready(piece);
        }
        if !self.opened {
            // Dropped, it stays closed.
            if ready!(self.gate.poll_unpin(context)).is_err() {
                return Poll::Pending;
            }
            self.opened = true;
        }
        let Some(line) = self.updates.next() else { return Poll::Pending };
        budget.made_progress();
        self.handed_over = Some(Instant::now());
        Poll::Ready(line)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn initial_events_come_first_and_updates_when_they_are_let() {
        let (client, feed) = client(30, 2);
        let request = Request::get("/x?watch=true&sendInitialEvents=true").body(Body::empty()).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains("initial-events-end") {
            text.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        let events: Vec<Value> =
            text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(events.len(), 31);
        assert!(events[..30].iter().all(|event| event["type"] == "ADDED"));
        assert!((800..1000).contains(&events[0]["object"].to_string().len()), "{}", events[0]);
        assert!(body.frame().now_or_never().is_none());

        feed.open.send(()).unwrap();
        for version in ["31", "32"] {
            let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let event: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(
                (&event["type"], &event["object"]["metadata"]["resourceVersion"]),
                (&"MODIFIED".into(), &version.into())
            );
        }
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(feed.busy.lock().unwrap().len(), 2);
        assert_eq!(feed.last, "32");
    }
}
