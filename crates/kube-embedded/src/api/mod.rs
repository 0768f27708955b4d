//! The HTTP API: from a request to its answer.
//!
//! What is here knows no socket and no token: a request comes with the [`User`] that it is from.

mod body;
mod components;
mod delete;
mod delete_options;
mod discovery;
mod fault;
mod injection;
mod mark;
mod negotiate;
mod openapi;
mod path;
mod pods;
mod query;
mod read;
mod render;
mod review;
mod scale;
mod select;
mod token;
mod watch;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio_util::sync::CancellationToken;

pub(crate) use self::delete::delete_object;
pub(crate) use self::delete_options::DeleteOptions;
pub(crate) use self::injection::Injections;
use self::negotiate::{Accept, Encoding};
pub(crate) use self::path::Path;
pub(crate) use self::query::Query;
use self::render::View;
pub(crate) use self::watch::IsWatch;
use crate::auth::{Authentication, User};
use crate::builtin::{self, service::Allocations};
use crate::clock::Clock;
use crate::controllers::Work;
use crate::faults::Faults;
use crate::lifecycle::SERVICES;
use crate::rbac;
use crate::registry::{Registry, Resource};
use crate::status::Status;
use crate::store::{Object, Range, Store};
use crate::table::IncludeObject;

/// kube-apiserver's limit of a request's body.
const MAX_BODY: usize = 3 * 1024 * 1024;
/// How long a client may take for a request's body.
const BODY: Duration = Duration::from_secs(60);

/// What a server is, apart from its sockets and tasks.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) clock: Clock,
    pub(crate) store: Arc<Store>,
    pub(crate) faults: Faults,
    /// Those of clients in other processes, if these may have any.
    injections: Option<Injections>,
    pub(crate) auth: Authentication,
    registry: RwLock<Registry>,
    /// To the controllers.
    work: tokio::sync::mpsc::UnboundedSender<Work>,
    /// Cancelled when the server is dropped: ends watches.
    pub(crate) ended: CancellationToken,
    /// What Services have; read from the store when it is first asked for.
    services: OnceLock<Mutex<Allocations>>,
}

/// A request for a resource.
struct Request<'a> {
    method: &'a Method,
    path: &'a Path,
    query: &'a Query,
    headers: &'a HeaderMap,
    body: Bytes,
    user: &'a User,
    resource: &'a Arc<Resource>,
    /// The resource's.
    api_version: String,
    accept: Accept,
}

impl Request<'_> {
    fn view<'a>(&'a self, api: &Api) -> Result<View<'a>, Status> {
        let include = IncludeObject::parse(self.query.get("includeObject")).map_err(Status::bad_request)?;
        Ok(View { resource: self.resource, accept: &self.accept, include, now: api.clock.now() })
    }

    /// `fieldManager`, or what a client's user agent says before its version.
    fn manager<'a>(&'a self, given: &'a str) -> &'a str {
        if !given.is_empty() {
            return given;
        }
        let agent = self.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        agent.and_then(|agent| agent.split('/').next()).filter(|agent| !agent.is_empty()).unwrap_or("unknown")
    }
}

