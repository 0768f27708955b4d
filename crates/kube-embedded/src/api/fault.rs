//! What happens to a request that a fault has taken.

use axum::body::{Body, BodyDataStream};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{StatusCode, Uri, uri};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::query::invalid_options;
use super::{Api, Query, render, watch};
use crate::auth::User;
use crate::faults::{Fault, Strike};
use crate::field::FieldError;
use crate::status::Status;

/// A watch that goes wrong after some events.
struct Faulty {
    body: BodyDataStream,
    /// Read from the body and not sent.
    read: BytesMut,
    /// Events to send before the fault.
    left: usize,
    strike: Strike,
    state: State,
    ended: CancellationToken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The fault is to come.
    Armed,
    /// It has happened and the watch goes on.
    Passed,
    /// It was the end.
    Over,
}

/// Answers a request as its fault wants it.
pub(super) async fn answer(
    api: &Api,
    user: &User,
    mut request: http::Request<Body>,
    strike: Strike,
) -> Response {
    let refused = match &strike.fault {
        Fault::TooManyRequests { retry_after } => Status::too_many_requests(*retry_after),
        Fault::InternalError { retry_after } => {
            Status::internal("a fault was injected").retry_after(*retry_after)
        }
        Fault::ServiceUnavailable { retry_after } => Status::unavailable(*retry_after),
        Fault::Expired => match Query::parse(request.uri().query()).watch() {
            true => expired(),
            false => Status::expired("The resourceVersion for the provided list is too old."),
        },
        Fault::WatchListRefused => {
            let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            invalid_options("ListOptions", &[FieldError::forbidden("sendInitialEvents", why)])
        }
        Fault::Delay(time) => {
            let mut timer = api.clock.timer(*time);
            strike.happens();
            tokio::select! {
                () = timer.due() => {}
                () = api.ended.cancelled() => {}
            }
            return api.perform(user, request).await;
        }
        Fault::Silence => {
            strike.happens();
            api.ended.cancelled().await;
            return Status::unavailable(None).into_response();
        }
        Fault::StaleList { resource_version } => {
            let asked = [("resourceVersion", resource_version.as_str()), ("resourceVersionMatch", "Exact")];
            *request.uri_mut() =
                with_query(request.uri(), &["resourceVersion", "resourceVersionMatch"], &asked);
            strike.happens();
            return api.perform(user, request).await;
        }
        Fault::WatchListIgnored => {
            let unknown = ["sendInitialEvents", "resourceVersionMatch"];
            *request.uri_mut() = with_query(request.uri(), &unknown, &[]);
            strike.happens();
            return api.perform(user, request).await;
        }
        Fault::EndAfter(events)
        | Fault::ResetAfter(events)
        | Fault::TruncateAfter(events)
        | Fault::ExpiredAfter(events)
        | Fault::UndecodableAfter(events)
        | Fault::SilentAfter(events) => {
            let left = *events;
            let response = api.perform(user, request).await;
            if response.status() != StatusCode::OK {
                return response;
            }
            return response.map(|body| {
                Faulty {
                    body: body.into_data_stream(),
                    read: BytesMut::new(),
                    left,
                    strike,
                    state: State::Armed,
                    ended: api.ended.clone(),
                }
                .into_body()
            });
        }
    };
    strike.happens();
    refused.into_response()
}

impl Faulty {
    fn into_body(self) -> Body {
        Body::from_stream(futures_util::stream::unfold(self, |mut watch| async move {
            let piece = watch.next().await?;
            Some((piece, watch))
        }))
    }

    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        if self.state == State::Over {
            return None;
        }
        if self.state == State::Passed || self.left > 0 {
            self.left = self.left.saturating_sub(1);
            return self.line().await;
        }
        match self.strike.fault {
            Fault::TruncateAfter(_) => {
                let line = match self.line().await? {
                    Ok(line) => line,
                    Err(error) => return Some(Err(error)),
                };
                self.strike(State::Over);
                Some(Ok(line.slice(..line.len() / 2)))
            }
            Fault::UndecodableAfter(_) => {
                let line = match self.line().await? {
                    Ok(line) => line,
                    Err(error) => return Some(Err(error)),
                };
                self.strike(State::Passed);
                Some(Ok(undecodable(&line)))
            }
            Fault::ExpiredAfter(_) => {
                self.strike(State::Over);
                Some(Ok(watch::line("ERROR", &expired().json())))
            }
            Fault::ResetAfter(_) => {
                // What has been sent gets its chance to leave the process.
                tokio::task::yield_now().await;
                self.strike(State::Over);
                Some(Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset))))
            }
            Fault::SilentAfter(_) => {
                self.strike(State::Over);
                self.ended.cancelled().await;
                None
            }
            _ => {
                self.strike(State::Over);
                None
            }
        }
    }

    fn strike(&mut self, state: State) {
        self.state = state;
        self.strike.happens();
    }

    /// The next event with its line end; none when the watch ends by itself.
    async fn line(&mut self) -> Option<Result<Bytes, axum::Error>> {
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

fn expired() -> Status {
    Status::expired("The resourceVersion for the provided watch is too old.")
}

/// The line of an event, whose object no client can decode.
fn undecodable(line: &[u8]) -> Bytes {
    let mut event: Value = serde_json::from_slice(line).unwrap_or_default();
    event["object"]["metadata"]["labels"] = "none".into();
    let (kind, object) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
    watch::line(kind, &render::bytes(object))
}

/// A URI without some parameters and with others.
fn with_query(uri: &Uri, without: &[&str], with: &[(&str, &str)]) -> Uri {
    let old = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(old.filter(|(name, _)| !without.contains(&&**name)))
        .extend_pairs(with)
        .finish();
    let mut parts = uri.clone().into_parts();
    // Both parts are valid by themselves, so that what they make is.
    parts.path_and_query = uri::PathAndQuery::try_from(format!("{}?{query}", uri.path())).ok();
    Uri::from_parts(parts).unwrap_or_default()
}
