//! Chooses and checks context, cluster and user from the merged files and the options. Source: client-go
//! `tools/clientcmd/client_config.go`, `merged_client_builder.go` and `validation.go`.
//!
//! Only chosen entries are checked, so a broken entry does not affect anyone who does not use it. client-go treats an
//! undefined cluster or user as an empty one, and then connects to localhost:8080, or anonymously. Here it is an
//! error that names the entry, unless options provide the server or the credentials.

use std::collections::BTreeMap;
use std::path::Path;

use crate::chosen::Chosen;
use crate::client::Auth;
use crate::environment::Environment;
use crate::error::Error;
use crate::in_cluster::Pod;
use crate::merge::{Entry, Merged};
use crate::model::{Cluster, Context, User};
use crate::overrides::Overrides;
use crate::report::{Located, Origin, Report};
use crate::resolved::ResolvedConfig;
use crate::{cluster, proxy, user};

/// The selected context, and what selected it.
struct Selected<'a> {
    name: Located,
    entry: &'a Entry<Context>,
}

/// Reads the files, or only `kubeconfig`, and chooses the cluster.
pub(crate) fn resolve(
    kubeconfig: Option<&Path>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<ResolvedConfig, Error> {
    let merged = Merged::read(environment, kubeconfig)?.resolve_paths();
    let context = context(&merged, overrides)?;
    if context.is_some() || overrides.has_cluster() {
        return from_files(&merged, context, overrides, environment);
    }
    // Nothing is selected. Only now may the pod's service account be used.
    match Pod::detect(environment) {
        Some(pod) => in_pod(pod.resolve(&merged)?, overrides, environment),
        None if merged.is_empty() => Err(Error::NoConfiguration { files: merged.paths() }),
        None => Err(Error::NoContext { files: merged.found(), defined: keys(&merged.contexts) }),
    }
}

fn context<'a>(merged: &'a Merged, overrides: &Overrides) -> Result<Option<Selected<'a>>, Error> {
    let (name, origin) = match &merged.current_context {
        _ if !overrides.context.is_empty() => (overrides.context.as_str(), Origin::Option),
        Some(entry) => (entry.value.as_str(), Origin::File(entry.file.clone())),
        None => ("", Origin::Default),
    };
    match merged.contexts.get(name) {
        Some(entry) => Ok(Some(Selected { name: Located { value: name.to_owned(), origin }, entry })),
        None if name.is_empty() => Ok(None),
        None => Err(Error::ContextNotDefined {
            name: name.to_owned(),
            files: merged.paths(),
            defined: keys(&merged.contexts),
        }),
    }
}

fn from_files(
    merged: &Merged,
    context: Option<Selected<'_>>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<ResolvedConfig, Error> {
    let (cluster_name, cluster_entry) = chosen_cluster(merged, context.as_ref(), overrides)?;
    let (user_name, user_entry) = chosen_user(merged, context.as_ref(), overrides)?;

    let cluster = overrides.cluster(cluster_entry.map(|entry| &entry.value));
    let cluster = Chosen::merged("cluster", cluster_name, cluster_entry, &cluster);
    let (mut config, ca_pem) = cluster::config(&cluster)?;
    let is_tls = config.cluster_url.scheme_str() == Some("https");
    let proxy = proxy_of(&cluster, cluster_entry, overrides, &config, environment)?;
    config.proxy_url = proxy.as_ref().map(|(uri, _)| uri.clone());

    let user = overrides.user(user_entry.map(|entry| &entry.value));
    let user = Chosen::merged("user", user_name, user_entry, &user);
    user::check(&user)?;
    user::impersonate(&user, &mut config)?;
    let methods = user::methods(user.value);
    let mut auth = Auth::Anonymous;
    // As in client-go, no secret is sent without TLS.
    if is_tls {
        let info = cluster::info(cluster.value, &config, &ca_pem);
        auth = user::auth(&user, &info, environment)?;
        user::configure(user.value, &info, &mut config);
    }

    let namespace = namespace(context.as_ref(), overrides, environment);
    config.default_namespace.clone_from(&namespace.value);
    let report = Report {
        files: merged.files.clone(),
        in_cluster: false,
        context_file: context.as_ref().map(|context| context.entry.file.clone()),
        cluster: cluster_entry
            .map(|entry| located(cluster_name, !overrides.cluster_name.is_empty(), &entry.file)),
        server: match cluster_entry {
            Some(entry) => {
                located(&cluster::server_name(&config), !overrides.cluster.server.is_empty(), &entry.file)
            }
            None => Located { value: cluster::server_name(&config), origin: Origin::Option },
        },
        user: user_entry.map(|entry| located(user_name, !overrides.user_name.is_empty(), &entry.file)),
        namespace,
        credentials_withheld: !is_tls && !methods.is_empty(),
        auth: methods,
        impersonate: config.auth_info.impersonate.clone(),
        proxy: proxy.map(proxy::located),
        insecure_skip_tls_verify: cluster.value.insecure_skip_tls_verify,
        context: context.map(|context| context.name),
    };
    Ok(ResolvedConfig { config, auth, report })
}

/// Returns the name of the cluster, and its entry, which is not needed if the server is given.
fn chosen_cluster<'a>(
    merged: &'a Merged,
    context: Option<&Selected<'a>>,
    overrides: &'a Overrides,
) -> Result<(&'a str, Option<&'a Entry<Cluster>>), Error> {
    if !overrides.cluster_name.is_empty() {
        return given("cluster", &overrides.cluster_name, &merged.clusters, merged);
    }
    let Some(context) = context else { return Ok(("", None)) };
    let name = &context.entry.value.cluster;
    let entry = merged.clusters.get(name);
    if entry.is_some() || !overrides.cluster.server.is_empty() {
        return Ok((name, entry));
    }
    if name.is_empty() {
        let context = Chosen::new("context", &context.name.value, context.entry);
        return Err(context.invalid("it does not name a cluster"));
    }
    Err(Error::ClusterNotDefined {
        name: name.clone(),
        context: context.name.value.clone(),
        file: context.entry.file.clone(),
        defined: keys(&merged.clusters),
    })
}

