//! Reads the attributes of a request from its path, like apiserver's `RequestInfo`.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::cluster::RequestInfo;

/// Parses a path below `/api/VERSION/` or `/apis/GROUP/VERSION/`. `None`: it is another path. `watch` is the query's.
///
/// The path is decoded before it is split, as in Go: an aggregated server, which gets the path as it is, must not see another
/// object in it than the one for which the request was authorized.
pub(super) fn request_info(method: &Method, path: &str, watch: bool) -> Option<RequestInfo> {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match &parts[..] {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    // Deprecated, and still served.
    let (is_watch_path, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, rest),
    };
    // A namespace contains the requested objects, unless it is itself the requested object.
    let (namespace, rest) = match rest {
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        _ => ("", rest),
    };
    let (resource, name, subresource, more) = match rest {
        [resource] => (*resource, "", "", &[][..]),
        [resource, name] => (*resource, *name, "", &[][..]),
        [resource, name, subresource, more @ ..] => (*resource, *name, *subresource, more),
        [] => return None,
    };
    Some(RequestInfo {
        verb: if is_watch_path { "watch" } else { verb(method, name, watch) },
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        has_more: !more.is_empty(),
        is_watch_path,
    })
}

/// Whether a path ends where its verb does, so that kube-apiserver cannot say what it is about.
pub(super) fn lacks_resource(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    matches!(parts[..], ["api", _, "watch" | "proxy"] | ["apis", _, _, "watch" | "proxy"])
}

fn verb(method: &Method, name: &str, watch: bool) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        Method::GET | Method::HEAD if !name.is_empty() => "get",
        Method::GET | Method::HEAD if watch => "watch",
        Method::GET | Method::HEAD => "list",
        // Only a rule for all verbs permits it.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        let it = request_info(&Method::GET, path, false)?;
        Some([it.group, it.version, it.namespace, it.resource, it.name, it.subresource].join("|"))
    }

    #[test]
    fn paths_are_read_as_kube_apiserver_reads_them() {
        let cases = [
            ("/api/v1/pods", Some("|v1||pods||")),
            ("/api/v1/namespaces", Some("|v1||namespaces||")),
            ("/api/v1/namespaces/a", Some("|v1||namespaces|a|")),
            ("/api/v1/namespaces/a/finalize", Some("|v1||namespaces|a|finalize")),
            ("/api/v1/namespaces/a/pods/b/status", Some("|v1|a|pods|b|status")),
            ("/apis/web.helloworld/v1/blogs", Some("web.helloworld|v1||blogs||")),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                Some("rbac.authorization.k8s.io|v1||clusterroles|system:node|"),
            ),
            ("/api/v1/watch/namespaces/a/pods/b", Some("|v1|a|pods|b|")),
            ("/api/v1/watch/namespaces/a", Some("|v1||namespaces|a|")),
            ("/apis/web.helloworld/v1/watch/blogs", Some("web.helloworld|v1||blogs||")),
            ("/apis/web.helloworld/v1", None),
            ("/healthz", None),
            ("/api/v1/namespaces/a/pods/b/c/d", Some("|v1|a|pods|b|c")),
            ("/api/v1//pods", Some("|v1|||pods|")),
            ("/api//pods/a", Some("|||pods|a|")),
            ("/api/v1/pods//", Some("|v1||pods||")),
            ("/api/v1/pods/%ff", Some("|v1||pods|\u{fffd}|")),
            ("/apis/web.helloworld/v1/blogs/a%2Fstatus", Some("web.helloworld|v1||blogs|a|status")),
            ("/apis/web.helloworld/v1/blogs/%2F", Some("web.helloworld|v1||blogs||")),
            ("/apis/web.helloworld/v1/blogs/a/proxy/%ff", Some("web.helloworld|v1||blogs|a|proxy")),
        ];
        for (path, expected) in cases {
            assert_eq!(read(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_verb_alone_is_about_nothing() {
        for (path, lacks) in [
            ("/api/v1/watch", true),
            ("/api/v1/watch/", true),
            ("/apis/apps/v1/proxy", true),
            ("/api/v1/watch/pods", false),
            ("/api/v1/namespaces/a/watch", false),
            ("/apis/apps/watch", false),
        ] {
            assert_eq!(lacks_resource(path), lacks, "{path}");
        }
    }

    #[test]
    fn verbs_are_those_of_rbac() {
        let verb = |method, path, watch| request_info(&method, path, watch).map(|it| it.verb);
        let (all, one) = ("/api/v1/nodes", "/api/v1/nodes/a");
        for (method, path, watch, expected) in [
            (Method::GET, all, false, "list"),
            (Method::GET, all, true, "watch"),
            (Method::GET, one, false, "get"),
            (Method::HEAD, one, false, "get"),
            (Method::GET, one, true, "get"),
            (Method::POST, all, false, "create"),
            (Method::PUT, one, false, "update"),
            (Method::PATCH, one, false, "patch"),
            (Method::DELETE, one, false, "delete"),
            (Method::DELETE, all, false, "deletecollection"),
            (Method::OPTIONS, one, false, ""),
        ] {
            assert_eq!(verb(method.clone(), path, watch), Some(expected), "{method} {path}");
        }
    }
}
