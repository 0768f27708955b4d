//! From a request to its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use kube_selectors::FieldSelector;
use kube_validation::names::path_segment;
use tokio::time::Instant;

use super::body::Body;
use super::faults::{Faults, Hit};
use super::impersonate::impersonation;
use super::indent::{is_for_human, shown};
use super::injection::{self, Injections};
use super::negotiate::Accept;
use super::query::Query;
use super::render::{self, Response, plain_text, warn_all};
use super::request::Request;
use super::request_info::{lacks_resource, request_info};
use super::{
    components, connect, control, delete, discovery, faulty, kubelet, logs, openapi, pods, proxy, read,
    review, scale, token, watch, write,
};
use crate::cluster::{Cluster, RequestInfo};
use crate::kubelet::Kubelet;
use crate::resource::Resource;
use crate::scheme::Scheme;
use crate::status::Status;
use crate::user::User;
use crate::warnings::Warnings;

/// How long webhooks may take for one write in all: `requestTimeoutUpperBound` of kube-apiserver.
const WRITE_TIMEOUT: Duration = Duration::from_secs(34);

/// Answers the requests of a server.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) faults: Faults,
    /// The faults of clients in other processes, if they are allowed to inject any.
    pub(crate) injections: Option<Injections>,
    pub(crate) kubelet: Kubelet,
    /// Whether clients in other processes may say what kubelets answer.
    pub(crate) kubelet_over_http: bool,
}

impl Handler {
    /// Answers a user's request, with a fault if one takes it.
    pub(crate) async fn answer(&self, user: &User, request: http::Request<Body>) -> Response {
        let for_human = is_for_human(&request);
        let response = match self.faults.take(request.method(), request.uri()) {
            None => self.perform(user, request).await,
            // Boxed because it is rare, and would make the future of every request larger.
            Some(hit) => Box::pin(self.answer_faulty(user, request, hit)).await,
        };
        shown(response, for_human).await
    }

    async fn answer_faulty(&self, user: &User, mut request: http::Request<Body>, hit: Hit) -> Response {
        match faulty::before(&self.cluster, user, &mut request, &hit).await {
            Some(response) => response,
            None => faulty::after(&self.cluster, self.perform(user, request).await, hit),
        }
    }

    async fn perform(&self, user: &User, request: http::Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let answer = self.answer_as(user, &parts, body).await;
        // Error responses also reveal the current state, so they wait, too.
        let settled = self.cluster.settled().await;
        settled.and(answer).unwrap_or_else(|error| render::status(&error))
    }

    /// Answers a request, which may impersonate another user.
    async fn answer_as(
        &self,
        user: &User,
        parts: &http::request::Parts,
        body: Body,
    ) -> Result<Response, Status> {
        let cluster = &*self.cluster;
        if lacks_resource(parts.uri.path()) {
            return Ok(without_resource(&parts.uri));
        }
        let other = impersonation(&parts.headers)?.authorize(&cluster.rbac, &cluster.store, user)?;
        let user = other.as_ref().unwrap_or(user);
        let query = Query::parse(parts.uri.query());
        let Some(info) = request_info(&parts.method, parts.uri.path(), query.watch()) else {
            return self.answer_path(user, parts, body).await;
        };
        authorize(cluster, user, &info, &query)?;
        if let Some(remote) = cluster.api_services.current(&cluster.store).serving(parts.uri.path()) {
            return Ok(proxy::forward(cluster, user, parts, body, remote, info.verb == "watch").await);
        }
        let mut scheme = cluster.scheme();
        if !is_routed(parts.uri.path()) {
            return Err(Status::page_not_found());
        }
        let mut resource = find(&scheme, &info)?;
        if parts.method == Method::HEAD && resource.custom.is_none() {
            return Err(Status::method_not_allowed());
        }
        // Only lists and watches span namespaces.
        if resource.namespaced && info.namespace.is_empty() && !matches!(info.verb, "list" | "watch") {
            return Err(match resource.custom {
                Some(_) => Status::page_not_found(),
                None => Status::method_not_allowed(),
            });
        }
        let accept = Accept::negotiate(&parts.headers).ok_or_else(Status::not_acceptable)?;
        let body = match parts.method {
            Method::GET | Method::HEAD => Bytes::new(),
            _ => body.collect_request().await?,
        };
        // A body can take a minute, in which the resource may have changed.
        let current = cluster.scheme();
        if !Arc::ptr_eq(&scheme, &current) {
            scheme = current;
            resource = find(&scheme, &info)?;
        }
        let deprecation = match &resource.custom {
            Some(custom) => custom.deprecation.as_deref(),
            None => kube_builtin::resources::deprecation_warning(&resource.group, &resource.kind),
        };
        let warnings = Warnings::default();
        warnings.extend(deprecation.map(str::to_owned));
        let request = Request {
            cluster,
            user,
            method: &parts.method,
            info: &info,
            query: &query,
            headers: &parts.headers,
            body: &body,
            resource,
            accept: &accept,
            holds: self.faults.holds(),
            kubelet: &self.kubelet,
            deadline: Instant::now() + WRITE_TIMEOUT,
            warnings: &warnings,
        };
        let answer = match info.subresource.as_str() {
            "" => answer_resource(request).await,
            _ => answer_subresource(request).await,
        };
        let mut response = answer.unwrap_or_else(|error| render::status(&error));
        warn_all(response.headers_mut(), &warnings.into_vec());
        Ok(response)
    }

