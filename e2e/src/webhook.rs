//! A server for webhooks: TLS with an authority of its own, and whatever answers a test wants.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_rustls::TlsAcceptor;

/// The names in the certificate of a server, unless a test wants others.
pub const NAMES: &[&str] = &["127.0.0.1", "localhost"];

/// How a webhook answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How long it takes.
    pub after: Duration,
    /// The status code. After 101, what the client sends is sent back.
    pub code: u16,
    /// More headers than `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A call of a webhook.
#[derive(Debug, Clone)]
pub struct Call {
    /// The path and the query.
    pub uri: http::Uri,
    /// The method and the headers.
    pub method: http::Method,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// The certificate of the client in DER, if the server has asked for one.
    pub certificate: Option<Vec<u8>>,
    /// The body; null if it is not JSON.
    pub review: Value,
}

/// A running server. It ends when it is dropped.
pub struct Webhook {
    address: SocketAddr,
    authority: String,
    calls: Arc<Mutex<Vec<Call>>>,
    task: AbortHandle,
}

impl Answer {
    /// 200 with JSON.
    #[must_use]
    pub fn json(body: &Value) -> Answer {
        Answer::raw(200, &body.to_string())
    }

    /// Any code and any text.
    #[must_use]
    pub fn raw(code: u16, body: &str) -> Answer {
        let headers = vec![("content-type", "application/json".to_owned())];
        Answer { after: Duration::ZERO, code, headers, body: body.as_bytes().to_vec() }
    }

    /// The answer to an admission review, with these members beside its uid.
    #[must_use]
    pub fn review(call: &Call, response: &Value) -> Answer {
        let mut response = response.clone();
        response["uid"] = call.review["request"]["uid"].clone();
        Answer::json(
            &json!({"apiVersion": call.review["apiVersion"], "kind": "AdmissionReview", "response": response}),
        )
    }

    /// Lets the request of a review pass.
    #[must_use]
    pub fn allow(call: &Call) -> Answer {
        Answer::review(call, &json!({"allowed": true}))
    }

    /// Lets it pass with a JSON patch.
    #[must_use]
    pub fn patch(call: &Call, patch: &Value) -> Answer {
        let patch = BASE64_STANDARD.encode(patch.to_string());
        Answer::review(call, &json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
    }
}

impl Webhook {
    /// Starts a server on a port of its own, whose certificate has these names.
    ///
    /// # Errors
    /// Fails without a socket or a certificate.
    pub async fn start(
        names: &[&str],
        answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Result<Webhook> {
        Webhook::start_with(certificate(names, None)?, answer).await
    }

    /// As [`Webhook::start`], with a server that asks for client certificates of an authority, in PEM.
    ///
    /// # Errors
    /// Fails without a socket or a certificate.
    pub async fn start_for(
        clients: &str,
        names: &[&str],
        answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Result<Webhook> {
        Webhook::start_with(certificate(names, Some(clients))?, answer).await
    }

    async fn start_with(
        (config, authority): (ServerConfig, String),
        answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Result<Webhook> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let calls = Arc::new(Mutex::default());
        let server = Server {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            calls: Arc::clone(&calls),
            answer: Arc::new(answer),
        };
        let task = tokio::spawn(server.run(listener)).abort_handle();
        Ok(Webhook { address, authority: BASE64_STANDARD.encode(authority), calls, task })
    }

    /// A `clientConfig` for a path.
    #[must_use]
    pub fn at(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.authority})
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The `caBundle`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The calls since the last time.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate with these names, and the authority that has issued it, in PEM.
fn certificate(names: &[&str], clients: Option<&str>) -> Result<(ServerConfig, String)> {
    let mut authority = CertificateParams::default();
    // Two authorities of the same name would be taken for each other.
    let name = format!("authority {}", fastrand::u64(..));
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority_key = KeyPair::generate()?;
    let pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        }
    };
    let config = config.with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((config, pem))
}

#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<dyn Fn(&Call) -> Answer + Send + Sync>,
}

impl Server {
    async fn run(self, listener: TcpListener) -> Result<()> {
        // With the set of its connections, the server ends them.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.context("accept")?;
            let server = self.clone();
            connections.spawn(async move {
                let Ok(stream) = server.acceptor.accept(stream).await else { return };
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate = certificates.and_then(|chain| Some(chain.first()?.to_vec()));
                let service = service_fn(move |request| server.clone().call(request, certificate.clone()));
                // A client may close the connection at any time.
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            });
        }
    }

    fn call(
        self,
        mut request: Request<Incoming>,
        certificate: Option<Vec<u8>>,
    ) -> BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>> {
        Box::pin(async move {
            let connection = hyper::upgrade::on(&mut request);
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
            let call = Call {
                uri: head.uri,
                method: head.method,
                headers: head.headers,
                certificate,
                review: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let answer = (self.answer)(&call);
            self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            tokio::time::sleep(answer.after).await;
            if answer.code == 101 {
                tokio::spawn(echo(connection));
            }
            let mut response = Response::builder().status(answer.code);
            for (name, value) in answer.headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(answer.body.into())).unwrap_or_default())
        })
    }
}

/// Sends back what a client sends, until it ends the connection.
async fn echo(connection: hyper::upgrade::OnUpgrade) -> Result<()> {
    let (mut from, mut to) = tokio::io::split(TokioIo::new(connection.await?));
    tokio::io::copy(&mut from, &mut to).await?;
    Ok(())
}
