//! An in-memory server: a tower service for a `kube::Client` that answers watch-lists and nothing else.

use std::{
    collections::{HashMap, VecDeque},
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
use http_body_util::{Full, StreamBody, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use serde_json::json;
use tokio::{sync::oneshot, task::coop};

use crate::{blogs, kind::Kind};

/// The namespace of the Blogs.
const NAMESPACE: &str = "default";

/// The size of the chunks in which a burst of events arrives through TLS.
const PIECE: usize = 16 << 10;

/// A server whose watch sends updates.
pub struct Churn {
    /// A client of that server.
    pub client: Client,
    /// A message on this channel releases the updates.
    pub open: oneshot::Sender<()>,
    /// How long the client was busy with each chunk of updates, in nanoseconds.
    pub busy: Arc<Mutex<Vec<u64>>>,
    /// The version of the last update.
    pub last: String,
    /// The name of the Blog in the last update.
    pub last_name: String,
    /// Receives a message when the client asks for more after the last update.
    pub done: oneshot::Receiver<()>,
}

/// A server with several namespaces, each with a watch that sends updates.
pub struct Namespaces {
    /// A client of that server.
    pub client: Client,
    /// The namespaces, each with the channel that releases its updates.
    pub open: Vec<(String, oneshot::Sender<()>)>,
    /// The version of the last update of each namespace.
    pub last: String,
}

/// A server whose watch expires.
pub struct Relist {
    /// A client of that server.
    pub client: Client,
    /// A message on this channel makes the watch expire.
    pub expire: oneshot::Sender<()>,
    /// The version of the second list.
    pub version: String,
}

/// The body of a response: Blogs, the end of the initial events, and the lines that follow once they are released.
struct Lines {
    kind: Kind,
    namespace: String,
    /// The numbers of the objects that remain. `None` once the end of the initial events has been sent.
    initial: Option<std::ops::Range<usize>>,
    version: usize,
    gate: Option<oneshot::Receiver<()>>,
    updates: std::vec::IntoIter<Bytes>,
    ends: bool,
    done: Option<oneshot::Sender<()>>,
    handed_over: Option<Instant>,
    busy: Arc<Mutex<Vec<u64>>>,
}

/// Creates a server that sends the given number of Blogs and then of updates, one per chunk, or as many per chunk as fit.
pub fn churn(objects: usize, updates: usize, burst: bool) -> Churn {
    let (open, gate) = oneshot::channel();
    // Spread over the objects, so that consecutive updates are far apart.
    let number = |update| update * 7919 % objects;
    let modified = (0..updates)
        .map(|update| blogs::watch_line("MODIFIED", NAMESPACE, number(update), objects + update + 1));
    let pieces = if burst { pieces(modified) } else { modified.collect() };
    let (tell, done) = oneshot::channel();
    let lines =
        Lines { done: Some(tell), ..Lines::new(NAMESPACE, objects, objects, Some(gate), pieces, false) };
    let busy = Arc::clone(&lines.busy);
    let last_name = blogs::name(number(updates.saturating_sub(1)));
    Churn {
        client: client([(None, lines)]),
        open,
        busy,
        last: (objects + updates).to_string(),
        last_name,
        done,
    }
}

/// Creates a server that sends the given number of objects; then the watch expires, and the second list has the same ones at
/// a later version.
pub fn relist(kind: Kind, objects: usize) -> Relist {
    let (expire, gate) = oneshot::channel();
    let first = Lines::new(NAMESPACE, objects, objects, Some(gate), vec![blogs::expired()], true);
    let second = Lines::new(NAMESPACE, objects, objects + 1, None, Vec::new(), false);
    let (first, second) = (Lines { kind, ..first }, Lines { kind, ..second });
    Relist { client: client([(None, first), (None, second)]), expire, version: (objects + 1).to_string() }
}

/// Creates a server for the start of a client: with this many Blogs to list, or for one that has them already.
pub fn restart(objects: usize, warm: bool) -> Client {
    let lines = Lines {
        initial: (!warm).then_some(0..objects),
        ..Lines::new(NAMESPACE, objects, objects, None, Vec::new(), false)
    };
    let answers: Arc<Answers> = Arc::new(Mutex::new(HashMap::from([(None, VecDeque::from([lines]))])));
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = match identity(&request, objects) {
            Some(text) => Ok(Response::new(UnsyncBoxBody::new(Full::from(text)))),
            None => answer(&request, &answers),
        };
        async move { answer }
    });
    Client::new(service, NAMESPACE)
}

