//! Faults on demand: what a client must bear and a healthy server does not show.
//!
//! A rule says which requests it is for, and what happens to them:
//!
//! ```
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::Api;
//! use kube_embedded::Server;
//! use kube_embedded::faults::{Fault, Verb};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::start();
//! let outage = server
//!     .faults()
//!     .on(Verb::List, "configmaps")
//!     .times(2)
//!     .inject(Fault::ServiceUnavailable { retry_after: Some(1) });
//!
//! let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
//! for _ in 0..2 {
//!     let error = maps.list(&Default::default()).await.unwrap_err();
//!     assert!(matches!(error, kube::Error::Api(status) if status.code == 503));
//! }
//! assert_eq!(outage.hits(), 2);
//! maps.list(&Default::default()).await?; // it was for two requests
//! # Ok(())
//! # }
//! ```
//!
//! # From another process
//!
//! A server that is started with [`ServerBuilder::faults_over_http`](crate::ServerBuilder::faults_over_http) (`crdctl serve --faults`)
//! takes the same rules as JSON, from users in `system:masters`. Verbs are RBAC's, `*` is any; faults have the names of
//! [`Fault`] in camel case, and times are milliseconds:
//!
//! ```sh
//! faults=https://127.0.0.1:6443/kube-embedded/faults   # with the token and the authority of the kubeconfig
//! curl $faults -d '{"verb": "list", "resource": "configmaps", "times": 2, "fault": {"serviceUnavailable": {"retryAfter": 1}}}'
//! curl $faults -d '{"verb": "watch", "resource": "blogs.web.helloworld", "fault": {"endAfter": 3}}'
//! curl $faults -d '{"verb": "*", "resource": "*", "namespace": "default", "fault": {"delay": 1500}}'
//! curl $faults                      # {"items": [...]}: each with its id and its hits
//! curl $faults/0                    # one of them
//! curl -X DELETE $faults/0          # removes it
//! curl -X DELETE $faults            # removes all that came over HTTP
//! ```
//!
//! Rules are asked in the order in which they were made, and only the first one that is for a request takes it. Rules see requests for
//! resources, with and without a socket; discovery, health, OpenAPI and the server's own controllers are never disturbed.
//! Authentication comes before the faults, authorization after them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Uri};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::query::Query;
use super::request_info::request_info;
use crate::cluster::RequestInfo;
use crate::resource::qualified;

/// What a request does, by RBAC's verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Any verb.
    #[serde(rename = "*")]
    Any,
    /// Reads one object.
    Get,
    /// Reads a collection.
    List,
    /// Follows a collection or an object.
    Watch,
    /// `POST`
    Create,
    /// `PUT`
    Update,
    /// `PATCH`, server-side apply too.
    Patch,
    /// Deletes one object.
    Delete,
    /// Deletes a collection.
    DeleteCollection,
}

/// What happens to a request.
///
/// Those that end in `After` are for watches and happen once a watch has sent that many events, bookmarks included; with 0 they
/// happen at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Fault {
    /// 429, not performed.
    TooManyRequests {
        /// Seconds, in the `Retry-After` header and in the `Status`. `None`: neither has any.
        retry_after: Option<u32>,
    },
    /// 500, not performed.
    InternalError {
        /// As of [`Fault::TooManyRequests`].
        retry_after: Option<u32>,
    },
    /// 503, not performed.
    ServiceUnavailable {
        /// As of [`Fault::TooManyRequests`].
        retry_after: Option<u32>,
    },
    /// 410 `Expired`, not performed: for a list or a watch that is opened.
    Expired,
    /// The request is performed and answered, but only after this time by the server's clock.
    Delay(#[serde(with = "milliseconds")] Duration),
    /// The request is not performed and never answered: no byte comes and nothing is closed. It ends when its client gives up
    /// or the server is dropped. Over HTTP/2 the connection itself still answers pings.
    Silence,
    /// A list is answered as of this resourceVersion, as by a server that lags behind, whatever the client asked for: with 410 when the
    /// version is no longer remembered, with 400 when it is not a version. Further pages are left alone, since their token names the
    /// version.
    StaleList {
        /// As in the `metadata` of an object or a list.
        resource_version: String,
    },
    /// A watch with `sendInitialEvents` is 422, as of a server without the feature `WatchList`.
    WatchListRefused,
    /// A watch with `sendInitialEvents` is answered as without it, as of a server that does not know the parameter: no bookmark marks the
    /// end of the initial events.
    WatchListIgnored,
    /// The watch ends as at its timeout.
    EndAfter(usize),
    /// The watch breaks off with an error of its connection. Over a socket, what was sent just before may be lost with it.
    ResetAfter(usize),
    /// The next event is sent up to its middle, then the watch ends.
    TruncateAfter(usize),
    /// The watch ends with an `ERROR` event of 410 `Expired`.
    ExpiredAfter(usize),
    /// The next event has `metadata.labels` that are not a map, so that no client can decode it; the watch goes on.
    UndecodableAfter(usize),
    /// Nothing more is sent and the watch stays open, until its client closes it or the server is dropped. Over HTTP/2 the
    /// connection itself still answers pings.
    SilentAfter(usize),
}

