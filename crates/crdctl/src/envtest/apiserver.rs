//! `kube-apiserver` of the pair: the embedded server, with kube-apiserver's command line.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use kube_embedded::{RequestHeaders, Server, ServerBuilder};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    flags::{self, Flags, Given},
    tokens,
};
use crate::{
    cli::{self, LogFormat},
    log, shutdown,
    stdio::print,
};

const FLAGS: Flags = Flags {
    switches: &[&["help", "version", "anonymous-auth", "controllers"], WITHOUT_EFFECT_SWITCHES],
    values: &[WITH_EFFECT, WITHOUT_EFFECT],
    single_dash: false,
};

#[rustfmt::skip]
const WITH_EFFECT: &[&str] = &[
    "api-audiences", "authentication-config", "authorization-config", "authorization-mode", "bind-address",
    "cert-dir", "client-ca-file", "data-dir", "disable-admission-plugins", "enable-admission-plugins",
    "namespace-deletion-delay", "proxy-client-cert-file", "proxy-client-key-file",
    "requestheader-allowed-names", "requestheader-client-ca-file", "requestheader-extra-headers-prefix",
    "requestheader-group-headers", "requestheader-uid-headers", "requestheader-username-headers", "secure-port",
    "service-account-issuer", "service-account-key-file", "service-account-signing-key-file",
    "service-cluster-ip-range", "tls-cert-file", "tls-private-key-file", "token-auth-file", "v",
];

/// Flags of kube-apiserver 1.37 that are accepted and have no effect.
#[rustfmt::skip]
const WITHOUT_EFFECT_SWITCHES: &[&str] = &[
    "emulation-forward-compatible", "runtime-config-emulation-forward-compatible",
    "shutdown-send-retry-after", "enable-garbage-collector", "encryption-provider-config-automatic-reload",
    "watch-cache", "disable-http2-serving", "permit-address-sharing", "permit-port-sharing",
    "audit-log-batch-throttle-enable", "audit-log-compress", "audit-log-truncate-enabled",
    "audit-webhook-batch-throttle-enable", "audit-webhook-truncate-enabled", "contention-profiling",
    "enable-priority-and-fairness", "profiling", "enable-bootstrap-token-auth",
    "service-account-extend-token-expiration", "service-account-lookup", "log-json-split-stream",
    "log-text-split-stream", "aggregator-reject-forwarding-redirect", "allow-privileged",
    "enable-aggregator-routing", "enable-logs-handler",
];
#[rustfmt::skip]
const WITHOUT_EFFECT: &[&str] = &[
    "advertise-address", "cors-allowed-origins", "emulated-version", "external-hostname", "feature-gates",
    "goaway-chance", "livez-grace-period", "max-mutating-requests-inflight", "max-requests-inflight",
    "min-compatibility-version", "min-request-timeout", "request-timeout", "shutdown-delay-duration",
    "shutdown-watch-termination-grace-period", "storage-initialization-timeout",
    "strict-transport-security-directives", "delete-collection-workers", "encryption-provider-config",
    "etcd-cafile", "etcd-certfile", "etcd-compaction-interval", "etcd-count-metric-poll-period",
    "etcd-db-metric-poll-interval", "etcd-healthcheck-timeout", "etcd-keyfile", "etcd-prefix",
    "etcd-readycheck-timeout", "etcd-servers", "etcd-servers-overrides", "lease-reuse-duration-seconds",
    "storage-backend", "storage-media-type", "watch-cache-sizes", "http2-max-streams-per-connection",
    "tls-cipher-suites", "tls-curve-preferences", "tls-min-version", "tls-sni-cert-key",
    "audit-log-batch-buffer-size", "audit-log-batch-max-size", "audit-log-batch-max-wait",
    "audit-log-batch-throttle-burst", "audit-log-batch-throttle-qps", "audit-log-format",
    "audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize", "audit-log-mode", "audit-log-path",
    "audit-log-truncate-max-batch-size", "audit-log-truncate-max-event-size", "audit-log-version",
    "audit-policy-file", "audit-webhook-batch-buffer-size", "audit-webhook-batch-max-size",
    "audit-webhook-batch-max-wait", "audit-webhook-batch-throttle-burst",
    "audit-webhook-batch-throttle-qps", "audit-webhook-config-file", "audit-webhook-initial-backoff",
    "audit-webhook-mode", "audit-webhook-truncate-max-batch-size", "audit-webhook-truncate-max-event-size",
    "audit-webhook-version", "debug-socket-path",
    "authentication-token-webhook-cache-ttl", "authentication-token-webhook-config-file",
    "authentication-token-webhook-version", "oidc-ca-file", "oidc-client-id", "oidc-groups-claim",
    "oidc-groups-prefix", "oidc-issuer-url", "oidc-required-claim", "oidc-signing-algs",
    "oidc-username-claim", "oidc-username-prefix", "service-account-jwks-uri",
    "service-account-max-token-expiration", "authorization-policy-file",
    "authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl",
    "authorization-webhook-config-file", "authorization-webhook-version", "runtime-config",
    "egress-selector-config-file", "admission-control", "admission-control-config-file",
    "default-not-ready-toleration-seconds", "default-unreachable-toleration-seconds", "allow-metric-labels",
    "allow-metric-labels-manifest", "disabled-metrics", "show-hidden-metrics-for-version",
    "log-flush-frequency", "log-json-info-buffer-size", "log-text-info-buffer-size", "logging-format",
    "vmodule", "tracing-config-file", "coordinated-leadership-lease-duration",
    "coordinated-leadership-renew-deadline", "coordinated-leadership-retry-period",
    "endpoint-reconciler-type", "event-ttl", "kubelet-certificate-authority", "kubelet-client-certificate",
    "kubelet-client-key", "kubelet-preferred-address-types", "kubelet-timeout",
    "kubernetes-service-node-port", "max-connection-bytes-per-sec", "peer-advertise-ip",
    "peer-advertise-port", "peer-ca-file", "service-account-signing-endpoint", "service-node-port-range",
];

