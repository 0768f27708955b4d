//! The requests of one run: each passes the fence, and what it wrote is kept.
//!
//! Kube's `Client` can be made over any service. So a run gets a client of its own, whatever the reconciler does with it
//! is seen here, and reconcilers need no new API for it.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube_informer::ObjectKey;
use serde::Deserialize;
use serde_json::Value;
use smol_str::SmolStr;
use tokio::time::Instant;
use tower::BoxError;

use crate::dry_run::{Attempt, DryRun};
use crate::fence::{Fence, Fenced};
use crate::lock::lock;
use crate::metrics::Requests;

/// The requests of one run. Clones are handles to the same ledger.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Inner>);

struct Inner {
    account: Account,
    key: ObjectKey,
    writes: Mutex<Vec<Write>>,
}

/// What is the same for the ledgers of all runs of a controller in one term.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) client: Client,
    pub(crate) fence: Fence,
    pub(crate) requests: Arc<Requests>,
    pub(crate) dry_run: Option<DryRun>,
    pub(crate) controller: Arc<str>,
}

/// A write that the server has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) group: SmolStr,
    pub(crate) plural: SmolStr,
    pub(crate) key: ObjectKey,
    /// The object's uid. `None` if the answer did not contain it.
    pub(crate) uid: Option<SmolStr>,
    /// What is there now.
    pub(crate) state: Written,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The object, in this version.
    Version(SmolStr),
    /// The object was deleted at once: the answer names no version.
    Deleted,
}

/// A path of the API that names a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    namespace: Option<&'a str>,
    pub(crate) plural: &'a str,
    name: Option<&'a str>,
    subresource: Option<&'a str>,
}

impl Ledger {
    pub(crate) fn new(account: Account, key: ObjectKey) -> Self {
        Self(Arc::new(Inner { account, key, writes: Mutex::default() }))
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.0.account.dry_run.is_some()
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.0.account.fence
    }

    /// A client whose requests are entered here.
    pub(crate) fn client(&self) -> Client {
        let namespace = self.0.account.client.default_namespace().to_owned();
        Client::new(self.clone(), namespace)
    }

    /// Takes note that the server does not have an object any more that a cache still has: the key waits until that has
    /// seen it, too. Otherwise a run that makes children of an owner that is gone, which are collected at once, would be
    /// followed by the next.
    pub(crate) fn gone(&self, group: &str, plural: &str, key: ObjectKey, uid: Option<&str>) {
        let uid = uid.map(SmolStr::new);
        let write = Write { group: group.into(), plural: plural.into(), key, uid, state: Written::Deleted };
        lock(&self.0.writes).push(write);
    }

    /// Takes what was written so far.
    pub(crate) fn take(&self) -> Vec<Write> {
        std::mem::take(&mut lock(&self.0.writes))
    }

