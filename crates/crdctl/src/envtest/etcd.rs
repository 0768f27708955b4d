//! `etcd` of the pair: answers whether it is healthy. It stores nothing, because the API server has a store of its own.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokio::net::TcpListener;

use super::flags::{self, Flags};
use crate::{
    pages, shutdown,
    stdio::{print, say},
};

/// The version that is reported: the one that Kubernetes 1.37 is tested with.
const VERSION: &str = "3.7.0";

const FLAGS: Flags = Flags {
    switches: &[&["help", "version"], WITHOUT_EFFECT_SWITCHES],
    values: &[&["data-dir", "listen-client-urls"], WITHOUT_EFFECT],
    single_dash: true,
};

/// Flags of etcd that are accepted and have no effect.
#[rustfmt::skip]
const WITHOUT_EFFECT_SWITCHES: &[&str] = &[
    "initial-election-tick-advance", "memory-mlock", "socket-reuse-port", "socket-reuse-address",
    "enable-grpc-gateway", "discovery-insecure-transport", "discovery-insecure-skip-tls-verify",
    "strict-reconfig-check", "pre-vote", "client-cert-auth", "auto-tls", "peer-client-cert-auth",
    "peer-auto-tls", "enable-pprof", "enable-log-rotation", "enable-distributed-tracing",
    "peer-skip-client-san-verification", "force-new-cluster", "unsafe-no-fsync",
];
#[rustfmt::skip]
const WITHOUT_EFFECT: &[&str] = &[
    "name", "wal-dir", "snapshot-count", "heartbeat-interval", "election-timeout", "listen-peer-urls",
    "listen-client-http-urls", "max-snapshots", "max-wals", "quota-backend-bytes",
    "backend-bbolt-freelist-type", "backend-batch-interval", "backend-batch-limit", "max-txn-ops",
    "max-request-bytes", "max-concurrent-streams", "grpc-keepalive-min-time", "grpc-keepalive-interval",
    "grpc-keepalive-timeout", "raft-read-timeout", "raft-write-timeout", "feature-gates",
    "initial-advertise-peer-urls", "initial-cluster", "initial-cluster-state", "initial-cluster-token",
    "advertise-client-urls", "discovery", "discovery-token", "discovery-endpoints",
    "discovery-dial-timeout", "discovery-request-timeout", "discovery-keepalive-time",
    "discovery-keepalive-timeout", "discovery-cert", "discovery-key", "discovery-cacert", "discovery-user",
    "discovery-password", "discovery-fallback", "discovery-proxy", "discovery-srv", "discovery-srv-name",
    "auto-compaction-retention", "auto-compaction-mode", "v2-deprecation", "cert-file", "key-file",
    "client-cert-file", "client-key-file", "client-crl-file", "client-cert-allowed-hostname",
    "trusted-ca-file", "peer-cert-file", "peer-key-file", "peer-client-cert-file", "peer-client-key-file",
    "peer-trusted-ca-file", "peer-cert-allowed-cn", "peer-cert-allowed-hostname",
    "self-signed-cert-validity", "peer-crl-file", "cipher-suites", "cors", "host-whitelist",
    "tls-min-version", "tls-max-version", "auth-token", "metrics", "listen-metrics-urls", "logger",
    "log-outputs", "log-level", "log-format", "log-rotation-config-json", "warning-unary-request-duration",
    "distributed-tracing-address", "distributed-tracing-service-name", "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate", "corrupt-check-time", "compact-hash-check-time",
    "watch-progress-notify-interval", "warning-apply-duration", "max-learners", "bcrypt-cost",
    "auth-token-ttl", "compaction-batch-limit", "bootstrap-defrag-threshold-megabytes",
    "compaction-sleep-interval", "downgrade-check-time", "snapshot-catchup-entries", "config-file",
];

const HELP: &str = "\
Usage:

  etcd [flags]

A part of kube-embedded that takes etcd's place beside kube-apiserver in tests: it says that it is healthy, and stores nothing.

  --data-dir PATH
    Created if it does not exist; nothing is written to it.
  --listen-client-urls 'http://localhost:2379'
    Where to answer GET /health, /livez, /readyz and /version.
  --unsafe-no-fsync, and all other flags of etcd
    Accepted; they have no effect.
";

/// Runs until a signal.
pub(super) async fn run(line: Vec<String>) -> Result<ExitCode> {
    let given = FLAGS.parse("etcd", line)?;
    if flags::switch(&given, "help", false)? {
        return print(HELP);
    }
    if flags::switch(&given, "version", false)? {
        return print(&format!("etcd Version: {VERSION}\n"));
    }
    if let Some(folder) = flags::last(&given, "data-dir") {
        fs::create_dir_all(Path::new(folder)).with_context(|| format!("creating --data-dir {folder}"))?;
    }
    let mut urls = flags::list(&given, "listen-client-urls");
    if urls.is_empty() {
        urls.push("http://localhost:2379".to_owned());
    }
    let mut listeners = Vec::new();
    for url in &urls {
        let Some(address) = url.strip_prefix("http://") else {
            bail!("--listen-client-urls {url}: only http:// is served")
        };
        let address = address.trim_end_matches('/');
        listeners.push(TcpListener::bind(address).await.with_context(|| format!("listening on {url}"))?);
    }
    say(&format!(
        "etcd of kube-embedded: healthy on {}; the API server stores its objects itself",
        urls.join(", ")
    ));
    tokio::select! {
        // It ends well on a signal, as etcd does.
        signal = shutdown::signal() => signal.map(|_| ExitCode::SUCCESS),
        _ = join_all(listeners.iter().map(|listener| pages::serve(listener, answer))) => bail!("the server has ended"),
    }
}

fn answer(method: &Method, path: &str) -> (StatusCode, &'static str, String) {
    const JSON: &str = "application/json";
    if !matches!(*method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, pages::TEXT, "Method Not Allowed\n".to_owned());
    }
    match path {
        "/health" => (StatusCode::OK, JSON, r#"{"health":"true","reason":""}"#.to_owned()),
        "/livez" | "/readyz" => (StatusCode::OK, pages::TEXT, "ok\n".to_owned()),
        "/version" => {
            let version = format!(r#"{{"etcdserver":"{VERSION}","etcdcluster":"{VERSION}"}}"#);
            (StatusCode::OK, JSON, version)
        }
        _ => (StatusCode::NOT_FOUND, pages::TEXT, "404 page not found\n".to_owned()),
    }
}
