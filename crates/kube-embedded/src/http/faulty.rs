//! Applies a fault to the request that it has taken.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{StatusCode, Uri, uri};
use http_body_util::BodyDataStream;
use kube_validation::FieldError;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::body::{Body, BoxError};
use super::faults::{Fault, Hit};
use super::impersonate::impersonation;
use super::query::{Query, invalid_options};
use super::render::{self, Response};
use super::request_info::request_info;
use super::watch;
use crate::cluster::{Cluster, RequestInfo, refusal};
use crate::resource::to_json;
use crate::status::Status;
use crate::user::User;

/// Marks a response that must not be sent: the connection breaks instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsLost;

/// A watch with a fault after some events.
struct Faulty {
    body: BodyDataStream<Body>,
    /// Bytes that were read from the body and not sent yet.
    read: BytesMut,
    /// Events to send before the fault.
    left: usize,
    hit: Hit,
    state: State,
    ended: CancellationToken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The fault has not happened yet.
    Armed,
    /// The fault has happened, and the watch continues.
    Passed,
    /// The watch has ended.
    Over,
}

/// Applies a fault before a request is performed: changes the request, waits, or returns a response in its place.
pub(super) async fn before<B>(
    cluster: &Cluster,
    user: &User,
    request: &mut http::Request<B>,
    hit: &Hit,
) -> Option<Response> {
    let refused = match &hit.fault {
        Fault::TooManyRequests { retry_after } => Status::too_many_requests(*retry_after),
        Fault::InternalError { retry_after } => {
            Status::internal_error("a fault was injected").retry_after(*retry_after)
        }
        Fault::ServiceUnavailable { retry_after } => Status::unavailable(*retry_after),
        Fault::Conflict => conflict(&info(request)),
        Fault::Forbidden => {
            // Whoever the request acts as, if it may.
            let other = impersonation(request.headers())
                .and_then(|other| other.authorize(&cluster.rbac, &cluster.store, user));
            match other {
                Ok(other) => refusal(other.as_ref().unwrap_or(user), &info(request)),
                Err(refused) => refused,
            }
        }
        Fault::AdmissionDenied { webhook, message } => {
            Status::denied_by(webhook, &json!({"message": message}))
        }
        Fault::Expired => match Query::parse(request.uri().query()).watch() {
            true => expired(),
            false => Status::expired("The resourceVersion for the provided list is too old."),
        },
        Fault::WatchListRefused => {
            let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            invalid_options("ListOptions", vec![FieldError::forbidden("sendInitialEvents", why)])
        }
        Fault::Delay(time) => {
            let mut timer = cluster.clock.timer(*time);
            hit.happens();
            tokio::select! {
                () = timer.due() => {}
                () = cluster.ended.cancelled() => {}
            }
            return None;
        }
        Fault::Silence => {
            hit.happens();
            cluster.ended.cancelled().await;
            return Some(render::status(&Status::unavailable(None)));
        }
        Fault::StaleList { resource_version } => {
            let asked = [("resourceVersion", resource_version.as_str()), ("resourceVersionMatch", "Exact")];
            let uri = with_query(request.uri(), &["resourceVersion", "resourceVersionMatch"], &asked);
            *request.uri_mut() = uri;
            hit.happens();
            return None;
        }
        Fault::WatchListIgnored => {
            let unknown = ["sendInitialEvents", "resourceVersionMatch"];
            *request.uri_mut() = with_query(request.uri(), &unknown, &[]);
            hit.happens();
            return None;
        }
        Fault::AnswerLost
        | Fault::EndAfter(_)
        | Fault::ResetAfter(_)
        | Fault::TruncateAfter(_)
        | Fault::ExpiredAfter(_)
        | Fault::UndecodableAfter(_)
        | Fault::SilentAfter(_) => return None,
    };
    hit.happens();
    Some(render::status(&refused))
}