/// Enough for a client to finalize a namespace that it has just deleted, as tests of controllers do. kube-controller-manager
/// waits 5 s.
const NAMESPACE_DELETION_DELAY: Duration = Duration::from_millis(500);

const HELP: &str = "\
kube-embedded's API server, with kube-apiserver's command line.

Usage:
  kube-apiserver [flags]

Flags that have an effect:
      --anonymous-auth                            requests without credentials are those of system:anonymous (default true)
      --api-audiences strings                     the audiences of tokens for this server (default: the issuers)
      --authorization-mode strings                RBAC or AlwaysAllow, the default; Node and Webhook grant nothing here
      --bind-address ip                           the address to listen on (default 0.0.0.0)
      --cert-dir string                           where apiserver.crt and apiserver.key are, if they exist
      --client-ca-file string                     authorities of client certificates: users by CN, groups by O
      --controllers                               also run the controllers of kube-controller-manager that kube-embedded has
      --data-dir string                           keep all objects in this folder (default: in memory)
      --disable-admission-plugins strings         plugins that are on by default and are to be off
      --enable-admission-plugins strings          plugins that are to be on, too
  -h, --help                                      this text
      --namespace-deletion-delay duration         how long the namespace controller waits (default 500ms)
      --proxy-client-cert-file string             the certificate by which aggregated servers recognize this one
      --proxy-client-key-file string              its key
      --requestheader-allowed-names strings       common names of front proxies (default: any)
      --requestheader-client-ca-file string       authorities of front proxies, which name users in headers
      --requestheader-extra-headers-prefix strings   prefixes of headers with extra fields of users
      --requestheader-group-headers strings       headers with groups
      --requestheader-uid-headers strings         headers with uids
      --requestheader-username-headers strings    headers with names of users
      --secure-port int                           the port to listen on (default 6443)
      --service-account-issuer stringArray        issuers of tokens; the first one is that of new tokens
      --service-account-key-file stringArray      keys that tokens may be signed with
      --service-account-signing-key-file string   the key that signs tokens: RSA or ECDSA
      --service-cluster-ip-range string           the addresses of Services (default 10.0.0.0/24)
      --tls-cert-file string                      the certificate to serve with
      --tls-private-key-file string               its key
      --token-auth-file string                    a file with lines of token,user,uid,\"group1,group2\"
  -v, --v Level                                   how much to log
      --version                                   the version of Kubernetes' API

All other flags of kube-apiserver 1.37 are accepted and have no effect; the log names them.
";

/// Runs until a signal. `controllers`: whether the folder of the program asks for them.
pub(super) async fn run(line: Vec<String>, controllers: bool) -> Result<ExitCode> {
    let given = FLAGS.parse("kube-apiserver", line)?;
    if flags::switch(&given, "help", false)? {
        return print(HELP);
    }
    if flags::last(&given, "version").is_some_and(|value| value != "false") {
        let version = Server::start().client().apiserver_version().await?;
        return print(&format!("Kubernetes {}\n", version.git_version));
    }
    let level = flags::last(&given, "v").map(str::parse).transpose().context("--v is not a number")?;
    log::start(LogFormat::Text, level.unwrap_or_default())?;
    name_ignored(&given);
    let stop = CancellationToken::new();
    shutdown::until_signal(stop.clone(), serve(given, controllers, stop)).await
}

