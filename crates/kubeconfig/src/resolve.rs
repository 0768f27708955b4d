//! From the merged files to one cluster: context, cluster and user are chosen and checked.
//! Source: client-go `tools/clientcmd/client_config.go` and `validation.go`.
//!
//! Only what is chosen is checked, so a broken entry harms nobody who does not use it. Where client-go takes
//! a cluster or user that is not defined for an empty one (and then asks localhost:8080, or anonymously),
//! this is an error that names it.

use std::fs::File;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use crate::client::{Auth, TokenFile, exec};
use crate::environment::Environment;
use crate::error::Error;
use crate::in_cluster;
use crate::merge::{Entry, Merged};
use crate::model::{Cluster, Exec, User};
use crate::proxy;
use crate::report::{AuthMethod, CertificateSource, Located, Origin, Report};
use crate::{Loaded, Options};

/// Reads the files and chooses.
pub(crate) fn load(options: &Options, environment: &Environment) -> Result<Loaded, Error> {
    let merged = Merged::read(environment, options.kubeconfig.as_deref())?;
    let chosen = options.context.as_ref().or(merged.current_context.as_ref().map(|entry| &entry.value));
    let name = chosen.map_or("", String::as_str);
    let mut loaded = match merged.contexts.get_key_value(name) {
        Some((name, context)) => {
            let origin = match (&options.context, &merged.current_context) {
                (None, Some(entry)) => Origin::File(entry.file.clone()),
                (Some(_), _) => Origin::Option,
                (None, None) => Origin::Default,
            };
            from_context(&merged, Located { value: name.clone(), origin }, context, environment)?
        }
        None if !name.is_empty() => {
            return Err(Error::ContextNotDefined {
                name: name.to_owned(),
                files: merged.paths(),
                defined: keys(&merged.contexts),
            });
        }
        // Nothing is asked for: only now may the pod's service account speak.
        None if in_cluster::is_possible(environment) => in_cluster::load(&merged, environment)?,
        None if merged.is_empty() => return Err(Error::NoConfiguration { files: merged.paths() }),
        None => {
            return Err(Error::NoContext { files: merged.found(), defined: keys(&merged.contexts) });
        }
    };
    if let Some(timeout) = options.connect_timeout {
        loaded.config.connect_timeout = Some(timeout);
    }
    Ok(loaded)
}

/// A cluster or user as it was chosen, for messages about it.
struct Chosen<'a, T> {
    entry: String,
    file: &'a Path,
    value: &'a T,
}

impl<'a, T> Chosen<'a, T> {
    fn new(kind: &str, name: &str, entry: &'a Entry<T>) -> Self {
        Self { entry: format!("{kind} {name:?}"), file: &entry.file, value: &entry.value }
    }

    fn invalid(&self, problem: impl Into<String>) -> Error {
        Error::InvalidEntry { entry: self.entry.clone(), file: self.file.to_owned(), problem: problem.into() }
    }

    fn unreadable(&self, field: &'static str, path: &str, source: std::io::Error) -> Error {
        let path = PathBuf::from(path);
        Error::ReadReferenced { field, path, entry: self.entry.clone(), file: self.file.to_owned(), source }
    }

    fn readable(&self, field: &'static str, path: &str) -> Result<(), Error> {
        if path.is_empty() {
            return Ok(());
        }
        File::open(path).map(drop).map_err(|source| self.unreadable(field, path, source))
    }
}