/// Applies a fault to the response to a request. A fault of a watch happens among its events.
pub(super) fn after(cluster: &Cluster, response: Response, hit: Hit) -> Response {
    if hit.fault == Fault::AnswerLost {
        hit.happens();
        let nothing = futures_util::stream::once(async { Err::<Bytes, _>(reset()) });
        let mut lost = Response::new(Body::from_stream(nothing));
        lost.extensions_mut().insert(IsLost);
        return lost;
    }
    let (Fault::EndAfter(left)
    | Fault::ResetAfter(left)
    | Fault::TruncateAfter(left)
    | Fault::ExpiredAfter(left)
    | Fault::UndecodableAfter(left)
    | Fault::SilentAfter(left)) = hit.fault
    else {
        return response;
    };
    if response.status() != StatusCode::OK {
        return response;
    }
    response.map(|body| {
        let faulty = Faulty {
            body: BodyDataStream::new(body),
            read: BytesMut::new(),
            left,
            hit,
            state: State::Armed,
            ended: cluster.ended.clone(),
        };
        Body::from_stream(faulty.pieces())
    })
}

impl Faulty {
    fn pieces(self) -> impl Stream<Item = Result<Bytes, BoxError>> {
        futures_util::stream::unfold(self, |mut watch| async move {
            let piece = watch.next().await?;
            Some((piece, watch))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        if self.state == State::Over {
            return None;
        }
        if self.state == State::Passed || self.left > 0 {
            self.left = self.left.saturating_sub(1);
            return self.line().await;
        }
        match self.hit.fault {
            Fault::TruncateAfter(_) => {
                let line = match self.line().await? {
                    Ok(line) => line,
                    Err(error) => return Some(Err(error)),
                };
                self.hit(State::Over);
                Some(Ok(line.slice(..line.len() / 2)))
            }
            Fault::UndecodableAfter(_) => {
                let line = match self.line().await? {
                    Ok(line) => line,
                    Err(error) => return Some(Err(error)),
                };
                self.hit(State::Passed);
                Some(Ok(undecodable(&line)))
            }
            Fault::ExpiredAfter(_) => {
                self.hit(State::Over);
                Some(Ok(watch::line("ERROR", &expired().json())))
            }
            Fault::ResetAfter(_) => {
                // Gives the bytes sent so far a chance to leave the process.
                tokio::task::yield_now().await;
                self.hit(State::Over);
                Some(Err(reset()))
            }
            Fault::SilentAfter(_) => {
                self.hit(State::Over);
                self.ended.cancelled().await;
                None
            }
            _ => {
                self.hit(State::Over);
                None
            }
        }
    }

    fn hit(&mut self, state: State) {
        self.state = state;
        self.hit.happens();
    }

    /// The next event, with its line ending. `None`: the watch has ended by itself.
    async fn line(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Some(Ok(self.read.split_to(end + 1).freeze()));
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.read.extend_from_slice(&piece),
                Some(Err(error)) => return Some(Err(error)),
                None => return None,
            }
        }
    }
}

/// What the fault of a request says about it. The path is one of a resource's, or no fault would have taken it.
fn info<B>(request: &http::Request<B>) -> RequestInfo {
    let uri = request.uri();
    request_info(request.method(), uri.path(), Query::parse(uri.query()).watch()).unwrap_or_default()
}

/// The 409 of a request that another one has overtaken.
fn conflict(info: &RequestInfo) -> Status {
    match info.name.as_str() {
        // There is nothing that could have been modified, but the quota that the object counts against.
        "" => Status::modified_object("", "resourcequotas", "quota"),
        name => Status::modified_object(&info.group, &info.resource, name),
    }
}

/// A connection error.
fn reset() -> BoxError {
    std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
}

fn expired() -> Status {
    Status::expired("The resourceVersion for the provided watch is too old.")
}

/// The line of an event, with an object that no client can decode.
fn undecodable(line: &[u8]) -> Bytes {
    let mut event: Value = serde_json::from_slice(line).unwrap_or_default();
    event["object"]["metadata"]["labels"] = "none".into();
    let (kind, object) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
    watch::line(kind, &to_json(object))
}

/// A URI with some parameters removed and others added.
fn with_query(uri: &Uri, without: &[&str], with: &[(&str, &str)]) -> Uri {
    let old = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(old.filter(|(name, _)| !without.contains(&&**name)))
        .extend_pairs(with)
        .finish();
    let mut parts = uri.clone().into_parts();
    // Both parts are valid, and so is their combination.
    parts.path_and_query = uri::PathAndQuery::try_from(format!("{}?{query}", uri.path())).ok();
    Uri::from_parts(parts).unwrap_or_default()
}