async fn serve(given: Vec<Given>, controllers: bool, stop: CancellationToken) -> Result<ExitCode> {
    let bind: IpAddr = match flags::last(&given, "bind-address") {
        None => IpAddr::from([0, 0, 0, 0]),
        Some(text) => text.parse().with_context(|| format!("--bind-address {text} is not an IP address"))?,
    };
    let port: u16 = match flags::last(&given, "secure-port") {
        None => 6443,
        Some(text) => match text.parse() {
            Ok(port) if port > 0 => port,
            _ => bail!("--secure-port {text} must be between 1 and 65535, inclusive"),
        },
    };
    let mut builder = with_tokens(with_tls(with_authorization(Server::builder(), &given)?, &given)?, &given)?;
    let range = flags::set(&given, "service-cluster-ip-range");
    builder =
        builder.service_addresses(range.unwrap_or("10.0.0.0/24")).context("--service-cluster-ip-range")?;
    let plugins = |flag| flags::list(&given, flag);
    let (enabled, disabled) = (plugins("enable-admission-plugins"), plugins("disable-admission-plugins"));
    builder = builder
        .enable_admission_plugins(enabled.iter().map(String::as_str))?
        .disable_admission_plugins(disabled.iter().map(String::as_str))?;
    if let Some(folder) = flags::last(&given, "data-dir") {
        builder = builder.data_dir(folder);
    }
    if !flags::switch(&given, "controllers", controllers)? {
        builder = builder.without_controllers();
    }
    let delay = flags::set(&given, "namespace-deletion-delay").map(cli::duration).transpose();
    let delay = delay.map_err(|why| anyhow!("--namespace-deletion-delay: {why}"))?;
    builder = builder.namespace_deletion_delay(delay.unwrap_or(NAMESPACE_DELETION_DELAY));
    let server = builder.start()?;
    if let Some(path) = flags::set(&given, "token-auth-file") {
        for user in tokens::parse(&text(path, "token-auth-file")?)
            .with_context(|| format!("--token-auth-file {path}"))?
        {
            let groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
            server.add_token(&user.token, &user.name, &user.uid, &groups);
        }
    }
    let endpoint = server.listen(&SocketAddr::new(bind, port).to_string()).await?;
    info!("serving securely on {}", endpoint.addr());
    stop.cancelled().await;
    endpoint.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn with_authorization(mut builder: ServerBuilder, given: &[Given]) -> Result<ServerBuilder> {
    // It may take permissions from those without credentials.
    ensure!(
        flags::set(given, "authentication-config").is_none(),
        "--authentication-config is not supported; use --anonymous-auth, --token-auth-file and --client-ca-file"
    );
    // Without it, everybody would be allowed to do everything.
    ensure!(
        flags::set(given, "authorization-config").is_none(),
        "--authorization-config is not supported; use --authorization-mode"
    );
    let modes = flags::list(given, "authorization-mode");
    for mode in &modes {
        match mode.as_str() {
            "RBAC" | "AlwaysAllow" => {}
            "Node" | "Webhook" | "ABAC" | "AlwaysDeny" => {
                warn!("the authorization mode {mode} grants nothing here");
            }
            other => bail!("authorization-mode {other:?} is not a valid mode"),
        }
    }
    let always_allow = modes.is_empty() || modes.iter().any(|mode| mode == "AlwaysAllow");
    if always_allow {
        warn!(
            "everybody who has credentials is allowed to do everything: the authorization mode is AlwaysAllow"
        );
        builder = builder.always_allow();
    }
    // As in kube-apiserver, nobody is allowed to do everything without credentials.
    if always_allow || !flags::switch(given, "anonymous-auth", true)? {
        builder = builder.without_anonymous();
    }
    Ok(builder)
}

fn with_tls(mut builder: ServerBuilder, given: &[Given]) -> Result<ServerBuilder> {
    let set = |name| flags::set(given, name);
    let chosen = match (set("tls-cert-file"), set("tls-private-key-file")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => set("cert-dir").map(Path::new).and_then(|folder| {
            let pair = (folder.join("apiserver.crt"), folder.join("apiserver.key"));
            (pair.0.exists() && pair.1.exists()).then_some(pair)
        }),
        _ => bail!("--tls-cert-file and --tls-private-key-file must be specified together"),
    };
    if let Some((certificate, key)) = chosen {
        let (chain, private) = (file(&certificate, "the serving certificate")?, file(&key, "its key")?);
        builder = builder.serving_certificate(&chain, &private).with_context(|| {
            format!("the certificate {} and the key {} cannot be used", certificate.display(), key.display())
        })?;
    }
    if let Some(path) = set("client-ca-file") {
        let bundle = file(Path::new(path), "--client-ca-file")?;
        builder = builder.client_authority(&bundle).with_context(|| format!("--client-ca-file {path}"))?;
    }
    with_front_proxies(builder, given)
}

/// The proxies that may name users to this server, and its own certificate as one.
fn with_front_proxies(mut builder: ServerBuilder, given: &[Given]) -> Result<ServerBuilder> {
    let set = |name| flags::set(given, name);
    match (set("proxy-client-cert-file"), set("proxy-client-key-file")) {
        (Some(certificate), Some(key)) => {
            let chain = file(Path::new(certificate), "--proxy-client-cert-file")?;
            let private = file(Path::new(key), "--proxy-client-key-file")?;
            builder = builder
                .proxy_certificate(&chain, &private)
                .with_context(|| format!("the certificate {certificate} and the key {key} cannot be used"))?;
        }
        (None, None) => {}
        _ => bail!("--proxy-client-cert-file and --proxy-client-key-file must be specified together"),
    }
    let list = |name| flags::list_without_blanks(given, name);
    let mut headers = RequestHeaders::default();
    headers.allowed_names = list("requestheader-allowed-names")?;
    headers.username = list("requestheader-username-headers")?;
    headers.uid = list("requestheader-uid-headers")?;
    headers.groups = list("requestheader-group-headers")?;
    headers.extra_prefixes = list("requestheader-extra-headers-prefix")?;
    let is_among = |all: &[String], standard: &str| all.iter().any(|it| it.eq_ignore_ascii_case(standard));
    for (flag, what, all, standard) in [
        ("username-headers", "header", &headers.username, "X-Remote-User"),
        ("group-headers", "header", &headers.groups, "X-Remote-Group"),
        ("extra-headers-prefix", "header prefix", &headers.extra_prefixes, "X-Remote-Extra-"),
    ] {
        if !all.is_empty() && !is_among(all, standard) {
            warn!(
                "--requestheader-{flag} is set without specifying the standard {standard} {what} - API aggregation will not work"
            );
        }
    }
    ensure!(
        headers.uid.is_empty() || is_among(&headers.uid, "X-Remote-Uid"),
        "--requestheader-uid-headers is set without specifying the standard X-Remote-Uid header - API aggregation will not work"
    );
    if let Some(path) = set("requestheader-client-ca-file") {
        let bundle = file(Path::new(path), "--requestheader-client-ca-file")?;
        builder = builder
            .front_proxies(&bundle, headers)
            .with_context(|| format!("--requestheader-client-ca-file {path}"))?;
    }
    Ok(builder)
}

fn with_tokens(mut builder: ServerBuilder, given: &[Given]) -> Result<ServerBuilder> {
    // Neither list is split at commas.
    let all = |name: &'static str| {
        given
            .iter()
            .filter(move |flag| flag.name == name && !flag.value.is_empty())
            .map(|flag| flag.value.as_str())
    };
    builder = builder.token_issuers(all("service-account-issuer"));
    builder = builder.token_audiences(flags::list(given, "api-audiences"));
    for path in all("service-account-key-file") {
        let pem = file(Path::new(path), "--service-account-key-file")?;
        builder = builder.token_keys(&pem).with_context(|| format!("--service-account-key-file {path}"))?;
    }
    if let Some(path) = all("service-account-signing-key-file").next_back() {
        let pem = file(Path::new(path), "--service-account-signing-key-file")?;
        builder = builder
            .token_signing_key(&pem)
            .with_context(|| format!("--service-account-signing-key-file {path}"))?;
    }
    Ok(builder)
}

/// Logs which flags have no effect.
fn name_ignored(given: &[Given]) {
    let ignored = |name: &str| WITHOUT_EFFECT.contains(&name) || WITHOUT_EFFECT_SWITCHES.contains(&name);
    let mut names: Vec<&str> =
        given.iter().map(|flag| flag.name.as_str()).filter(|name| ignored(name)).collect();
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        info!("flags without effect here: --{}", names.join(", --"));
    }
}

fn file(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {what} {}", path.display()))
}

fn text(path: &str, flag: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading --{flag} {path}"))
}
