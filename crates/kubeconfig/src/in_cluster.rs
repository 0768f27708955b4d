//! The cluster that this process runs in, by its pod's service account.
//! Source: client-go `rest/config.go` (`InClusterConfig`) and `tools/clientcmd/client_config.go`.

use std::io;

use http::Uri;

use crate::Loaded;
use crate::client::{Auth, TokenFile};
use crate::cluster::certificates;
use crate::environment::Environment;
use crate::error::Error;
use crate::merge::Merged;
use crate::proxy;
use crate::report::{AuthMethod, Located, Origin, Report};

/// Whether this is a pod with a service account.
pub(crate) fn is_possible(environment: &Environment) -> bool {
    environment.var("KUBERNETES_SERVICE_HOST").is_some()
        && environment.var("KUBERNETES_SERVICE_PORT").is_some()
        && environment.service_account_dir().join("token").metadata().is_ok_and(|file| !file.is_dir())
}

/// `POD_NAMESPACE`, then the service account's own, then `default`.
pub(crate) fn namespace(environment: &Environment) -> Located {
    if let Some(name) = environment.var("POD_NAMESPACE") {
        return Located { value: name.to_owned(), origin: Origin::Variable("POD_NAMESPACE".to_owned()) };
    }
    let path = environment.service_account_dir().join("namespace");
    match std::fs::read_to_string(&path) {
        Ok(content) if !content.trim().is_empty() => {
            Located { value: content.trim().to_owned(), origin: Origin::ServiceAccount(path) }
        }
        _ => Located { value: "default".to_owned(), origin: Origin::Default },
    }
}

pub(crate) fn load(merged: &Merged, environment: &Environment) -> Result<Loaded, Error> {
    if !merged.files.is_empty() && merged.found().is_empty() {
        tracing::debug!(files = ?merged.paths(), "no kubeconfig exists, using the pod's service account");
    }
    let host = environment.var("KUBERNETES_SERVICE_HOST").unwrap_or_default();
    let port = environment.var("KUBERNETES_SERVICE_PORT").unwrap_or_default();
    let server = if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    };
    let url: Uri = server.parse().map_err(|_| Error::InvalidVariable {
        name: "KUBERNETES_SERVICE_HOST",
        problem: format!("and KUBERNETES_SERVICE_PORT make no address: {server:?}"),
    })?;
    let mut config = kube::Config::new(url);

    let ca_path = environment.service_account_dir().join("ca.crt");
    match std::fs::read(&ca_path).map(|pem| certificates(&pem)) {
        Ok(Some(certificates)) => {
            config.root_cert = Some(certificates);
            config.root_cert_file = Some(ca_path);
        }
        // client-go goes on too, with the system's certificates.
        Ok(None) => tracing::warn!(path = %ca_path.display(), "the file holds no certificate authority"),
        Err(error) => {
            tracing::warn!(path = %ca_path.display(), %error, "cannot read the certificate authority");
        }
    }

    let token_path = environment.service_account_dir().join("token");
    let token = TokenFile::new(token_path.clone(), "");
    token.token().map_err(|error| Error::InCluster {
        problem: "cannot read the token",
        path: token_path.clone(),
        source: error.into_io().unwrap_or_else(|problem| io::Error::other(format!("it {problem}"))),
    })?;
    config.auth_info.token_file = token_path.to_str().map(str::to_owned);

    let namespace = namespace(environment);
    config.default_namespace.clone_from(&namespace.value);
    let proxy = proxy::from_environment(environment, &config.cluster_url)?;
    config.proxy_url = proxy.as_ref().map(|(uri, _)| uri.clone());
    let report = Report {
        files: merged.files.clone(),
        in_cluster: true,
        context: None,
        context_file: None,
        cluster: None,
        server: Located { value: server, origin: Origin::Variable("KUBERNETES_SERVICE_HOST".to_owned()) },
        user: None,
        namespace,
        auth: vec![AuthMethod::TokenFile(token_path)],
        credentials_withheld: false,
        impersonate: None,
        proxy: proxy.map(|(uri, variable)| Located {
            value: proxy::display(&uri),
            origin: Origin::Variable(variable.to_owned()),
        }),
        insecure_skip_tls_verify: false,
    };
    Ok(Loaded { config, auth: Auth::token_file(token), report })
}