/// Returns the name of the user, and its entry. A context without a user is anonymous; a reference to an undefined
/// user is a mistake, unless credentials are given.
fn chosen_user<'a>(
    merged: &'a Merged,
    context: Option<&Selected<'a>>,
    overrides: &'a Overrides,
) -> Result<(&'a str, Option<&'a Entry<User>>), Error> {
    if !overrides.user_name.is_empty() {
        return given("user", &overrides.user_name, &merged.users, merged);
    }
    let Some(context) = context else { return Ok(("", None)) };
    let name = &context.entry.value.user;
    let entry = if name.is_empty() { None } else { merged.users.get(name) };
    if entry.is_some() || name.is_empty() || overrides.has_credentials() {
        return Ok((name, entry));
    }
    Err(Error::UserNotDefined {
        name: name.clone(),
        context: context.name.value.clone(),
        file: context.entry.file.clone(),
        defined: keys(&merged.users),
    })
}

/// Looks up an entry that an option selects.
fn given<'a, T>(
    kind: &'static str,
    name: &'a str,
    entries: &'a BTreeMap<String, Entry<T>>,
    merged: &Merged,
) -> Result<(&'a str, Option<&'a Entry<T>>), Error> {
    match entries.get(name) {
        Some(entry) => Ok((name, Some(entry))),
        None => Err(Error::OptionNotDefined {
            kind,
            name: name.to_owned(),
            files: merged.paths(),
            defined: keys(entries),
        }),
    }
}

fn namespace(context: Option<&Selected<'_>>, overrides: &Overrides, environment: &Environment) -> Located {
    if !overrides.namespace.is_empty() {
        return Located { value: overrides.namespace.clone(), origin: Origin::Option };
    }
    match (context, Pod::detect(environment)) {
        (Some(Selected { entry, .. }), _) if !entry.value.namespace.is_empty() => {
            Located { value: entry.value.namespace.clone(), origin: Origin::File(entry.file.clone()) }
        }
        (_, Some(pod)) => pod.namespace(),
        (_, None) => Located { value: "default".to_owned(), origin: Origin::Default },
    }
}

fn located(value: &str, is_given: bool, file: &Path) -> Located {
    let origin = if is_given { Origin::Option } else { Origin::File(file.to_owned()) };
    Located { value: value.to_owned(), origin }
}

/// Returns the cluster's own proxy, else that of the environment.
fn proxy_of(
    cluster: &Chosen<'_, Cluster>,
    entry: Option<&Entry<Cluster>>,
    overrides: &Overrides,
    config: &kube::Config,
    environment: &Environment,
) -> Result<Option<proxy::Named>, Error> {
    if cluster.value.proxy_url.is_empty() {
        return proxy::from_environment(environment, &config.cluster_url);
    }
    let proxy = proxy::parse(&cluster.value.proxy_url)
        .map_err(|problem| cluster.invalid(format!("proxy-url {problem}")))?;
    let origin = match entry {
        Some(entry) if overrides.cluster.proxy_url.is_empty() => Origin::File(entry.file.clone()),
        _ => Origin::Option,
    };
    Ok(Some((proxy, origin)))
}

/// Applies the options to the pod's cluster. client-go only takes over the token and the certificate authority, and
/// connects to localhost:8080 for some others.
fn in_pod(
    mut pod: ResolvedConfig,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<ResolvedConfig, Error> {
    if !overrides.user_name.is_empty() {
        return Err(Error::InvalidOptions {
            problem: "a user of a kubeconfig is selected, but no context or cluster".to_owned(),
        });
    }
    if !overrides.namespace.is_empty() {
        pod.report.namespace = Located { value: overrides.namespace.clone(), origin: Origin::Option };
        pod.config.default_namespace.clone_from(&overrides.namespace);
    }
    let mut cluster = overrides.cluster(None);
    cluster.server.clone_from(&pod.report.server.value);
    let cluster = Chosen::merged("cluster", "", None, &cluster);
    if overrides.changes_cluster() {
        let (config, _) = cluster::config(&cluster)?;
        if config.root_cert.is_some() || config.accept_invalid_certs {
            pod.config.root_cert = config.root_cert;
            pod.config.root_cert_file = config.root_cert_file;
            pod.config.accept_invalid_certs = config.accept_invalid_certs;
        }
        pod.config.tls_server_name = config.tls_server_name;
        pod.config.disable_compression = config.disable_compression;
        let proxy = proxy_of(&cluster, None, overrides, &pod.config, environment)?;
        pod.config.proxy_url = proxy.as_ref().map(|(uri, _)| uri.clone());
        pod.report.proxy = proxy.map(proxy::located);
        pod.report.insecure_skip_tls_verify = cluster.value.insecure_skip_tls_verify;
    }
    let user = Chosen::merged("user", "", None, &overrides.user);
    user::check(&user)?;
    user::impersonate(&user, &mut pod.config)?;
    pod.report.impersonate = pod.config.auth_info.impersonate.clone();
    if overrides.has_credentials() {
        let info = cluster::info(cluster.value, &pod.config, &[]);
        pod.auth = user::auth(&user, &info, environment)?;
        user::configure(user.value, &info, &mut pod.config);
        pod.report.auth = user::methods(user.value);
    }
    Ok(pod)
}

fn keys<T>(entries: &BTreeMap<String, T>) -> Vec<String> {
    entries.keys().cloned().collect()
}
