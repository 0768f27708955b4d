//! The client: adds the current credential to each request, and renews a refused one once.
//!
//! Source: client-go `transport/round_trippers.go` and `plugin/pkg/client/auth/exec`. Unlike client-go, this client
//! resends a refused request if its credential could be renewed, which is safe because the server did not process it.

mod answer;
mod credential;
pub(crate) mod exec;
mod identity;
mod plugin;
mod redirect;
mod running;
mod terminal;
mod tls;
mod token_file;
mod transport;
mod verify;
mod waiting;

use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

use credential::Credential;
use identity::Identity;
pub(crate) use identity::{Part, Problem as IdentityProblem};
pub use plugin::ExecPlugin;
pub use redirect::RedirectError;
pub(crate) use tls::Problem as TrustProblem;
use tls::Trust;
pub(crate) use token_file::TokenFile;
use transport::{Route, Transport};

use crate::tls_error::{Names, TlsError};

/// The source of credentials.
#[derive(Clone)]
pub(crate) enum Auth {
    Anonymous,
    Fixed(Credential),
    TokenFile(Arc<TokenFile>),
    Exec(Arc<exec::Plugin>),
}

/// Why no client can be built.
pub(crate) enum Unusable {
    Kube(kube::Error),
    Trust(TrustProblem),
    /// The user's client certificate or its key.
    Identity(IdentityProblem),
    Tls(rustls::Error),
}

/// A client certificate and its key as the kubeconfig has them, PEM.
pub(crate) struct Certificate {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Builds a client that shares no connections with others. The credential of an exec plugin is shared by all clients
/// of one [`crate::ResolvedConfig`].
pub(crate) fn build(
    config: &kube::Config,
    auth: &Auth,
    certificate: Option<&Certificate>,
    names: Names,
) -> Result<kube::Client, Unusable> {
    let identity = match certificate {
        Some(pem) => Identity::from_pem(&pem.certificate, &pem.key, &tls::provider()).map(Arc::new).map(Some),
        None => Ok(None),
    };
    let identity = identity.map_err(Unusable::Identity)?;
    let route = Route { config: config.clone(), trust: Trust::new(config).map_err(Unusable::Trust)? };
    let transport = route.connect(identity.as_deref()).map_err(Unusable::Tls)?;
    let sender = Arc::new(Sender {
        auth: auth.clone(),
        route,
        names,
        identity: identity.clone(),
        transport: Mutex::new((identity, transport)),
    });
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer().map_err(Unusable::Kube)?)
        .service_fn(move |request| {
            let sender = sender.clone();
            async move { sender.send(request).await }
        });
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

struct Sender {
    auth: Auth,
    route: Route,
    names: Names,
    /// The user's client certificate.
    identity: Option<Arc<Identity>>,
    /// With the client certificate that its connections use.
    transport: Mutex<(Option<Arc<Identity>>, Transport)>,
}

impl Sender {
    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let (parts, body) = request.into_parts();
        if parts.headers.contains_key(AUTHORIZATION) {
            return self.exchange(parts, body, &Credential::default()).await;
        }
        let used = self.auth.credential().await?;
        let again =
            if self.auth.is_renewable() { body.try_clone().map(|body| (parts.clone(), body)) } else { None };
        let response = self.exchange(parts, body, &used).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.auth.renew(&used).await {
            Ok(renewed) if renewed != used => match again {
                Some((parts, body)) => self.exchange(parts, body, &renewed).await,
                // A streamed body is consumed; the next request uses the new credential.
                None => Ok(response),
            },
            Ok(_) => Ok(response),
            Err(error) => {
                tracing::warn!(
                    error = &*error as &dyn std::error::Error,
                    "cannot renew the refused credential"
                );
                Ok(response)
            }
        }
    }

    /// Sends the request, and follows redirects.
    async fn exchange(
        &self,
        mut parts: request::Parts,
        body: Body,
        credential: &Credential,
    ) -> Result<Response<Incoming>, BoxError> {
        if let Some(value) = &credential.authorization {
            parts.headers.insert(AUTHORIZATION, value.clone());
        }
        let identity = credential.identity.as_ref().or(self.identity.as_ref());
        let (from, mut body) = (parts.uri.clone(), body);
        for _ in 0..redirect::MOST {
            let again = body.try_clone();
            let response = self.attempt(Request::from_parts(parts.clone(), body), identity).await?;
            let Some(to) = redirect::target(&parts.method, &parts.uri, &response, again.is_some())? else {
                return Ok(response);
            };
            parts.uri = to;
            body = again.unwrap_or_else(Body::empty);
        }
        let (from, to) = (redirect::shown(&from), redirect::shown(&parts.uri));
        Err(RedirectError::TooMany { from, to }.into())
    }

    async fn attempt(
        &self,
        request: Request<Body>,
        identity: Option<&Arc<Identity>>,
    ) -> Result<Response<Incoming>, BoxError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let transport = self.transport(identity)?;
        let result = transport.oneshot(request).await;
        match &result {
            Ok(response) => tracing::debug!(%method, %uri, status = response.status().as_u16(), "response"),
            Err(error) => {
                tracing::debug!(%method, %uri, error = &**error as &dyn std::error::Error, "no response");
            }
        }
        result.map_err(|error| TlsError::wrap(&self.names, identity.is_some(), error))
    }

    /// Connections are tied to the client certificate that they were opened with, so another certificate needs new
    /// connections.
    fn transport(&self, identity: Option<&Arc<Identity>>) -> Result<Transport, BoxError> {
        let mut current = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.as_ref() != identity {
            *current = (identity.cloned(), self.route.connect(identity.map(|identity| &**identity))?);
        }
        Ok(current.1.clone())
    }
}

impl Auth {
    /// Returns `None` if the token is not valid in a header.
    pub(crate) fn bearer(token: &str) -> Option<Self> {
        Credential::bearer(token).map(Self::Fixed)
    }

    pub(crate) fn basic(username: &str, password: &str) -> Self {
        Self::Fixed(Credential::basic(username, password))
    }

    pub(crate) fn token_file(file: TokenFile) -> Self {
        Self::TokenFile(Arc::new(file))
    }

    pub(crate) fn exec(plugin: exec::Plugin) -> Self {
        Self::Exec(Arc::new(plugin))
    }

    pub(crate) fn plugin(&self) -> Option<ExecPlugin> {
        match self {
            Self::Exec(plugin) => Some(ExecPlugin::new(plugin.clone())),
            Self::Anonymous | Self::Fixed(_) | Self::TokenFile(_) => None,
        }
    }

    fn is_renewable(&self) -> bool {
        matches!(self, Self::TokenFile(_) | Self::Exec(_))
    }

    async fn credential(&self) -> Result<Credential, BoxError> {
        Ok(match self {
            Self::Anonymous => Credential::default(),
            Self::Fixed(credential) => credential.clone(),
            Self::TokenFile(file) => file.token()?,
            Self::Exec(plugin) => plugin.credential().await?,
        })
    }

    /// Returns a newer credential than the one that the server refused, if there is one.
    async fn renew(&self, refused: &Credential) -> Result<Credential, BoxError> {
        Ok(match self {
            Self::Anonymous | Self::Fixed(_) => refused.clone(),
            Self::TokenFile(file) => file.renew(refused)?,
            Self::Exec(plugin) => plugin.renew(refused).await?,
        })
    }
}
