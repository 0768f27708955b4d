//! What a request asks for, as apiserver's `RequestInfo` reads it from its path.

use http::Method;
use percent_encoding::percent_decode_str;

/// A resource, an object of it, or a part of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty: all namespaces, or none.
    pub(crate) namespace: String,
    pub(crate) plural: String,
    /// Empty: the collection.
    pub(crate) name: String,
    /// Empty: the object itself.
    pub(crate) subresource: String,
}

impl Path {
    /// Reads a path below `/api/VERSION/` or `/apis/GROUP/VERSION/`; none if it is not there, or not UTF-8.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned))
            .collect::<Result<_, _>>()
            .ok()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match &parts[..] {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // A namespace is a place, unless it is itself what is asked for.
        let (namespace, rest) = match rest {
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        if plural.is_empty() {
            return None;
        }
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    /// What RBAC calls the request; `watch` is that of the query.
    pub(crate) fn verb(&self, method: &Method, watch: bool) -> &'static str {
        match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if self.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ if watch => "watch",
            _ if self.name.is_empty() => "list",
            _ => "get",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        let it = Path::parse(path)?;
        Some([it.group, it.version, it.namespace, it.plural, it.name, it.subresource].join("|"))
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
            ("/apis/web.helloworld/v1", None),
            ("/healthz", None),
            ("/api/v1/namespaces/a/pods/b/c/d", None),
            ("/api/v1/pods/%ff", None),
        ];
        for (path, expected) in cases {
            assert_eq!(read(path).as_deref(), expected, "{path}");
        }
    }
}
