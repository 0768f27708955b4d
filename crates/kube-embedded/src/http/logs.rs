//! GET of `pods/log`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use kube_validation::FieldError;
use tokio_util::sync::CancellationToken;

use super::body::Body;
use super::containers::Located;
use super::query::Query;
use super::render::Response;
use super::request::Request;
use super::watch::IsWatch;
use crate::kubelet::{LogOptions, LogReader, What};
use crate::status::Status;

/// Answers with the log of a container, if a test has put one.
pub(super) fn log(request: Request<'_>) -> Result<Response, Status> {
    let (query, info) = (request.query, request.info);
    let options = options(query, &info.name, request.cluster.clock.now())?;
    let pod = Located::of(request)?;
    let container = pod.container(query.get("container").unwrap_or_default())?;
    if !pod.has_host() {
        let mut nothing = Response::new(Body::from(Bytes::new()));
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    let log = |wanted: bool| {
        request.kubelet.latest(&info.namespace, &info.name, Some(&container), |what| match what {
            What::Log { previous, log } if *previous == wanted => Some(log.clone()),
            _ => None,
        })
    };
    let previous = query.flag("previous").unwrap_or(false);
    let found = log(previous).ok_or_else(|| match previous && log(false).is_some() {
        true => Status::bad_request(format!(
            "previous terminated container {container:?} in pod {:?} not found",
            info.name
        )),
        false => Status::not_implemented("pods/log without a log that a test has put"),
    })?;
    let reader = found.read(options);
    let ended = request.cluster.watches.clone();
    let pieces = stream::unfold((reader, ended), |(reader, ended)| next(reader, ended));
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if options.follow {
        response.extensions_mut().insert(IsWatch);
    }
    Ok(response)
}

type Piece = (Result<Bytes, std::convert::Infallible>, (LogReader, CancellationToken));

async fn next(mut reader: LogReader, ended: CancellationToken) -> Option<Piece> {
    let piece = tokio::select! {
        piece = reader.next() => piece?,
        () = ended.cancelled() => return None,
    };
    Some((Ok(piece), (reader, ended)))
}

/// Reads and checks `PodLogOptions`.
fn options(query: &Query, pod: &str, now: Timestamp) -> Result<LogOptions, Status> {
    let number = |name: &str| query.optional_int(name);
    let (tail, limit, seconds) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
    let time = query.get("sinceTime").map(parse_time).transpose()?;
    let mut errors = Vec::new();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        errors.push(FieldError::invalid("tailLines", &tail.into(), "must be greater than or equal to 0"));
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        errors.push(FieldError::invalid("limitBytes", &limit.into(), "must be greater than 0"));
    }
    match (seconds, time) {
        (Some(_), Some(_)) => errors.push(FieldError::forbidden(
            // So Go prints a path without elements.
            "[]",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        )),
        (Some(seconds), None) if seconds < 1 => {
            errors.push(FieldError::invalid("sinceSeconds", &seconds.into(), "must be greater than 0"));
        }
        _ => {}
    }
    if query.get("stream").is_some() {
        errors.push(FieldError::forbidden("stream", "may not be specified"));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", pod, errors));
    }
    let size = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let ago = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let since = ago.map(|ago| now.checked_sub(ago).unwrap_or(Timestamp::MIN));
    Ok(LogOptions {
        follow: query.flag("follow").unwrap_or(false),
        timestamps: query.flag("timestamps").unwrap_or(false),
        tail: tail.map(size),
        since: since.or(time),
        limit: limit.map(size),
    })
}

fn parse_time(text: &str) -> Result<Timestamp, Status> {
    text.parse().map_err(|_| {
        let layout = "2006-01-02T15:04:05Z07:00";
        Status::bad_request(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
    })
}