impl Api {
    /// A server of what is in a store.
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        injections: Option<Injections>,
        work: tokio::sync::mpsc::UnboundedSender<Work>,
    ) -> Self {
        Self {
            auth: Authentication::new(&store),
            store: Arc::new(store),
            clock,
            faults: Faults::default(),
            injections,
            registry: RwLock::new(Registry::new()),
            work,
            ended: CancellationToken::new(),
            services: OnceLock::new(),
        }
    }

    /// The addresses and ports of Services. Nothing is awaited while it is held.
    pub(crate) fn allocations(&self) -> MutexGuard<'_, Allocations> {
        let all = self.services.get_or_init(|| {
            let mut all = Allocations::default();
            let stored = self.store.list(SERVICES, Range::default(), None).unwrap_or_default();
            stored.objects.iter().for_each(|service| all.note(&service.value()));
            Mutex::new(all)
        });
        all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the registry.
    pub(crate) fn registry<T>(&self, read: impl FnOnce(&Registry) -> T) -> T {
        read(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the registry.
    pub(crate) fn change_registry<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.registry.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the controllers something to do; nobody hears it once the server is gone.
    pub(crate) fn enqueue(&self, work: Work) {
        let _ = self.work.send(work);
    }

    /// The object at a path.
    fn object(&self, resource: &Resource, path: &Path) -> Result<Arc<Object>, Status> {
        self.store
            .get(&resource.collection, &resource.key(&path.namespace, &path.name))
            .ok_or_else(|| Status::not_found(&resource.group, &resource.plural, &path.name))
    }

    /// Answers a request, with a fault if there is one for it.
    pub(crate) async fn answer(&self, user: &User, request: http::Request<Body>) -> Response {
        match self.faults.take(request.method(), request.uri()) {
            None => self.perform(user, request).await,
            // In a box because it is rare, and would make each request's future larger.
            Some(strike) => Box::pin(fault::answer(self, user, request, strike)).await,
        }
    }

    async fn perform(&self, user: &User, request: http::Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let answer = match rbac::impersonate(self, user, &parts.headers) {
            Ok(Some(other)) => self.try_answer(&other, &parts, body).await,
            Ok(None) => self.try_answer(user, &parts, body).await,
            Err(refused) => Err(refused),
        };
        match answer {
            Ok(response) => response,
            Err(status) => status.into_response(),
        }
    }

    async fn try_answer(
        &self,
        user: &User,
        parts: &http::request::Parts,
        body: Body,
    ) -> Result<Response, Status> {
        let query = Query::parse(parts.uri.query());
        let Some(path) = Path::parse(parts.uri.path()) else {
            if let Some(injections) = &self.injections
                && let Some(rest) = injection::path(parts.uri.path())
            {
                return injections.answer(self, user, &parts.method, rest, body).await;
            }
            rbac::authorize_path(self, user, &parts.method, parts.uri.path())?;
            return self.answer_path(parts);
        };
        let verb = path.verb(&parts.method, query.watch());
        rbac::authorize(self, user, verb, &path)?;
        let resource = self
            .registry(|registry| registry.get(&path.group, &path.version, &path.plural).cloned())
            .ok_or_else(|| self.missing(&path))?;
        // An object of a namespace has no place outside of one.
        if resource.namespaced == path.namespace.is_empty() && !(resource.namespaced && path.name.is_empty())
        {
            return Err(Status::no_such_path());
        }
        let accept = Accept::negotiate(&parts.headers).ok_or_else(Status::not_acceptable)?;
        let body = match parts.method {
            Method::GET | Method::HEAD => Bytes::new(),
            _ => collect(body).await?,
        };
        let request = Request {
            method: &parts.method,
            path: &path,
            query: &query,
            headers: &parts.headers,
            body,
            user,
            resource: &resource,
            api_version: resource.api_version(),
            accept,
        };
        let answer = self.answer_resource(&request).await;
        // Refusals tell of objects too.
        if self.store.settled().await.is_err() {
            return Err(Status::internal("the server's data cannot be written to disk"));
        }
        let mut response = answer.unwrap_or_else(IntoResponse::into_response);
        let deprecation = match &resource.custom {
            Some(custom) => custom.deprecation.as_deref(),
            None => builtin::deprecation(&resource.group, &resource.kind),
        };
        if let Some(warning) = deprecation {
            warn_first(response.headers_mut(), warning);
        }
        Ok(response)
    }

    async fn answer_resource(&self, request: &Request<'_>) -> Result<Response, Status> {
        let (path, resource) = (request.path, request.resource);
        let named = !path.name.is_empty();
        if !path.subresource.is_empty() {
            return self.answer_subresource(request).await;
        }
        let verb = path.verb(request.method, request.query.watch());
        if *request.method == Method::POST && named {
            return Err(Status::method_not_allowed());
        }
        if !resource.verbs.iter().any(|it| it == verb) {
            return Err(match resource.custom {
                Some(_) if !named => Status::bad_request("name must be provided"),
                _ => Status::method_not_allowed(),
            });
        }
        match *request.method {
            Method::GET | Method::HEAD if components::are(resource) => components::answer(self, request),
            Method::GET | Method::HEAD if named && !request.query.watch() => read::get(self, request).await,
            Method::GET | Method::HEAD => {
                let mut options = request.query.list_options()?;
                if named {
                    // A watch of one object is one of its collection with a selector.
                    options.fields = format!("metadata.name={}", path.name);
                }
                if options.watch {
                    watch::watch(self, request, &options).await
                } else {
                    read::list(self, request, &options).await
                }
            }
            Method::POST if resource.kind == "Binding" && resource.group.is_empty() => {
                pods::bind(self, request)
            }
            Method::POST if resource.verbs.len() == 1 => review::create(self, request),
            Method::POST => write::create(self, request),
            Method::PUT if named => write::update(self, request),
            Method::PATCH if named => write::patch(self, request),
            Method::DELETE if named => delete::delete(self, request),
            Method::DELETE => delete::collection(self, request),
            Method::PUT | Method::PATCH if resource.custom.is_some() => {
                Err(Status::bad_request("name must be provided"))
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn answer_subresource(&self, request: &Request<'_>) -> Result<Response, Status> {
        let (path, resource) = (request.path, request.resource);
        let known = resource.subresource(&path.subresource);
        let Some(subresource) = known else {
            return Err(match resource.custom {
                Some(_) => Status::not_found(&resource.group, &resource.plural, &path.name),
                None => Status::no_such_path(),
            });
        };
        let verb = path.verb(request.method, false);
        if !subresource.verbs.iter().any(|it| it == verb) {
            return Err(Status::method_not_allowed());
        }
        match (path.subresource.as_str(), request.method) {
            ("scale", _) => scale::answer(self, request),
            ("binding", &Method::POST) => pods::bind(self, request),
            ("eviction", &Method::POST) => pods::evict(self, request),
            ("token", &Method::POST) => token::request(self, request),
            (
                "status" | "finalize" | "approval" | "resize" | "ephemeralcontainers",
                &Method::GET | &Method::HEAD,
            ) => read::get(self, request).await,
            ("status" | "finalize" | "approval" | "resize" | "ephemeralcontainers", &Method::PUT) => {
                write::update(self, request)
            }
            ("status" | "approval" | "resize" | "ephemeralcontainers", &Method::PATCH) => {
                write::patch(self, request)
            }
            // Its object is looked for first.
            _ if self.object(resource, path).is_err() => {
                Err(Status::not_found(&resource.group, &resource.plural, &path.name))
            }
            _ => Err(Status::not_implemented(&format!("{}/{}", resource.plural, path.subresource))),
        }
    }

    /// Paths that are no resource's.
    fn answer_path(&self, parts: &http::request::Parts) -> Result<Response, Status> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(match parts.uri.path() {
                path if path.starts_with("/api") => Status::method_not_allowed(),
                _ => Status::no_such_path(),
            });
        }
        let path = parts.uri.path().trim_end_matches('/');
        if let Some(document) = path.strip_prefix("/openapi/") {
            return openapi::answer(self, document, &parts.headers)
                .unwrap_or_else(|| Err(Status::no_such_path()));
        }
        let health = ["/healthz", "/livez", "/readyz"];
        if health
            .iter()
            .any(|it| path.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest == "/ping"))
        {
            return Ok(text(StatusCode::OK, "ok"));
        }
        if let Some(answer) = token::discovery(self, path, &parts.uri, &parts.headers) {
            return Ok(answer);
        }
        match discovery::answer(self, path, &parts.headers) {
            Some(answer) => Ok(answer),
            None => Ok(text(StatusCode::NOT_FOUND, "404 page not found\n")),
        }
    }

    /// Why a path's resource is not there.
    fn missing(&self, path: &Path) -> Status {
        let known = self.registry(|registry| {
            registry.is_builtin(&path.group) || registry.group_version(&path.group, &path.version).is_some()
        });
        // Where no group is, kube-apiserver has no handler either, and answers in plain text.
        if known { Status::no_such_path() } else { Status::page_not_found() }
    }
}

/// Adds a warning that clients show to their users (RFC 7234, code 299).
fn warn(headers: &mut HeaderMap, text: &str) {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
        headers.append(header::WARNING, value);
    }
}

/// Adds a warning before those that are there.
fn warn_first(headers: &mut HeaderMap, text: &str) {
    let others: Vec<HeaderValue> = match headers.entry(header::WARNING) {
        header::Entry::Occupied(warnings) => warnings.remove_entry_mult().1.collect(),
        header::Entry::Vacant(_) => Vec::new(),
    };
    warn(headers, text);
    for other in others {
        headers.append(header::WARNING, other);
    }
}

fn text(code: StatusCode, text: &'static str) -> Response {
    let mut response = render::response(code, Encoding::Json, text);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

async fn collect(body: Body) -> Result<Bytes, Status> {
    let body = tokio::time::timeout(BODY, Limited::new(body, MAX_BODY).collect());
    match body.await.map_err(|_| Status::timeout())? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(MAX_BODY)),
        Err(error) => Err(Status::bad_request(format!("the body could not be read: {error}"))),
    }
}
