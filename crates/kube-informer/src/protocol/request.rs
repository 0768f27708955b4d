//! The requests of the protocol, and their URLs.

use std::time::Duration;

use kube::Resource;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{ResourceVersion, Shard};

/// The `apiVersion` and `kind` of objects whose metadata only is requested.
const METADATA_TYPE: (&str, &str) = ("meta.k8s.io/v1", "PartialObjectMetadata");

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The resource to watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    /// The `apiVersion` that objects carry.
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata_only: bool,
    pub(crate) namespace: Option<String>,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) shard: Option<Shard>,
}

/// A request of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// A list, or a page of one.
    List {
        version: ListVersion,
        /// The page size.
        limit: Option<u32>,
        /// Where the page begins.
        continue_token: Option<String>,
    },
    /// A watch that sends the present state first (KEP-3157).
    WatchList { version: ListVersion, timeout: Duration },
    /// A watch of what comes after a version.
    Watch { from: ResourceVersion, timeout: Duration },
    /// The resources of the group and version, to see whether the type is served at all.
    Discover,
}

/// How fresh a list must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListVersion {
    /// As fresh as the server's storage.
    Latest,
    /// Any state of the server's watch cache.
    Any,
    /// At least this version.
    AtLeast(ResourceVersion),
}

impl Target {
    pub(crate) fn new<K: Resource>(dynamic_type: &K::DynamicType) -> Self {
        let (api_version, kind) = if K::metadata_api() {
            (METADATA_TYPE.0.to_owned(), METADATA_TYPE.1.to_owned())
        } else {
            (K::api_version(dynamic_type).into_owned(), K::kind(dynamic_type).into_owned())
        };
        Self {
            api_version,
            kind,
            group: K::group(dynamic_type).into_owned(),
            version: K::version(dynamic_type).into_owned(),
            plural: K::plural(dynamic_type).into_owned(),
            metadata_only: K::metadata_api(),
            namespace: None,
            label_selector: String::new(),
            field_selector: String::new(),
            shard: None,
        }
    }

    /// Parses the path of a collection. `api_version` and `kind` stay empty, because the path does not contain them.
    #[cfg(feature = "runtime")]
    pub(crate) fn from_path<K: Resource>(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let group = if parts.next() == Some("apis") { parts.next() } else { None };
        let (version, plural) = (parts.next(), parts.next_back());
        let (api_version, kind) = if K::metadata_api() { METADATA_TYPE } else { ("", "") };
        Self {
            group: group.unwrap_or_default().to_owned(),
            version: version.unwrap_or_default().to_owned(),
            plural: plural.unwrap_or_default().to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            metadata_only: K::metadata_api(),
            namespace: None,
            label_selector: String::new(),
            field_selector: String::new(),
            shard: None,
        }
    }

    /// Returns the path of the collection.
    pub(crate) fn path(&self) -> String {
        let mut path = self.group_version_path();
        if let Some(namespace) = &self.namespace {
            path.push_str("/namespaces/");
            escape(&mut path, namespace);
        }
        path.push('/');
        escape(&mut path, &self.plural);
        path
    }

    fn group_version_path(&self) -> String {
        let mut path = String::from(if self.group.is_empty() { "/api" } else { "/apis/" });
        escape(&mut path, &self.group);
        path.push('/');
        escape(&mut path, &self.version);
        path
    }

    /// Whether an object can leave the selection without being deleted. It cannot if it is selected by name only.
    pub(crate) fn objects_can_leave(&self) -> bool {
        let fixed = |term: &str| {
            matches!(
                term.split(['=', '!']).next().map(str::trim),
                Some("metadata.name" | "metadata.namespace")
            )
        };
        !self.label_selector.is_empty()
            || (!self.field_selector.is_empty() && !self.field_selector.split(',').all(fixed))
    }

    /// Returns path and query.
    pub(crate) fn uri(&self, request: &Request) -> String {
        if matches!(request, Request::Discover) {
            return self.group_version_path();
        }
        let mut query = Query(self.path(), '?');
        if !self.label_selector.is_empty() {
            query.add("labelSelector", &self.label_selector);
        }
        if !self.field_selector.is_empty() {
            query.add("fieldSelector", &self.field_selector);
        }
        if let Some(shard) = &self.shard {
            query.add("shardSelector", &shard.selector());
        }
        match request {
            Request::List { version, limit, continue_token } => {
                if let Some(limit) = limit {
                    query.add("limit", &limit.to_string());
                }
                match continue_token {
                    // The token determines the version; the server rejects a second indication of it.
                    Some(token) => query.add("continue", token),
                    None => query.version(*version),
                }
            }
            Request::WatchList { version, timeout } => {
                query.watch(*timeout);
                query.add("sendInitialEvents", "true");
                query.add("resourceVersionMatch", "NotOlderThan");
                if *version != ListVersion::Latest {
                    query.add("resourceVersion", &version.text());
                }
            }
            Request::Watch { from, timeout } => {
                query.watch(*timeout);
                query.add("resourceVersion", &from.to_string());
            }
            Request::Discover => {}
        }
        query.0
    }
}

impl Request {
    /// Whether the response is the complete state from its beginning.
    pub(crate) fn begins_list(&self) -> bool {
        matches!(self, Self::WatchList { .. } | Self::List { continue_token: None, .. })
    }

