//! Passes requests on to the servers that APIServices name: `handler_proxy.go` of kube-aggregator.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, request, uri};

use super::body::Body;
use super::render::{IsFinal, Response, plain_text};
use super::watch::IsWatch;
use crate::cluster::{Cluster, Remote};
use crate::user::User;
use crate::webhook::{BoxBody, set_user};

/// How long a server may take until it begins to answer, unless it is asked for a watch.
const TIMEOUT: Duration = Duration::from_secs(60);
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

/// Passes a request on, and its answer back, both piece by piece. The user has been authorized to make it.
pub(super) async fn forward(
    cluster: &Cluster,
    user: &User,
    parts: &request::Parts,
    body: Body,
    remote: &Remote,
    is_watch: bool,
) -> Response {
    let unavailable = |why: &str| plain_text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    let location = remote.location(&cluster.store);
    if !remote.is_available || location.address.is_err() {
        return unavailable("service unavailable");
    }
    let mut request = http::Request::new(BoxBody::new(body));
    request.method_mut().clone_from(&parts.method);
    request.uri_mut().clone_from(&parts.uri);
    *request.headers_mut() = headers(parts, user);
    let sent = cluster.webhook_client.forward(&location, request);
    let answer = match is_watch {
        true => Ok(sent.await),
        false => tokio::time::timeout(TIMEOUT, sent).await,
    };
    let answer = answer.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()));
    match answer {
        Err(why) => unavailable(&format!("error trying to reach service: {why}")),
        Ok(answer) if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) => {
            let why = "the backend attempted to redirect this request, which is not permitted";
            plain_text(StatusCode::BAD_GATEWAY, why)
        }
        Ok(answer) => {
            let mut answer = answer.map(Body::new);
            remove_hop_by_hop(answer.headers_mut());
            *answer.version_mut() = http::Version::default();
            answer.extensions_mut().insert(IsFinal);
            if is_watch {
                answer.extensions_mut().insert(IsWatch);
            }
            answer
        }
    }
}

/// The headers of a request that is passed on. The credentials are for this server only.
fn headers(parts: &request::Parts, user: &User) -> HeaderMap {
    let mut headers = parts.headers.clone();
    remove_hop_by_hop(&mut headers);
    headers.remove(header::AUTHORIZATION);
    // kube-apiserver adds the client's address, which is not known here.
    headers.remove("x-forwarded-for");
    let impersonation: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
    let host = headers.remove(header::HOST);
    let host =
        host.or_else(|| HeaderValue::from_str(parts.uri.authority().map(uri::Authority::as_str)?).ok());
    let uri = HeaderValue::from_str(parts.uri.path()).ok();
    let proto = Some(HeaderValue::from_static("https"));
    for (name, value) in [("x-forwarded-host", host), ("x-forwarded-uri", uri), ("x-forwarded-proto", proto)]
    {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    set_user(&mut headers, &user.name, &user.uid, &user.groups, &user.extra);
    headers
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