fn from_context(
    merged: &Merged,
    context: Located,
    entry: &Entry<crate::model::Context>,
    environment: &Environment,
) -> Result<Loaded, Error> {
    let at = Chosen::new("context", &context.value, entry);
    if at.value.cluster.is_empty() {
        return Err(at.invalid("it names no cluster"));
    }
    let Some(cluster_entry) = merged.clusters.get(&at.value.cluster) else {
        return Err(Error::ClusterNotDefined {
            name: at.value.cluster.clone(),
            context: context.value,
            file: entry.file.clone(),
            defined: keys(&merged.clusters),
        });
    };
    // A context without a user is anonymous; one with a user that is not there is a mistake.
    let user_entry = match at.value.user.as_str() {
        "" => None,
        name => Some(merged.users.get(name).ok_or_else(|| Error::UserNotDefined {
            name: name.to_owned(),
            context: context.value.clone(),
            file: entry.file.clone(),
            defined: keys(&merged.users),
        })?),
    };

    let cluster = Chosen::new("cluster", &at.value.cluster, cluster_entry);
    let (mut config, ca_pem) = cluster_config(&cluster)?;
    let is_tls = config.cluster_url.scheme_str() == Some("https");
    let proxy = match cluster.value.proxy_url.as_str() {
        "" => proxy::from_environment(environment, &config.cluster_url)?
            .map(|(uri, variable)| (uri, Origin::Variable(variable.to_owned()))),
        url => {
            let uri = proxy::parse(url).map_err(|problem| cluster.invalid(format!("proxy-url {problem}")))?;
            Some((uri, Origin::File(cluster.file.to_owned())))
        }
    };
    config.proxy_url = proxy.as_ref().map(|(uri, _)| uri.clone());

    let mut auth = Auth::Anonymous;
    let mut methods = Vec::new();
    if let Some(user_entry) = user_entry {
        let user = Chosen::new("user", &at.value.user, user_entry);
        check_user(&user)?;
        impersonate(&user, &mut config)?;
        methods = auth_methods(user.value);
        // As client-go: nothing secret leaves without TLS.
        if is_tls {
            let plugin = |exec: &Exec| {
                let info = exec.provide_cluster_info.then(|| cluster_info(cluster.value, &config, &ca_pem));
                exec::Plugin::new(exec, info, environment)
            };
            auth = user_auth(&user, plugin)?;
            user_config(user.value, &mut config);
        }
    }

    let namespace = match at.value.namespace.as_str() {
        "" if in_cluster::is_possible(environment) => in_cluster::namespace(environment),
        "" => Located { value: "default".to_owned(), origin: Origin::Default },
        name => Located { value: name.to_owned(), origin: Origin::File(entry.file.clone()) },
    };
    config.default_namespace.clone_from(&namespace.value);
    let named =
        |value: &str, file: &Path| Located { value: value.to_owned(), origin: Origin::File(file.to_owned()) };
    let report = Report {
        files: merged.files.clone(),
        in_cluster: false,
        context_file: Some(entry.file.clone()),
        cluster: Some(named(&at.value.cluster, &cluster_entry.file)),
        server: named(&cluster.value.server, &cluster_entry.file),
        user: user_entry.map(|user| named(&at.value.user, &user.file)),
        namespace,
        credentials_withheld: !is_tls && !methods.is_empty(),
        auth: methods,
        impersonate: config.auth_info.impersonate.clone(),
        proxy: proxy.map(|(uri, origin)| Located { value: proxy::display(&uri), origin }),
        insecure_skip_tls_verify: cluster.value.insecure_skip_tls_verify,
        context: Some(context),
    };
    Ok(Loaded { config, auth, report })
}

/// Address, trust and server name. Also the certificates of the authority as they are written.
fn cluster_config(cluster: &Chosen<'_, Cluster>) -> Result<(kube::Config, Vec<u8>), Error> {
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
            .ok_or_else(|| cluster.invalid(format!("{field} holds no certificate in PEM")))?;
        config.root_cert = Some(certificates);
    }
    config.accept_invalid_certs = value.insecure_skip_tls_verify;
    config.disable_compression = value.disable_compression;
    config.tls_server_name = Some(value.tls_server_name.clone()).filter(|name| !name.is_empty());
    Ok((config, ca_pem))
}

/// The certificates of a PEM file, DER; `None` when there is none or one is broken.
pub(crate) fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).map(|der| der.map(|der| der.to_vec())).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty())
}

/// The address as a URL: `http` when no scheme is given, without query.
/// Source: client-go `rest/url_utils.go`, `DefaultServerURL`.
fn server_url(server: &str) -> Result<Uri, String> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let without_query = url.split(['?', '#']).next().unwrap_or_default();
    let uri: Uri =
        without_query.parse().map_err(|_| "server is neither a URL nor a host:port pair".to_owned())?;
    if url != server && uri.path() != "/" {
        return Err("server is neither a URL nor a host:port pair".to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("server must not hold a user name or password".to_owned());
    }
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        scheme => Err(format!("server has the unsupported scheme {:?}", scheme.unwrap_or_default())),
    }
}

/// client-go's `validateAuthInfo`, and the combinations that it rejects later.
fn check_user(user: &Chosen<'_, User>) -> Result<(), Error> {
    let value = user.value;
    let is_basic = !value.username.is_empty() || !value.password.is_empty();
    if is_basic && (!value.token.is_empty() || !value.token_file.is_empty()) {
        return Err(user.invalid("a token and a user name are both set, only one is allowed"));
    }
    if has_certificate(value) {
        if !value.client_certificate.is_empty() && !value.client_certificate_data.is_empty() {
            return Err(user.invalid("client-certificate and client-certificate-data are both set"));
        }
        if !value.client_key.is_empty() && !value.client_key_data.is_empty() {
            return Err(user.invalid("client-key and client-key-data are both set"));
        }
        if value.client_key.is_empty() && value.client_key_data.is_empty() {
            return Err(user.invalid("a client certificate is set without client-key or client-key-data"));
        }
        user.readable("client-certificate", &value.client_certificate)?;
        user.readable("client-key", &value.client_key)?;
    }
    if let Some(exec) = &value.exec {
        if value.auth_provider.is_some() {
            return Err(user.invalid("auth-provider and exec are both set"));
        }
        if let Err(problem) = exec::check(exec) {
            return Err(user.invalid(format!("exec: {problem}")));
        }
    }
    let asks_for_more = !value.impersonate_uid.is_empty()
        || !value.impersonate_groups.is_empty()
        || !value.impersonate_user_extra.is_empty();
    if asks_for_more && value.impersonate.is_empty() {
        return Err(user.invalid("as-uid, as-groups or as-user-extra is set without as"));
    }
    Ok(())
}

