//! Redirects. Source: Go `net/http`, `redirectBehavior` and `Client.do`.
//!
//! They are followed on the same server only. client-go follows them everywhere, and sends its credentials along. A
//! write that Go would turn into a read (301, 302, 303) is not followed either.

use http::header::LOCATION;
use http::{Method, Response, StatusCode, Uri};
use url::Url;

/// How many requests one request may become.
pub(super) const MOST: usize = 10;

/// Why a request that the server redirected has no answer. Requests fail with this error inside
/// [`kube::Error::Service`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// To another server, such as a login page. The credentials are for the API server only.
    #[error("{from} redirects to {to}, which is another server; is the cluster's server right?")]
    OtherServer {
        /// The address of the request, without its query.
        from: String,
        /// The address of the target, without its query.
        to: String,
    },
    /// The request cannot be repeated: it would become another one, or its body was a stream.
    #[error("{from} redirects {method} to {to}, which is not followed")]
    NotRepeatable {
        /// The method of the request.
        method: String,
        /// The address of the request, without its query.
        from: String,
        /// The address of the target, without its query.
        to: String,
    },
    /// The response has no target, or one that is not an address.
    #[error("{from} redirects, but not to an address")]
    NoTarget {
        /// The address of the request, without its query.
        from: String,
    },
    /// Ten redirects follow each other.
    #[error("{from} redirects too often, at last to {to}")]
    TooMany {
        /// The address of the first request, without its query.
        from: String,
        /// The address of the last target, without its query.
        to: String,
    },
}

/// Returns where a response redirects the request to, or `None` if it is the answer. `repeatable`: the body can be sent
/// again.
pub(super) fn target<B>(
    method: &Method,
    uri: &Uri,
    response: &Response<B>,
    repeatable: bool,
) -> Result<Option<Uri>, RedirectError> {
    let keeps_method = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => false,
        _ => return Ok(None),
    };
    let from = shown(uri);
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let resolved = Url::parse(&uri.to_string()).ok().zip(location).and_then(|(base, to)| base.join(to).ok());
    let to = resolved.and_then(|mut to| {
        to.set_fragment(None);
        // They are not for this server to choose, and must not be shown.
        let _ = (to.set_username(""), to.set_password(None));
        to.as_str().parse::<Uri>().ok()
    });
    let to = to.ok_or_else(|| RedirectError::NoTarget { from: from.clone() })?;
    if server(uri) != server(&to) {
        return Err(RedirectError::OtherServer { from, to: shown(&to) });
    }
    let reads = method == Method::GET || method == Method::HEAD;
    if !repeatable || !(reads || keeps_method) {
        return Err(RedirectError::NotRepeatable { method: method.to_string(), from, to: shown(&to) });
    }
    Ok(Some(to))
}

/// Returns what makes two addresses those of one server: scheme, host and port.
fn server(uri: &Uri) -> (Option<String>, Option<String>, Option<u16>) {
    let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
    let default = match scheme.as_deref() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    (scheme, uri.host().map(str::to_ascii_lowercase), uri.port_u16().or(default))
}

/// Returns the address without its query, which may contain secrets, such as the state of a login.
pub(super) fn shown(uri: &Uri) -> String {
    uri.to_string().split('?').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(method: &str, code: u16, location: &str) -> Result<Option<String>, RedirectError> {
        let uri = "https://api.test:6443/k8s/api?limit=5".parse().unwrap();
        let response = Response::builder().status(code).header(LOCATION, location).body(()).unwrap();
        let target = target(&method.parse().unwrap(), &uri, &response, true);
        target.map(|to| to.map(|to| to.to_string()))
    }

    #[test]
    fn reads_are_followed_on_the_same_server() {
        for code in [301, 302, 303, 307, 308] {
            for (location, want) in [
                ("/apis", "https://api.test:6443/apis"),
                ("api/", "https://api.test:6443/k8s/api/"),
                ("?limit=9", "https://api.test:6443/k8s/api?limit=9"),
                ("//API.test:6443/x#fragment", "https://api.test:6443/x"),
                ("https://api.test:6443/x?y=z", "https://api.test:6443/x?y=z"),
                ("https://me:hunter2@api.test:6443/x", "https://api.test:6443/x"),
            ] {
                assert_eq!(redirected("GET", code, location), Ok(Some(want.to_owned())), "{code} {location}");
            }
        }
        for code in [200, 300, 304, 401, 404] {
            assert_eq!(redirected("GET", code, "/apis"), Ok(None), "{code}");
        }
    }

    #[test]
    fn another_server_is_named_without_the_query() {
        for location in [
            "https://login.test/auth?state=hunter2",
            "http://api.test:6443/auth?state=hunter2",
            "https://api.test/auth?state=hunter2",
        ] {
            let error = redirected("GET", 302, location).unwrap_err();
            let to = location.split('?').next().unwrap().to_owned();
            assert_eq!(
                error,
                RedirectError::OtherServer { from: "https://api.test:6443/k8s/api".into(), to }
            );
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let error = redirected("GET", 302, "https://").unwrap_err();
        assert_eq!(error, RedirectError::NoTarget { from: "https://api.test:6443/k8s/api".into() });
    }

    #[test]
    fn a_write_is_followed_if_it_stays_one() {
        for code in [307, 308] {
            assert_eq!(redirected("POST", code, "/x"), Ok(Some("https://api.test:6443/x".to_owned())));
        }
        for code in [301, 302, 303] {
            let error = redirected("POST", code, "/x").unwrap_err();
            assert!(matches!(error, RedirectError::NotRepeatable { .. }), "{error}");
        }
    }
}
