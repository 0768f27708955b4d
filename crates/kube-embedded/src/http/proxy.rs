//! Passes requests on to the servers that APIServices name: `handler_proxy.go` of kube-aggregator.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Uri, request, uri};

use super::body::Body;
use super::query::Query;
use super::render::{self, IsFinal, Response, plain_text};
#[cfg(feature = "streams")]
use super::upgrade;
use super::watch::IsWatch;
use crate::cluster::{Cluster, Remote};
use crate::status::Status;
use crate::user::User;
use crate::webhook::{BoxBody, NoAnswer, Unnameable, set_user};

/// How long a server may take until it begins to answer, unless it is asked for a watch.
const TIMEOUT: Duration = Duration::from_secs(60);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The headers that are about one connection only.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The address of the client of a request, if it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// Passes a request on, and its answer back, both piece by piece. The user has been authorized to make it.
pub(super) async fn forward(
    cluster: &Cluster,
    user: &User,
    parts: &request::Parts,
    body: Body,
    remote: &Remote,
    is_watch: bool,
) -> Response {
    let location = remote.location(&cluster.store);
    if !remote.is_available || location.address.is_err() {
        return unavailable("service unavailable");
    }
    let is_upgrade = wants_upgrade(&parts.headers);
    if is_upgrade && cfg!(not(feature = "streams")) {
        return render::status(&Status::not_implemented("an upgrade without the feature `streams`"));
    }
    let mut request = http::Request::new(BoxBody::new(body));
    request.method_mut().clone_from(&parts.method);
    *request.uri_mut() = with_canonical_query(&parts.uri);
    *request.headers_mut() = match headers(parts, user, is_upgrade) {
        Ok(headers) => headers,
        Err(why) => return unavailable(&format!("error trying to reach service: {why}")),
    };
    let sent = cluster.webhook_client.forward(&location, request);
    let answer = match is_watch {
        true => Ok(sent.await),
        false => tokio::time::timeout(TIMEOUT, sent).await,
    };
    let answer = answer.unwrap_or_else(|_| Err(NoAnswer::Lost("context deadline exceeded".to_owned())));
    let answer = match answer {
        Err(why) if is_upgrade => return not_upgraded(&why),
        Err(why) => return unavailable(&format!("error trying to reach service: {why}")),
        Ok(answer) => passed_on(answer, is_watch),
    };
    if is_upgrade {
        return upgraded(answer);
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return unavailable(
            "error trying to reach service: backend tried to switch protocol, which nobody requested",
        );
    }
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        let why = "the backend attempted to redirect this request, which is not permitted";
        return plain_text(StatusCode::BAD_GATEWAY, why);
    }
    without_hop_by_hop(answer)
}

/// The answer to a request for an upgrade: `tryUpgrade` of `upgradeaware.go`.
fn upgraded(answer: Response) -> Response {
    match answer.status() {
        #[cfg(feature = "streams")]
        StatusCode::SWITCHING_PROTOCOLS => upgrade::pass_on(answer),
        code if code.is_client_error() || code.is_server_error() => {
            let mut answer = without_hop_by_hop(answer);
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        }
        code => unavailable(&format!("invalid upgrade response: status code {}", code.as_u16())),
    }
}

fn not_upgraded(why: &NoAnswer) -> Response {
    match why {
        NoAnswer::NotConnected(why) => unavailable(&format!("error dialing backend: {why}")),
        // An answer has been expected.
        NoAnswer::Lost(why) if why == "EOF" => unavailable("unexpected EOF"),
        NoAnswer::Lost(why) => unavailable(why),
    }
}

fn unavailable(why: &str) -> Response {
    plain_text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
}

/// Another server's answer as one of this server, which adds nothing to it.
fn passed_on(answer: http::Response<BoxBody>, is_watch: bool) -> Response {
    let mut answer = answer.map(Body::new);
    *answer.version_mut() = http::Version::default();
    answer.extensions_mut().insert(IsFinal);
    if is_watch {
        answer.extensions_mut().insert(IsWatch);
    }
    answer
}

/// A URI whose query is written as Go writes one: by name.
fn with_canonical_query(uri: &Uri) -> Uri {
    let query = Query::parse(uri.query()).canonical();
    let separator = if query.is_empty() { "" } else { "?" };
    format!("{}{separator}{query}", uri.path()).parse().unwrap_or_else(|_| uri.clone())
}

/// Whether a request is to change what its connection speaks.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.into_iter().any(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// The headers of a request that is passed on. The credentials are for this server only.
///
/// # Errors
/// Fails if the user cannot be named in headers: the server would take this one for the user.
fn headers(parts: &request::Parts, user: &User, is_upgrade: bool) -> Result<HeaderMap, Unnameable> {
    let mut headers = parts.headers.clone();
    headers.remove(header::AUTHORIZATION);
    let impersonation: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
    let host = headers.remove(header::HOST);
    if !is_upgrade {
        remove_hop_by_hop(&mut headers);
        let host =
            host.or_else(|| HeaderValue::from_str(parts.uri.authority().map(uri::Authority::as_str)?).ok());
        let uri = HeaderValue::from_str(parts.uri.path()).ok();
        let proto = Some(HeaderValue::from_static("https"));
        for (name, value) in
            [("x-forwarded-host", host), ("x-forwarded-uri", uri), ("x-forwarded-proto", proto)]
        {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
    if let Some(ClientAddress(client)) = parts.extensions.get() {
        forwarded_for(&mut headers, *client);
    }
    set_user(&mut headers, &user.name, &user.uid, &user.groups, &user.extra)?;
    Ok(headers)
}

/// Adds a client to those for whom a request was passed on.
fn forwarded_for(headers: &mut HeaderMap, client: IpAddr) {
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let client = client.to_string();
    let all: Vec<&str> = before.chain([&*client]).collect();
    if let Ok(all) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FORWARDED_FOR, all);
    }
}

fn without_hop_by_hop(mut answer: Response) -> Response {
    remove_hop_by_hop(answer.headers_mut());
    answer
}

/// Removes what is about one connection: the known headers, and those that `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named.iter().map(String::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}