    /// Answers a request for a non-resource path.
    async fn answer_path(
        &self,
        user: &User,
        parts: &http::request::Parts,
        body: Body,
    ) -> Result<Response, Status> {
        let cluster = &*self.cluster;
        let (method, path) = (&parts.method, parts.uri.path());
        if let Some(injections) = &self.injections
            && let Some(id) = control::id(path, injection::PATH)
        {
            return injections.answer(&self.faults, user, method, id, body).await;
        }
        if self.kubelet_over_http
            && let Some(id) = control::id(path, kubelet::PATH)
        {
            return kubelet::answer(&self.kubelet, user, method, id, body).await;
        }
        let verb = method.as_str().to_ascii_lowercase();
        cluster.rbac.authorize_path(&cluster.store, user, &verb, path)?;
        // The document of a group version comes from its server, too.
        let served = path.strip_prefix("/openapi/v3").unwrap_or(path);
        if let Some(remote) = cluster.api_services.current(&cluster.store).serving(served) {
            return Ok(proxy::forward(cluster, user, parts, body, remote, false).await);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(match path.starts_with("/api") {
                true => Status::method_not_allowed(),
                false => Status::no_such_path(),
            });
        }
        if is_health(path) {
            return Ok(plain_text(StatusCode::OK, "ok"));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(document) = path.strip_prefix("/openapi/") {
            let answer = openapi::answer(cluster, document, &parts.headers);
            return answer.unwrap_or_else(|| Err(Status::no_such_path()));
        }
        let answer = token::discovery(cluster, path, &parts.uri, &parts.headers)
            .or_else(|| discovery::answer(cluster, path, &parts.headers));
        if *method == Method::HEAD && answer.is_some() && !has_head(&cluster.scheme(), path) {
            return Err(Status::method_not_allowed());
        }
        Ok(answer.unwrap_or_else(|| render::status(&Status::page_not_found())))
    }
}

/// The answer to a path that is about nothing: `InternalError` of apiserver's `responsewriters`.
fn without_resource(uri: &Uri) -> Response {
    let shown = uri.path_and_query().map_or("/", |it| it.as_str());
    let shown = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let why = "failed to create RequestInfo: unable to determine kind and namespace from url";
    let text = format!("Internal Server Error: {shown:?}: {why}, {shown}\n");
    plain_text(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// Answers a request for objects.
async fn answer_resource(request: Request<'_>) -> Result<Response, Status> {
    let (info, resource) = (request.info, request.resource);
    let named = !info.name.is_empty();
    if info.is_watch_path {
        return answer_watch_path(request).await;
    }
    if *request.method == Method::POST && named {
        return Err(Status::method_not_allowed());
    }
    if !resource.verbs.iter().any(|it| it == info.verb) {
        return Err(match resource.custom {
            Some(_) if !named => Status::bad_request("name must be provided"),
            _ => Status::method_not_allowed(),
        });
    }
    match *request.method {
        Method::GET | Method::HEAD if components::are(resource) => components::answer(request),
        Method::GET | Method::HEAD if info.verb == "get" => read::get(request).await,
        Method::GET | Method::HEAD => {
            let options = request.query.list_options()?;
            if options.watch {
                watch::watch(request, &options).await
            } else {
                read::list(request, &options).await
            }
        }
        Method::POST if resource.kind == "Binding" && resource.group.is_empty() => pods::bind(request).await,
        // A resource that can only be created is a question.
        Method::POST if resource.verbs.len() == 1 => review::create(request),
        Method::POST => write::create(request).await,
        Method::PUT if named => write::update(request).await,
        Method::PATCH if named => write::patch(request).await,
        Method::DELETE if named => delete::delete(request).await,
        Method::DELETE => delete::delete_collection(request).await,
        Method::PUT | Method::PATCH if resource.custom.is_some() => {
            Err(Status::bad_request("name must be provided"))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// Answers a request to a path that begins with `watch`.
async fn answer_watch_path(request: Request<'_>) -> Result<Response, Status> {
    let (info, resource) = (request.info, request.resource);
    if !resource.verbs.iter().any(|it| it == "watch") {
        return Err(Status::no_such_path());
    }
    if *request.method != Method::GET {
        return Err(Status::method_not_allowed());
    }
    let mut options = request.query.list_options()?;
    options.watch = true;
    if !info.name.is_empty() {
        let selector = FieldSelector::parse(&options.fields).ok();
        let selected = selector.as_ref().and_then(|selector| selector.exact("metadata.name"));
        if !options.fields.is_empty() && selected != Some(&*info.name) {
            return Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name"));
        }
        if options.fields.is_empty() {
            options.fields = format!("metadata.name={}", info.name);
        }
    }
    watch::watch(request, &options).await
}

/// Answers a request for a subresource of an object.
async fn answer_subresource(request: Request<'_>) -> Result<Response, Status> {
    let (info, resource) = (request.info, request.resource);
    let subresource = resource.subresource(&info.subresource).filter(|_| !info.is_watch_path);
    let Some(subresource) = subresource else {
        return Err(match resource.custom {
            Some(_) => Status::not_found(&resource.group, &resource.plural, &info.name),
            None => Status::no_such_path(),
        });
    };
    if !subresource.verbs.iter().any(|it| it == info.verb) {
        return Err(Status::method_not_allowed());
    }
    match (info.subresource.as_str(), request.method) {
        ("scale", _) => scale::answer(request).await,
        ("binding", &Method::POST) => pods::bind(request).await,
        ("eviction", &Method::POST) => pods::evict(request).await,
        ("token", &Method::POST) => token::request(request).await,
        ("log", _) => logs::log(request),
        ("exec" | "attach" | "portforward", _) => connect::connect(request).await,
        (
            "status" | "finalize" | "approval" | "resize" | "ephemeralcontainers",
            &Method::GET | &Method::HEAD,
        ) => read::get(request).await,
        ("status" | "finalize" | "approval" | "resize" | "ephemeralcontainers", &Method::PUT) => {
            write::update(request).await
        }
        ("status" | "approval" | "resize" | "ephemeralcontainers", &Method::PATCH) => {
            write::patch(request).await
        }
        // A missing object is reported first.
        _ if request.cluster.object(resource, &info.namespace, &info.name).is_err() => {
            Err(Status::not_found(&resource.group, &resource.plural, &info.name))
        }
        _ => Err(Status::not_implemented(&format!("{}/{}", resource.plural, info.subresource))),
    }
}

/// Refuses a request that its user is not authorized to make. A list or watch that selects a single name is authorized for
/// that name, as kube-apiserver does.
fn authorize(cluster: &Cluster, user: &User, info: &RequestInfo, query: &Query) -> Result<(), Status> {
    let selector = query.get("fieldSelector").filter(|_| matches!(info.verb, "list" | "watch"));
    let selector = selector.and_then(|selector| FieldSelector::parse(selector).ok());
    let name = selector.as_ref().and_then(|selector| selector.exact("metadata.name"));
    let name = name.filter(|name| !name.is_empty() && path_segment(name).is_empty());
    cluster.rbac.authorize(&cluster.store, user, info, name)
}

/// The resource that a request is for.
fn find<'a>(scheme: &'a Scheme, info: &RequestInfo) -> Result<&'a Arc<Resource>, Status> {
    let resource = scheme.get(&info.group, &info.version, &info.resource);
    let resource = resource.ok_or_else(|| not_served(scheme, info))?;
    // kube-apiserver ignores what follows the subresource of a custom resource.
    if resource.custom.is_none()
        && (info.has_more && info.subresource != "proxy"
            || !(info.subresource.is_empty() || resource.subresource(&info.subresource).is_some()))
    {
        return Err(Status::no_such_path());
    }
    // Namespaced objects are only found in a namespace, and cluster-scoped ones only outside of one.
    match resource.namespaced == info.namespace.is_empty() && !(resource.namespaced && info.name.is_empty()) {
        true => Err(Status::no_such_path()),
        false => Ok(resource),
    }
}

/// The error for a resource that is not served.
fn not_served(scheme: &Scheme, info: &RequestInfo) -> Status {
    // For an unknown group, kube-apiserver has no handler and answers in plain text.
    match scheme.is_builtin(&info.group) || scheme.group_version(&info.group, &info.version).is_some() {
        true => Status::no_such_path(),
        false => Status::page_not_found(),
    }
}

/// Whether kube-apiserver has a handler for paths that begin in this way. It authorizes before it looks for one.
fn is_routed(path: &str) -> bool {
    !path.starts_with("//") && !path.starts_with("/apis//")
}

/// Whether a path of discovery or of tokens also has `HEAD`.
fn has_head(scheme: &Scheme, path: &str) -> bool {
    match path.split('/').skip(1).collect::<Vec<_>>()[..] {
        ["apis", group] | ["apis", group, _] => !scheme.is_builtin(group),
        ["apis"] | [] => true,
        _ => false,
    }
}

fn is_health(path: &str) -> bool {
    let rest = ["/healthz", "/livez", "/readyz"].iter().find_map(|it| path.strip_prefix(it));
    matches!(rest, Some("" | "/ping"))
}