    /// Whether the response is a stream of events.
    pub(crate) fn is_watch(&self) -> bool {
        matches!(self, Self::WatchList { .. } | Self::Watch { .. })
    }

    /// The kind of the request, for logs.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::List { continue_token: None, .. } => "list",
            Self::List { .. } => "list-page",
            Self::WatchList { .. } => "watch-list",
            Self::Watch { .. } => "watch",
            Self::Discover => "discover",
        }
    }

    /// The `resourceVersion` parameter of the request, if any.
    pub(crate) fn version(&self) -> Option<String> {
        match self {
            Self::List { version, continue_token: None, .. } | Self::WatchList { version, .. } => {
                Some(version.text()).filter(|text| !text.is_empty())
            }
            Self::Watch { from, .. } => Some(from.to_string()),
            Self::List { .. } | Self::Discover => None,
        }
    }
}

impl ListVersion {
    fn text(self) -> String {
        match self {
            Self::Latest => String::new(),
            Self::Any => "0".to_owned(),
            Self::AtLeast(version) => version.to_string(),
        }
    }
}

struct Query(String, char);

impl Query {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push(std::mem::replace(&mut self.1, '&'));
        self.0.push_str(name);
        self.0.push('=');
        escape(&mut self.0, value);
    }

    fn watch(&mut self, timeout: Duration) {
        self.add("watch", "true");
        self.add("allowWatchBookmarks", "true");
        self.add("timeoutSeconds", &timeout.as_secs().to_string());
    }

    fn version(&mut self, version: ListVersion) {
        if version != ListVersion::Latest {
            self.add("resourceVersion", &version.text());
            self.add("resourceVersionMatch", "NotOlderThan");
        }
    }
}

/// Appends `text` with its [`RESERVED`] characters as `%XX`, which is valid in a path segment and in a query value.
fn escape(to: &mut String, text: &str) {
    to.extend(utf8_percent_encode(text, RESERVED));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            group: "web.helloworld".into(),
            version: "v1".into(),
            plural: "blogs".into(),
            api_version: "web.helloworld/v1".into(),
            kind: "Blog".into(),
            metadata_only: false,
            namespace: Some("default".into()),
            label_selector: String::new(),
            field_selector: String::new(),
            shard: None,
        }
    }

    const TIMEOUT: Duration = Duration::from_secs(290);

    #[test]
    fn writes_each_request_as_the_api_wants_it() {
        let blogs = "/apis/web.helloworld/v1/namespaces/default/blogs";
        let version = "7".parse().unwrap();
        let list = |version, continue_token: Option<String>| Request::List {
            version,
            limit: Some(500),
            continue_token,
        };
        for (request, query) in [
            (list(ListVersion::Latest, None), "?limit=500"),
            (list(ListVersion::Latest, Some("a/b=".into())), "?limit=500&continue=a%2Fb%3D"),
            (
                Request::List { version: ListVersion::Any, limit: None, continue_token: None },
                "?resourceVersion=0&resourceVersionMatch=NotOlderThan",
            ),
            (
                Request::WatchList { version: ListVersion::Latest, timeout: TIMEOUT },
                "?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&sendInitialEvents=true\
                 &resourceVersionMatch=NotOlderThan",
            ),
            (
                Request::Watch { from: version, timeout: TIMEOUT },
                "?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion=7",
            ),
        ] {
            assert_eq!(target().uri(&request), format!("{blogs}{query}"));
        }
        assert_eq!(target().uri(&Request::Discover), "/apis/web.helloworld/v1");
    }

    #[test]
    fn selectors_are_escaped_and_the_core_group_has_its_own_path() {
        let pods = Target {
            group: String::new(),
            plural: "pods".into(),
            namespace: None,
            label_selector: "app in (a,b),!c".into(),
            field_selector: "metadata.name=x".into(),
            ..target()
        };
        let request = Request::List { version: ListVersion::Latest, limit: None, continue_token: None };
        assert_eq!(
            pods.uri(&request),
            "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29%2C%21c&fieldSelector=metadata.name%3Dx"
        );
        assert_eq!(pods.uri(&Request::Discover), "/api/v1");
    }

    #[cfg(feature = "runtime")]
    #[test]
    fn a_target_is_read_from_its_path() {
        use kube::core::{DynamicObject, PartialObjectMeta};

        for path in ["/api/v1/pods", "/api/v1/namespaces", "/apis/web.helloworld/v1/blogs"] {
            let namespaced = path.replace("v1/", "v1/namespaces/default/");
            for read in [path, namespaced.as_str()] {
                assert_eq!(Target::from_path::<DynamicObject>(read).path(), path, "{read}");
            }
        }
        assert_eq!(Target::from_path::<DynamicObject>("/api/v1/pods").kind, "");
        assert!(Target::from_path::<PartialObjectMeta<DynamicObject>>("/api/v1/pods").metadata_only);
    }

    #[test]
    fn an_object_cannot_leave_a_selection_by_name() {
        let with = |labels: &str, fields: &str| {
            Target { label_selector: labels.into(), field_selector: fields.into(), ..target() }
                .objects_can_leave()
        };
        assert!(!with("", ""));
        assert!(!with("", "metadata.name=x"));
        assert!(!with("", "metadata.name!=x,metadata.namespace==y"));
        assert!(with("a=b", "metadata.name=x"));
        assert!(with("", "metadata.name=x,status.phase=Running"));
    }
}