/// The response to a question about the cluster, the user, or the version of the Blogs.
fn identity(request: &Request<Body>, version: usize) -> Option<String> {
    let answer = match request.uri().path() {
        path if path.ends_with("/selfsubjectreviews") => json!({"status": {"userInfo": {"username": "me"}}}),
        path if path.ends_with("/namespaces/kube-system") => json!({"metadata": {"uid": "one"}}),
        _ if request.uri().query() == Some("limit=1") => {
            json!({"metadata": {"resourceVersion": version.to_string()}, "items": []})
        }
        _ => return None,
    };
    Some(answer.to_string())
}

/// Creates a server with this many namespaces, that sends the given number of Blogs and then of updates in each, one per
/// chunk.
pub fn namespaces(count: usize, objects: usize, updates: usize) -> Namespaces {
    let (mut open, mut answers) = (Vec::new(), Vec::new());
    for number in 0..count {
        let name = format!("namespace-{number:04}");
        let modified = (0..updates)
            .map(|update| blogs::watch_line("MODIFIED", &name, update % objects, objects + update + 1))
            .collect();
        let (release, gate) = oneshot::channel();
        let lines = Lines::new(&name, objects, objects, Some(gate), modified, false);
        answers.push((Some(name.clone()), lines));
        open.push((name, release));
    }
    Namespaces { client: client(answers), open, last: (objects + updates).to_string() }
}

/// The responses to the requests of each namespace, or of all namespaces.
type Answers = Mutex<HashMap<Option<String>, VecDeque<Lines>>>;

fn client(lines: impl IntoIterator<Item = (Option<String>, Lines)>) -> Client {
    let mut answers: HashMap<Option<String>, VecDeque<Lines>> = HashMap::new();
    for (namespace, lines) in lines {
        answers.entry(namespace).or_default().push_back(lines);
    }
    let answers: Arc<Answers> = Arc::new(Mutex::new(answers));
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer(&request, &answers);
        async move { answer }
    });
    Client::new(service, NAMESPACE)
}

fn answer(request: &Request<Body>, answers: &Answers) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>> {
    let query = request.uri().query().unwrap_or_default();
    ensure!(query.contains("watch=true"), "only a watch is served, not {}", request.uri());
    let namespace =
        request.uri().path().split_once("/namespaces/").and_then(|(_, rest)| rest.split('/').next());
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    let next = answers.get_mut(&namespace.map(str::to_owned)).and_then(VecDeque::pop_front);
    let mut lines = next.context("no further watch is served")?;
    let frame = |piece| Ok(Frame::data(piece));
    let body = stream::poll_fn(move |context| lines.poll(context).map(|piece| piece.map(frame)));
    Ok(Response::new(UnsyncBoxBody::new(StreamBody::new(body))))
}

fn pieces(lines: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let mut pieces = vec![BytesMut::new()];
    for line in lines {
        match pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.extend_from_slice(&line),
            _ => pieces.push(BytesMut::from(&line[..])),
        }
    }
    pieces.into_iter().map(BytesMut::freeze).collect()
}