    /// Sends a request and returns the object of the answer.
    pub(crate) async fn request<T: serde::de::DeserializeOwned>(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<T, kube::Error> {
        let response = self.send(request.map(Body::from)).await.map_err(into_kube)?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(kube::Error::SerdeError);
        }
        let answer = serde_json::from_slice(&body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
            kube::core::Status::failure(&text, status.canonical_reason().unwrap_or_default())
                .with_code(status.as_u16())
        });
        Err(kube::Error::Api(Box::new(answer)))
    }

    /// Sends a request, unless the fence is closed. If it closes meanwhile, the answer is not waited for: the lease could
    /// be another's before it comes.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        self.0.account.fence.check(Instant::now())?;
        tokio::select! {
            biased;
            () = self.0.account.fence.closed_wait() => Err(Fenced.into()),
            answer = self.perform(request) => answer,
        }
    }

    async fn perform(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        if matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return self.forward(request).await;
        }
        let Some(dry_run) = &self.0.account.dry_run else {
            let response = self.forward(request).await?;
            return self.enter(&method, &uri, response).await;
        };
        self.pretend(dry_run, &method, request).await
    }

    async fn forward(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let method = request.method().clone();
        let answer = self.0.account.client.send(request).await;
        let code = answer.as_ref().ok().map(Response::status);
        self.0.account.requests.count(&method, code);
        Ok(answer?)
    }

    /// Enters a write that was acknowledged.
    async fn enter(
        &self,
        method: &Method,
        uri: &Uri,
        response: Response<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let Some(target) = target(uri.path()).filter(|_| response.status().is_success()) else {
            return Ok(response);
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        if let Some(write) = write(method, &target, &body) {
            lock(&self.0.writes).push(write);
        }
        Ok(Response::from_parts(head, Body::from(body)))
    }

    /// Sends a write as a dry run and reports it. What the server cannot try is not sent.
    async fn pretend(
        &self,
        dry_run: &DryRun,
        method: &Method,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        let path = request.uri().path().to_owned();
        let Some(target) = target(&path) else {
            return self.forward(request).await;
        };
        // Events and Leases would show that somebody was here; what is not stored is no write.
        let is_group = |group: &str| target.group == group;
        if is_group("authorization.k8s.io") || is_group("authentication.k8s.io") {
            return self.forward(request).await;
        }
        let (mut head, body) = request.into_parts();
        if target.plural == "events" || target.plural == "leases" {
            let body = body.collect().await?.to_bytes();
            let status = if method == Method::POST { StatusCode::CREATED } else { StatusCode::OK };
            return Ok(Response::builder().status(status).body(Body::from(body))?);
        }
        let old = self.read(&target, &path).await?;
        head.uri = with_dry_run(&head.uri)?;
        let response = self.forward(Request::from_parts(head, body)).await?;
        if !response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let new = match *method {
            Method::DELETE => None,
            _ => Some(serde_json::from_slice::<Value>(&body)?),
        };
        let kind = new.as_ref().or(old.as_ref()).and_then(|object| object["kind"].as_str());
        let kind = kind.unwrap_or(target.plural);
        let name = target.name.or_else(|| new.as_ref()?["metadata"]["name"].as_str());
        let to = ObjectKey::new(target.namespace, name.unwrap_or_default());
        dry_run.record(&Attempt {
            controller: &self.0.account.controller,
            object: &self.0.key,
            verb: method.as_str(),
            kind,
            key: &to,
            subresource: target.subresource,
            old: old.as_ref(),
            new: new.as_ref(),
        });
        Ok(Response::from_parts(head, Body::from(body)))
    }

    /// Reads what a write would replace.
    async fn read(&self, target: &Target<'_>, path: &str) -> Result<Option<Value>, BoxError> {
        if target.name.is_none() {
            return Ok(None);
        }
        let path = match target.subresource {
            // Other subresources than the status are objects of another type.
            Some("status") => path.trim_end_matches("/status"),
            Some(_) => return Ok(None),
            None => path,
        };
        let response = self.forward(Request::get(path).body(Body::empty())?).await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes()).ok())
    }
}

impl tower::Service<Request<Body>> for Ledger {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ledger = self.clone();
        Box::pin(async move { ledger.send(request).await })
    }
}

/// What the service of a run returned, as kube's own client would return it.
fn into_kube(error: BoxError) -> kube::Error {
    match error.downcast::<kube::Error>() {
        Ok(error) => *error,
        Err(error) => kube::Error::Service(error),
    }
}

/// Reads a path such as `/apis/apps/v1/namespaces/default/deployments/web/scale`.
pub(crate) fn target(path: &str) -> Option<Target<'_>> {
    let mut segments = path.trim_matches('/').split('/');
    let group = match segments.next()? {
        "api" => "",
        "apis" => segments.next()?,
        _ => return None,
    };
    let version = segments.next()?;
    let first = segments.next()?;
    let (namespace, plural) = match (first, segments.clone().nth(1)) {
        // `/api/v1/namespaces/a/status` is a namespace's own.
        ("namespaces", Some(plural)) if !matches!(plural, "status" | "finalize") => {
            (segments.next(), segments.next()?)
        }
        _ => (None, first),
    };
    let (name, subresource) = (segments.next(), segments.next());
    Some(Target { group, version, namespace, plural, name, subresource })
}

