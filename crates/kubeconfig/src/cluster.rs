//! The chosen cluster: its address, and which certificates to trust.
//! Source: client-go `tools/clientcmd/validation.go` and `client_config.go`.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use serde_json::{Value, json};

use crate::chosen::Chosen;
use crate::error::Error;
use crate::model::Cluster;
use crate::pem;

/// Returns kube's configuration with address, trust and server name, and the certificate authority as written (PEM).
pub(crate) fn config(cluster: &Chosen<'_, Cluster>) -> Result<(kube::Config, Vec<u8>), Error> {
    let value = cluster.value;
    if value.server.is_empty() {
        return Err(cluster.invalid("it has no server"));
    }
    let (file, data) = (&value.certificate_authority, &value.certificate_authority_data);
    if !file.is_empty() && !data.is_empty() {
        return Err(cluster.invalid("certificate-authority and certificate-authority-data are both set"));
    }
    if value.insecure_skip_tls_verify && !(file.is_empty() && data.is_empty()) {
        return Err(cluster.invalid(
            "insecure-skip-tls-verify is set together with a certificate authority: remove one of them",
        ));
    }
    let mut config =
        kube::Config::new(server_url(&value.server).map_err(|problem| cluster.invalid(problem))?);
    let ca_pem = if file.is_empty() {
        data.clone()
    } else {
        config.root_cert_file = Some(PathBuf::from(file));
        std::fs::read(file).map_err(|source| cluster.unreadable("certificate-authority", file, source))?
    };
    if !ca_pem.is_empty() || !file.is_empty() {
        let field = if file.is_empty() { "certificate-authority-data" } else { "certificate-authority" };
        let certificates = certificates(&ca_pem)
            .ok_or_else(|| cluster.invalid(format!("{field} contains no PEM certificate")))?;
        config.root_cert = Some(certificates);
    }
    config.accept_invalid_certs = value.insecure_skip_tls_verify;
    config.disable_compression = value.disable_compression;
    config.tls_server_name = Some(value.tls_server_name.clone()).filter(|name| !name.is_empty());
    Ok((config, ca_pem))
}

/// Returns the address for display, without a trailing slash.
pub(crate) fn server_name(config: &kube::Config) -> String {
    config.cluster_url.to_string().trim_end_matches('/').to_owned()
}

/// Returns the certificates of a PEM file as DER, or `None` if there are none. Whatever else it contains is skipped.
pub(crate) fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let certificates: Vec<_> = pem::authorities(pem).iter().map(|der| der.to_vec()).collect();
    Some(certificates).filter(|certificates| !certificates.is_empty())
}

/// Returns the cluster as an exec plugin receives it. Source: client-go `rest/exec.go`, `ConfigToExecCluster`.
pub(crate) fn info(cluster: &Cluster, config: &kube::Config, ca_pem: &[u8]) -> Value {
    let mut info = json!({"server": cluster.server});
    let mut set = |key: &str, value: Value| info[key] = value;
    if let Some(name) = &config.tls_server_name {
        set("tls-server-name", json!(name));
    }
    if cluster.insecure_skip_tls_verify {
        set("insecure-skip-tls-verify", json!(true));
    }
    if !ca_pem.is_empty() {
        set("certificate-authority-data", json!(STANDARD.encode(ca_pem)));
    }
    if !cluster.proxy_url.is_empty() {
        set("proxy-url", json!(cluster.proxy_url));
    }
    if cluster.disable_compression {
        set("disable-compression", json!(true));
    }
    if let Some(extension) = cluster.extensions.get("client.authentication.k8s.io/exec") {
        set("config", extension.clone());
    }
    info
}

/// Returns the address as a URL, without its query. The default scheme is `http`. Source: client-go
/// `rest/url_utils.go`, `DefaultServerURL`.
fn server_url(server: &str) -> Result<Uri, String> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let without_query = url.split(['?', '#']).next().unwrap_or_default();
    let uri: Uri =
        without_query.parse().map_err(|_| "server is neither a URL nor a host:port pair".to_owned())?;
    if url != server && uri.path() != "/" {
        return Err("server is neither a URL nor a host:port pair".to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("server must not contain a user name or password".to_owned());
    }
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        scheme => Err(format!("server has the unsupported scheme {:?}", scheme.unwrap_or_default())),
    }
}