fn has_certificate(user: &User) -> bool {
    !user.client_certificate.is_empty() || !user.client_certificate_data.is_empty()
}

/// What is sent in a header, by client-go's precedence: an exec plugin speaks only when nothing else does.
fn user_auth(user: &Chosen<'_, User>, plugin: impl FnOnce(&Exec) -> exec::Plugin) -> Result<Auth, Error> {
    let value = user.value;
    if !value.token_file.is_empty() {
        let file = TokenFile::new(PathBuf::from(&value.token_file), &value.token);
        // With a token beside it, the file may come later.
        if value.token.is_empty() {
            file.token().map_err(|error| match error.into_io() {
                Ok(source) => user.unreadable("tokenFile", &value.token_file, source),
                Err(problem) => user.invalid(format!("tokenFile {problem}")),
            })?;
        }
        return Ok(Auth::token_file(file));
    }
    if !value.token.is_empty() {
        return Auth::bearer(&value.token)
            .ok_or_else(|| user.invalid("token holds a character that is not allowed in a header"));
    }
    if !value.username.is_empty() || !value.password.is_empty() {
        return Ok(Auth::basic(&value.username, &value.password));
    }
    if let Some(provider) = &value.auth_provider {
        let instead = match provider.name.as_str() {
            "gcp" => " (gke-gcloud-auth-plugin)",
            "azure" => " (kubelogin)",
            _ => "",
        };
        return Err(user.invalid(format!(
            "auth-provider {:?} is not supported: use an exec plugin{instead}",
            provider.name
        )));
    }
    match &value.exec {
        Some(exec) if !has_certificate(value) => Ok(Auth::exec(plugin(exec))),
        _ => Ok(Auth::Anonymous),
    }
}

fn auth_methods(user: &User) -> Vec<AuthMethod> {
    let mut methods = Vec::new();
    if !user.token_file.is_empty() {
        methods.push(AuthMethod::TokenFile(PathBuf::from(&user.token_file)));
    } else if !user.token.is_empty() {
        methods.push(AuthMethod::Token);
    } else if !user.username.is_empty() || !user.password.is_empty() {
        methods.push(AuthMethod::Basic);
    }
    if has_certificate(user) {
        methods.push(AuthMethod::ClientCertificate(match user.client_certificate.as_str() {
            "" => CertificateSource::Inline,
            path => CertificateSource::File(PathBuf::from(path)),
        }));
    }
    if let (Some(exec), true) = (&user.exec, methods.is_empty()) {
        methods.push(AuthMethod::Exec(exec.command.clone()));
    }
    methods
}

/// The user in kube's own terms, such that kube's stack does nearly the same with them as ours.
fn user_config(user: &User, config: &mut kube::Config) {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let data = |bytes: &[u8]| some(&STANDARD.encode(bytes));
    let info = &mut config.auth_info;
    info.token_file = some(&user.token_file);
    // kube takes a token before a file, kubectl the file.
    info.token = some(&user.token).filter(|_| user.token_file.is_empty()).map(Into::into);
    info.username = some(&user.username);
    info.password = some(&user.password).map(Into::into);
    info.client_certificate = some(&user.client_certificate);
    info.client_certificate_data = data(&user.client_certificate_data);
    info.client_key = some(&user.client_key).filter(|_| has_certificate(user));
    info.client_key_data = data(&user.client_key_data).filter(|_| has_certificate(user)).map(Into::into);
}

fn impersonate(user: &Chosen<'_, User>, config: &mut kube::Config) -> Result<(), Error> {
    let value = user.value;
    if value.impersonate.is_empty() {
        return Ok(());
    }
    let texts = [&value.impersonate, &value.impersonate_uid];
    let texts = texts
        .into_iter()
        .chain(&value.impersonate_groups)
        .chain(value.impersonate_user_extra.values().flatten());
    for text in texts {
        if HeaderValue::from_str(text).is_err() {
            return Err(
                user.invalid(format!("as: {text:?} holds a character that is not allowed in a header"))
            );
        }
    }
    let info = &mut config.auth_info;
    info.impersonate = Some(value.impersonate.clone());
    info.impersonate_uid = Some(value.impersonate_uid.clone()).filter(|uid| !uid.is_empty());
    info.impersonate_groups = Some(value.impersonate_groups.clone()).filter(|groups| !groups.is_empty());
    info.impersonate_user_extra = Some(value.impersonate_user_extra.clone().into_iter().collect())
        .filter(|extra: &std::collections::HashMap<_, _>| !extra.is_empty());
    Ok(())
}

/// What an exec plugin learns of the cluster. Source: client-go `rest/exec.go`, `ConfigToExecCluster`.
fn cluster_info(cluster: &Cluster, config: &kube::Config, ca_pem: &[u8]) -> serde_json::Value {
    let mut info = json!({"server": cluster.server});
    let mut set = |key: &str, value: serde_json::Value| info[key] = value;
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

fn keys<T>(entries: &std::collections::BTreeMap<String, T>) -> Vec<String> {
    entries.keys().cloned().collect()
}