/// The write that an answer acknowledges. `None` if nothing is stored under a name, or the answer does not say what.
fn write(method: &Method, target: &Target<'_>, body: &Bytes) -> Option<Write> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Answer {
        kind: SmolStr,
        metadata: Metadata,
        details: Metadata,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Metadata {
        name: Option<SmolStr>,
        namespace: Option<SmolStr>,
        uid: Option<SmolStr>,
        resource_version: Option<SmolStr>,
    }
    // Of subresources, only the status returns the object itself.
    if target.subresource.is_some_and(|subresource| subresource != "status") {
        return None;
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let deleted = *method == Method::DELETE && answer.kind == "Status";
    let meta = if deleted { answer.details } else { answer.metadata };
    let name = target.name.or(meta.name.as_deref())?;
    let namespace = target.namespace.or(meta.namespace.as_deref());
    let state = match meta.resource_version {
        _ if deleted => Written::Deleted,
        Some(version) if !version.is_empty() => Written::Version(version),
        _ => return None,
    };
    Some(Write {
        group: target.group.into(),
        plural: target.plural.into(),
        key: ObjectKey::new(namespace, name),
        uid: meta.uid,
        state,
    })
}

fn with_dry_run(uri: &Uri) -> Result<Uri, http::Error> {
    let path = uri.path();
    let query = uri.query().filter(|query| !query.is_empty());
    let parts = query.map_or_else(
        || format!("{path}?dryRun=All"),
        |query| {
            if query.contains("dryRun=") {
                format!("{path}?{query}")
            } else {
                format!("{path}?{query}&dryRun=All")
            }
        },
    );
    let mut builder = Uri::builder().path_and_query(parts);
    if let Some(scheme) = uri.scheme() {
        builder = builder.scheme(scheme.clone());
    }
    if let Some(authority) = uri.authority() {
        builder = builder.authority(authority.clone());
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Group, namespace, plural, name and subresource.
    type Parsed<'a> = (&'a str, Option<&'a str>, &'a str, Option<&'a str>, Option<&'a str>);

    fn parsed(path: &str) -> Option<Parsed<'_>> {
        target(path).map(|it| (it.group, it.namespace, it.plural, it.name, it.subresource))
    }

    #[test]
    fn paths_name_resources() {
        assert_eq!(parsed("/api/v1/namespaces/a/pods/b"), Some(("", Some("a"), "pods", Some("b"), None)));
        assert_eq!(
            parsed("/apis/apps/v1/namespaces/a/deployments/b/scale"),
            Some(("apps", Some("a"), "deployments", Some("b"), Some("scale")))
        );
        assert_eq!(parsed("/api/v1/nodes/b/status"), Some(("", None, "nodes", Some("b"), Some("status"))));
        assert_eq!(parsed("/api/v1/namespaces/a"), Some(("", None, "namespaces", Some("a"), None)));
        assert_eq!(
            parsed("/api/v1/namespaces/a/finalize"),
            Some(("", None, "namespaces", Some("a"), Some("finalize")))
        );
        assert_eq!(parsed("/api/v1/namespaces"), Some(("", None, "namespaces", None, None)));
        assert_eq!(parsed("/version"), None);
    }

    #[test]
    fn answers_say_what_was_written() {
        let target = target("/api/v1/namespaces/a/configmaps").unwrap();
        let body = json!({"kind": "ConfigMap", "metadata": {"name": "b", "namespace": "a", "uid": "u", "resourceVersion": "7"}});
        let written = write(&Method::POST, &target, &Bytes::from(body.to_string())).unwrap();
        assert_eq!(written.key, ObjectKey::new("a", "b"));
        assert_eq!(written.state, Written::Version("7".into()));

        let target = Target { name: Some("b"), ..target };
        let body = json!({"kind": "Status", "details": {"name": "b", "uid": "u"}});
        let gone = write(&Method::DELETE, &target, &Bytes::from(body.to_string())).unwrap();
        assert_eq!((gone.uid.as_deref(), gone.state), (Some("u"), Written::Deleted));
        assert_eq!(write(&Method::POST, &target, &Bytes::from_static(b"no JSON")), None);
    }

    #[test]
    fn a_dry_run_is_asked_for_once() {
        let uri = |text: &str| with_dry_run(&text.parse().unwrap()).unwrap().to_string();
        assert_eq!(uri("/api/v1/pods?"), "/api/v1/pods?dryRun=All");
        assert_eq!(uri("/api/v1/pods?a=b"), "/api/v1/pods?a=b&dryRun=All");
        assert_eq!(uri("/api/v1/pods?dryRun=All"), "/api/v1/pods?dryRun=All");
    }
}
