//! Faults on demand: failures that clients must handle, but that a healthy server does not show.
//!
//! A rule selects requests, and injects a fault into them:
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
//! maps.list(&Default::default()).await?; // the fault was for two requests
//! # Ok(())
//! # }
//! ```
//!
//! # From another process
//!
//! A server started with [`ServerBuilder::faults_over_http`](crate::ServerBuilder::faults_over_http) (`crdctl serve
//! --faults`) accepts the same rules as JSON from users in `system:masters`. Verbs are RBAC's, and `*` is any verb.
//! Faults have the names of [`Fault`] in camel case. Times are in milliseconds:
//!
//! ```sh
//! faults=https://127.0.0.1:6443/kube-embedded/faults   # with the token and the authority of the kubeconfig
//! curl $faults -d '{"verb": "list", "resource": "configmaps", "times": 2, "fault": {"serviceUnavailable": {"retryAfter": 1}}}'
//! curl $faults -d '{"verb": "watch", "resource": "blogs.web.helloworld", "fault": {"endAfter": 3}}'
//! curl $faults -d '{"verb": "patch", "resource": "configmaps", "times": 1, "fault": "answerLost"}'
//! curl $faults -d '{"verb": "*", "resource": "*", "namespace": "default", "fault": {"delay": 1500}}'
//! curl $faults                      # {"items": [...]}, each with its id and its hits
//! curl $faults/0                    # one of them
//! curl -X DELETE $faults/0          # removes it
//! curl -X DELETE $faults            # removes all that were added over HTTP
//! ```
//!
//! Rules are checked in the order in which they were created, and only the first one that matches a request takes it.
//! They apply to requests for resources, with and without a socket; discovery, health checks, OpenAPI and the server's
//! own controllers are never affected. Authentication precedes the faults, authorization follows them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Uri};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use super::holds::Hold;
use super::holds::Holds;
use super::query::Query;
use super::request_info::request_info;
use super::scope::Scope;
pub use super::scope::Verb;

/// What happens to a request.
///
/// The faults whose names end in `After` are for watches. They happen once a watch has sent that many events, including
/// bookmarks; with 0, they happen at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Fault {
    /// Answers with 429, and does not perform the request.
    TooManyRequests {
        /// Seconds, for the `Retry-After` header and the `Status`. `None`: neither has a value.
        retry_after: Option<u32>,
    },
    /// Answers with 500, and does not perform the request.
    InternalError {
        /// As for [`Fault::TooManyRequests`].
        retry_after: Option<u32>,
    },
    /// Answers with 503, and does not perform the request.
    ServiceUnavailable {
        /// As for [`Fault::TooManyRequests`].
        retry_after: Option<u32>,
    },
    /// Refuses a create, update, patch or delete with 409 `Conflict`, and does not perform it: the object has been
    /// modified. A create conflicts over the namespace's quota, as in kube-apiserver.
    Conflict,
    /// Refuses the request with 403 `Forbidden`, and does not perform it: RBAC does not allow it to its user.
    Forbidden,
    /// Refuses a create, update, patch or delete with 400, as for a validating webhook that denies it without a code of
    /// its own, and does not perform it.
    AdmissionDenied {
        /// The webhook's name.
        webhook: String,
        /// Why. Empty: without explanation.
        message: String,
    },
    /// Performs the request, but breaks the connection instead of answering, so that its client cannot know whether it
    /// was performed. Over a socket, the connection is cut, or over HTTP/2 the request's stream; without one, the body of
    /// the response fails before its first byte, and the head shows nothing of the answer. A watch breaks before its
    /// first event.
    AnswerLost,
    /// Answers a list, or the opening of a watch, with 410 `Expired`, and does not perform it.
    Expired,
    /// Performs and answers the request, but only after this time by the server's clock.
    Delay(#[serde(with = "milliseconds")] Duration),
    /// Neither performs nor answers the request: no byte is sent and the connection stays open. This ends when the
    /// client gives up or the server is dropped. Over HTTP/2 the connection itself still answers pings.
    Silence,
    /// Answers a list as of this resourceVersion, like a server that lags behind, whatever the client requested: with
    /// 410 if the history no longer has the version, with 400 if it is not a version. Further pages are not affected,
    /// because their token names the version.
    StaleList {
        /// As in the `metadata` of an object or a list.
        resource_version: String,
    },
    /// Refuses a watch with `sendInitialEvents` with 422, like a server without the feature `WatchList`.
    WatchListRefused,
    /// Ignores `sendInitialEvents`, like a server that does not know the parameter: no bookmark marks the end of the
    /// initial events.
    WatchListIgnored,
    /// Ends the watch, as its timeout does.
    EndAfter(usize),
    /// Ends the watch with a connection error. Over a socket, the last bytes sent may be lost, too.
    ResetAfter(usize),
    /// Sends the first half of the next event, then ends the watch.
    TruncateAfter(usize),
    /// Ends the watch with an `ERROR` event of 410 `Expired`.
    ExpiredAfter(usize),
    /// Sends the next event with `metadata.labels` that are not a map, so that no client can decode it. The watch
    /// continues.
    UndecodableAfter(usize),
    /// Sends nothing more. The watch stays open until the client closes it or the server is dropped. Over HTTP/2 the
    /// connection itself still answers pings.
    SilentAfter(usize),
}