impl Lines {
    fn new(
        namespace: &str,
        objects: usize,
        version: usize,
        gate: Option<oneshot::Receiver<()>>,
        updates: Vec<Bytes>,
        ends: bool,
    ) -> Lines {
        let busy = Arc::new(Mutex::new(Vec::with_capacity(updates.len())));
        let updates = updates.into_iter();
        Lines {
            kind: Kind::Blogs,
            namespace: namespace.to_owned(),
            initial: Some(0..objects),
            version,
            gate,
            updates,
            ends,
            done: None,
            handed_over: None,
            busy,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(at) = self.handed_over.take() {
            let nanoseconds = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.busy.lock().unwrap_or_else(PoisonError::into_inner).push(nanoseconds);
        }
        // Like a socket, uses tokio's task budget, so that a task whose input is always ready lets others run.
        let budget = ready!(coop::poll_proceed(context));
        if let Some(piece) = self.initial_piece() {
            budget.made_progress();
            return Poll::Ready(Some(piece));
        }
        if let Some(gate) = &mut self.gate {
            // If the sender was dropped, the updates are never released.
            if ready!(gate.poll_unpin(context)).is_err() {
                return Poll::Pending;
            }
            self.gate = None;
        }
        match self.updates.next() {
            Some(line) => {
                budget.made_progress();
                self.handed_over = Some(Instant::now());
                Poll::Ready(Some(line))
            }
            None if self.ends => Poll::Ready(None),
            None => {
                if let Some(done) = self.done.take() {
                    // The receiver may have been dropped, because subscribers report when they are done.
                    let _ = done.send(());
                }
                Poll::Pending
            }
        }
    }

    /// Creates the next chunk of initial events, on demand so that it takes no memory before.
    fn initial_piece(&mut self) -> Option<Bytes> {
        let numbers = self.initial.as_mut()?;
        let mut piece = BytesMut::with_capacity(PIECE + 1024);
        while piece.len() < PIECE {
            let Some(number) = numbers.next() else {
                piece.extend_from_slice(&blogs::initial_events_end(self.version));
                self.initial = None;
                break;
            };
            piece.extend_from_slice(&self.kind.watch_line("ADDED", &self.namespace, number, number + 1));
        }
        Some(piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::*;

    async fn watch(client: &Client) -> Body {
        let request = Request::get("/x?watch=true&sendInitialEvents=true").body(Body::empty()).unwrap();
        client.send(request).await.unwrap().into_body()
    }

    async fn events(body: &mut Body) -> Vec<Value> {
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        piece.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    async fn initial_events(body: &mut Body) -> Vec<Value> {
        let mut all = Vec::new();
        while all.last().is_none_or(|event: &Value| event["type"] != "BOOKMARK") {
            all.extend(events(body).await);
        }
        all
    }

    #[tokio::test]
    async fn initial_events_come_first_and_updates_when_released() {
        for burst in [false, true] {
            let feed = churn(30, 2, burst);
            let mut body = watch(&feed.client).await;
            let initial = initial_events(&mut body).await;
            assert_eq!(initial.len(), 31);
            assert!(initial[..30].iter().all(|event| event["type"] == "ADDED"));
            assert!((800..1000).contains(&initial[0]["object"].to_string().len()), "{}", initial[0]);
            assert!(body.frame().now_or_never().is_none());

            feed.open.send(()).unwrap();
            let mut updates = events(&mut body).await;
            assert_eq!(updates.len(), if burst { 2 } else { 1 });
            if !burst {
                updates.extend(events(&mut body).await);
            }
            let versions = updates.iter().map(|event| &event["object"]["metadata"]["resourceVersion"]);
            assert_eq!(versions.collect::<Vec<_>>(), ["31", "32"]);
            assert!(body.frame().now_or_never().is_none());
            assert_eq!(feed.busy.lock().unwrap().len(), if burst { 1 } else { 2 });
            assert_eq!(feed.last, "32");
            assert_eq!(updates.last().unwrap()["object"]["metadata"]["name"], feed.last_name);
        }
    }

    #[tokio::test]
    async fn a_watch_that_expires_is_followed_by_the_same_list() {
        let feed = relist(Kind::Blogs, 30);
        let mut body = watch(&feed.client).await;
        let first = initial_events(&mut body).await;
        assert!(body.frame().now_or_never().is_none());
        feed.expire.send(()).unwrap();
        assert_eq!(events(&mut body).await[0]["object"]["code"], 410);
        assert!(body.frame().await.is_none());

        let mut body = watch(&feed.client).await;
        let second = initial_events(&mut body).await;
        assert_eq!(first[..30], second[..30]);
        assert_eq!(second[30]["object"]["metadata"]["resourceVersion"], *feed.version);
    }
}
