//! `--health-addr`: endpoints of `crdctl watch` for the kubelet and Prometheus, over plain HTTP.
//!
//! `/healthz` is 200 while the process responds, `/readyz` only while the cache can be trusted, and `/metrics` returns the
//! informer's metrics. None of them reveals anything about an object.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use kube_informer::{Informers, Phase, Status, StatusWatch};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

use crate::pages::{self, Page, TEXT};

/// The listening socket, and the informers that the answers describe.
pub(crate) struct Health {
    listener: TcpListener,
    followed: Arc<OnceLock<Followed>>,
}

/// The state and the metrics of the informers.
struct Followed {
    statuses: Vec<StatusWatch>,
    metrics: Registry,
}

impl Health {
    /// Listens on `address`.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("listening on --health-addr {address}"))?;
        Ok(Self { listener, followed: Arc::default() })
    }

    /// Reports the state and the metrics of informers from now on. Before that, `/readyz` is 503.
    pub(crate) fn follow(&self, informers: &Informers, statuses: Vec<StatusWatch>) {
        let mut metrics = Registry::default();
        informers.register_metrics(&mut metrics);
        // This is called once.
        let _ = self.followed.set(Followed { statuses, metrics });
    }

    /// Answers requests for as long as it is polled.
    pub(crate) async fn serve(&self) -> Infallible {
        let followed = Arc::clone(&self.followed);
        pages::serve(&self.listener, move |method, path| answer(method, path, followed.get())).await
    }
}

/// The format that prometheus-client writes.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn answer(method: &Method, path: &str, followed: Option<&Followed>) -> Page {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are allowed\n".to_owned());
    }
    match path {
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match unready(followed) {
            None => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {reason}\n")),
        },
        "/metrics" => {
            let mut page = String::new();
            let none = Registry::default();
            match encode(&mut page, followed.map_or(&none, |followed| &followed.metrics)) {
                Ok(()) => (StatusCode::OK, METRICS, page),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            }
        }
        _ => (StatusCode::NOT_FOUND, TEXT, "not found; try /healthz, /readyz or /metrics\n".to_owned()),
    }
}

/// Returns why reads of the caches cannot be trusted. `None` if they can.
fn unready(followed: Option<&Followed>) -> Option<&'static str> {
    let Some(followed) = followed else { return Some("the resource type is being looked up") };
    followed.statuses.iter().find_map(|status| untrusted(&status.current()))
}

fn untrusted(status: &Status) -> Option<&'static str> {
    match status.phase {
        Phase::Stopped => Some("the informer has ended"),
        // The cache is empty then, which is correct but useless.
        Phase::TypeGone { .. } => Some("the server does not serve the type"),
        _ if status.is_ready() => None,
        _ if status.synced => Some("the cache is stale"),
        _ => Some("the first list is not complete"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
    use kube::{Api, api::PostParams};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::timeout,
    };

    use super::*;
    use crate::pages::{CONNECTION, CONNECTIONS, REQUEST};

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_is_not_ready_before_an_informer_starts() {
        let health = Health::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = health.listener.local_addr().unwrap();
        let asked = async {
            let ready = ask(address, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
            assert!(ready.ends_with("not ready: the resource type is being looked up\n"), "{ready}");
            for (request, code) in [
                ("GET /healthz HTTP/1.1", "200"),
                ("HEAD /healthz HTTP/1.1", "200"),
                ("GET /metrics HTTP/1.1", "200"),
                ("GET / HTTP/1.1", "404"),
                ("GET /debug/pprof HTTP/1.1", "404"),
                ("POST /healthz HTTP/1.1", "405"),
                ("nonsense", "400"),
            ] {
                let answer = ask(address, &format!("{request}\r\nhost: x\r\n\r\n")).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
            }
            let long = format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(2 * REQUEST));
            let answer = ask(address, &long).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        };
        tokio::select! {
            () = asked => {}
            never = health.serve() => match never {},
        }
    }

    #[tokio::test]
    async fn idle_connections_do_not_block_others() {
        let health = Health::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = health.listener.local_addr().unwrap();
        let asked = async {
            let mut silent = Vec::new();
            for _ in 0..4 * CONNECTIONS {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            // A kubelet waits for a second.
            let answer = ask(address, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
            let answer = timeout(Duration::from_secs(1), answer).await.expect("an answer in time");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            // They are closed: the oldest at once, the newest when their time is up.
            for mut connection in silent {
                let end = timeout(2 * CONNECTION, connection.read_to_end(&mut Vec::new())).await;
                end.expect("not closed in time").ok();
            }
        };
        tokio::select! {
            () = asked => {}
            never = health.serve() => match never {},
        }
    }

    #[tokio::test]
    async fn a_stale_cache_is_not_ready_until_the_server_sends_again() {
        let server = kube_embedded::Server::start();
        let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
        let informers = Informers::new(server.client());
        let informer = informers.typed::<ConfigMap>().stale_after(Duration::from_millis(200)).start();
        let health = Health::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = health.listener.local_addr().unwrap();
        health.follow(&informers, vec![informer.watch_status()]);
        let ready = async || ask(address, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let asked = async {
            informer.synced().await.unwrap();
            // The server has no events to send, so the cache becomes stale.
            while !ready().await.ends_with("not ready: the cache is stale\n") {}
            for index in 0.. {
                let name = Some(format!("m{index}"));
                let map =
                    ConfigMap { metadata: ObjectMeta { name, ..Default::default() }, ..Default::default() };
                maps.create(&PostParams::default(), &map).await.unwrap();
                if ready().await.starts_with("HTTP/1.1 200 ") {
                    break;
                }
            }
        };
        tokio::select! {
            asked = timeout(Duration::from_secs(30), asked) => asked.expect("the answer did not change in time"),
            never = health.serve() => match never {},
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let health = Health::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = health.listener.local_addr().unwrap();
        let error = Health::bind(address).await.err().expect("it is taken");
        assert_eq!(error.to_string(), format!("listening on --health-addr {address}"));
    }
}