/// The faults of a server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Arc<Mutex<Rules>>,
    holds: Arc<Holds>,
}

/// Selects the requests that a fault or a hold is for.
#[derive(Clone, Debug)]
#[must_use = "a rule does nothing until it injects a fault or holds watches"]
pub struct Rule {
    faults: Faults,
    scope: Scope,
    times: Option<u64>,
}

/// A fault that is active until this is removed or dropped. Requests that it has already taken are still affected.
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
    /// In the order in which they were created.
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    scope: Scope,
    fault: Fault,
    /// The number of requests that it still takes. `None`: unlimited.
    left: Option<u64>,
    hits: Arc<watch::Sender<u64>>,
}

impl Faults {
    /// Returns a rule for a verb and a resource.
    ///
    /// The resource is named as kubectl accepts it: `configmaps` or `deployments.apps`. A subresource is a resource of
    /// its own, after a slash: `deployments.apps/scale`. `*` is every resource and subresource. The resource need not
    /// be served yet.
    pub fn on(&self, verb: Verb, resource: &str) -> Rule {
        let scope = Scope { verb, resource: resource.to_owned(), namespace: None, name: None };
        Rule { faults: self.clone(), scope, times: None }
    }

    /// Removes all faults, and ends all holds. The [`Injection`]s keep their counts.
    pub fn clear(&self) {
        self.lock().active.clear();
        self.holds.end_all();
    }

    pub(super) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// The fault that takes a request, if any.
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
    /// Restricts the rule to requests in this namespace. Requests for all namespaces do not match.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.scope.namespace = Some(namespace.to_owned());
        self
    }

    /// Restricts the rule to requests whose path names this object. Creates and lists do not match.
    pub fn name(mut self, name: &str) -> Self {
        self.scope.name = Some(name.to_owned());
        self
    }

    /// Restricts the rule to the next `requests` matching requests. By default it applies until the fault is removed.
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    /// Injects a fault into these requests from now on. Requests that cannot have the fault are neither taken nor
    /// counted: a fault of watches does not take a list.
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

    /// Holds the events of these watches from now on, also of those that are open already. [`Rule::times`] has no
    /// effect. The first hold that is for a watch holds it, and faults among its events count those that are released.
    pub fn hold(self) -> Hold {
        self.faults.holds.begin(self.scope)
    }
}

impl Injection {
    /// Its id among the server's faults.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns how often the fault has happened. A fault of a watch happens once the watch has sent its events.
    #[must_use]
    pub fn hits(&self) -> u64 {
        *self.hits.borrow()
    }

    /// Waits until the fault has happened this many times in total.
    pub async fn wait_for_hits(&self, hits: u64) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.hits.subscribe().wait_for(|counted| *counted >= hits).await;
    }

    /// Removes the fault. Dropping this has the same effect.
    pub fn remove(self) {}
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.faults.lock().active.retain(|rule| rule.id != self.id);
    }
}

impl Hit {
    /// Counts a hit: the fault happens now.
    pub(super) fn happens(&self) {
        self.hits.send_modify(|hits| *hits += 1);
    }
}

impl Fault {
    /// Whether a request can have this fault.
    fn is_for(&self, verb: &str, query: &Query) -> bool {
        match self {
            Self::TooManyRequests { .. }
            | Self::InternalError { .. }
            | Self::ServiceUnavailable { .. }
            | Self::Forbidden
            | Self::AnswerLost
            | Self::Delay(_)
            | Self::Silence => true,
            Self::Conflict | Self::AdmissionDenied { .. } => {
                matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
            }
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

/// A duration as a number of milliseconds.
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