/// The faults of a server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Arc<Mutex<Rules>>,
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
#[must_use = "a rule does nothing until a fault is injected"]
pub struct Rule {
    faults: Faults,
    scope: Scope,
    times: Option<u64>,
}

/// A fault that is in force until this is removed or dropped. Requests that it has taken by then stay taken.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct Injection {
    faults: Faults,
    id: u64,
    hits: Arc<watch::Sender<u64>>,
}

/// A request that a fault has taken.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) fault: Fault,
    hits: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Rules {
    next: u64,
    /// In the order in which they were made.
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    scope: Scope,
    fault: Fault,
    /// Requests to take. `None`: any number.
    left: Option<u64>,
    hits: Arc<watch::Sender<u64>>,
}

#[derive(Clone, Debug)]
struct Scope {
    verb: Verb,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Faults {
    /// A rule for a verb and a resource.
    ///
    /// The resource is named as kubectl accepts it, `configmaps` or `deployments.apps`. A subresource is a resource of its own, after a
    /// slash: `deployments.apps/scale`. `*` is every resource and subresource. The resource need not be served yet.
    pub fn on(&self, verb: Verb, resource: &str) -> Rule {
        let scope = Scope { verb, resource: resource.to_owned(), namespace: None, name: None };
        Rule { faults: self.clone(), scope, times: None }
    }

    /// Removes all faults. Their [`Injection`]s keep their counts.
    pub fn clear(&self) {
        self.lock().active.clear();
    }

    /// The fault that takes a request, if any does.
    pub(super) fn take(&self, method: &Method, uri: &Uri) -> Option<Hit> {
        let mut rules = self.lock();
        if rules.active.is_empty() {
            return None;
        }
        let query = Query::parse(uri.query());
        let info = request_info(method, uri.path(), query.watch())?;
        let rule = rules.active.iter_mut().find(|rule| {
            rule.left != Some(0) && rule.scope.contains(&info) && rule.fault.is_for(info.verb, &query)
        })?;
        rule.left = rule.left.map(|left| left - 1);
        Some(Hit { fault: rule.fault.clone(), hits: Arc::clone(&rule.hits) })
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    /// Only for requests in this namespace: not for those of all namespaces.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.scope.namespace = Some(namespace.to_owned());
        self
    }

    /// Only for requests whose path names this object, which that of a create or a list does not.
    pub fn name(mut self, name: &str) -> Self {
        self.scope.name = Some(name.to_owned());
        self
    }

    /// Only for the next `requests` of these. Without this, until the fault is removed.
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    /// Lets a fault happen to these requests from now on. Only requests that it can happen to are taken and counted: a fault of watches
    /// takes no list.
    pub fn inject(self, fault: Fault) -> Injection {
        let hits = Arc::new(watch::Sender::new(0));
        let mut rules = self.faults.lock();
        let id = rules.next;
        rules.next += 1;
        let (scope, left) = (self.scope, self.times);
        rules.active.push(Active { id, scope, fault, left, hits: Arc::clone(&hits) });
        drop(rules);
        Injection { faults: self.faults, id, hits }
    }
}

impl Injection {
    /// Its number among the faults of its server.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// How often it has happened. That of a watch happens once the watch has sent its events.
    #[must_use]
    pub fn hits(&self) -> u64 {
        *self.hits.borrow()
    }

    /// Waits until it has happened this often in all.
    pub async fn wait_for_hits(&self, hits: u64) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.hits.subscribe().wait_for(|counted| *counted >= hits).await;
    }

    /// Ends it, as dropping it does.
    pub fn remove(self) {}
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.faults.lock().active.retain(|rule| rule.id != self.id);
    }
}

impl Hit {
    /// Counts it: the fault happens now.
    pub(super) fn happens(&self) {
        self.hits.send_modify(|hits| *hits += 1);
    }
}

impl Scope {
    fn contains(&self, info: &RequestInfo) -> bool {
        let is = |asked: &Option<String>, it: &str| asked.as_ref().is_none_or(|asked| asked == it);
        (self.verb == Verb::Any || self.verb.as_str() == info.verb)
            && (self.resource == "*" || self.resource == resource(info))
            && is(&self.namespace, &info.namespace)
            && is(&self.name, &info.name)
    }
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl Fault {
    /// Whether it can happen to a request.
    fn is_for(&self, verb: &str, query: &Query) -> bool {
        match self {
            Self::TooManyRequests { .. }
            | Self::InternalError { .. }
            | Self::ServiceUnavailable { .. }
            | Self::Delay(_)
            | Self::Silence => true,
            Self::Expired => matches!(verb, "list" | "watch"),
            Self::StaleList { .. } => verb == "list" && query.get("continue").is_none(),
            Self::WatchListRefused | Self::WatchListIgnored => {
                verb == "watch" && query.flag("sendInitialEvents").is_some()
            }
            Self::EndAfter(_)
            | Self::ResetAfter(_)
            | Self::TruncateAfter(_)
            | Self::ExpiredAfter(_)
            | Self::UndecodableAfter(_)
            | Self::SilentAfter(_) => verb == "watch",
        }
    }
}

/// A time as a number.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

fn resource(info: &RequestInfo) -> String {
    let resource = qualified(&info.resource, &info.group);
    if info.subresource.is_empty() { resource } else { format!("{resource}/{}", info.subresource) }
}
