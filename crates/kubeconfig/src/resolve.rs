//! Chooses and checks context, cluster and user from the merged files. Source: client-go
//! `tools/clientcmd/client_config.go` and `validation.go`.
//!
//! Only chosen entries are checked, so a broken entry does not affect anyone who does not use it. client-go treats an
//! undefined cluster or user as an empty one, and then connects to localhost:8080, or anonymously. Here it is an
//! error that names the entry.

use std::collections::BTreeMap;
use std::path::Path;

use crate::chosen::Chosen;
use crate::client::Auth;
use crate::environment::Environment;
use crate::error::Error;
use crate::in_cluster::Pod;
use crate::merge::{Entry, Merged};
use crate::model::{Cluster, Context};
use crate::report::{Located, Origin, Report};
use crate::resolved::ResolvedConfig;
use crate::{cluster, proxy, user};

/// What the caller chose explicitly, as with kubectl's flags.
pub(crate) struct Explicit<'a> {
    pub(crate) kubeconfig: Option<&'a Path>,
    pub(crate) context: Option<&'a str>,
}

/// Reads the files, and chooses the cluster.
pub(crate) fn resolve(explicit: &Explicit<'_>, environment: &Environment) -> Result<ResolvedConfig, Error> {
    let merged = Merged::read(environment, explicit.kubeconfig)?.resolve_paths();
    let name = explicit.context.or(merged.current_context.as_ref().map(|entry| entry.value.as_str()));
    let name = name.unwrap_or_default();
    match merged.contexts.get_key_value(name) {
        Some((name, context)) => {
            let origin = match (&explicit.context, &merged.current_context) {
                (None, Some(entry)) => Origin::File(entry.file.clone()),
                (Some(_), _) => Origin::Option,
                (None, None) => Origin::Default,
            };
            from_context(&merged, Located { value: name.clone(), origin }, context, environment)
        }
        None if !name.is_empty() => Err(Error::ContextNotDefined {
            name: name.to_owned(),
            files: merged.paths(),
            defined: keys(&merged.contexts),
        }),
        // No context is selected. Only now may the pod's service account be used.
        None => match Pod::detect(environment) {
            Some(pod) => pod.resolve(&merged),
            None if merged.is_empty() => Err(Error::NoConfiguration { files: merged.paths() }),
            None => Err(Error::NoContext { files: merged.found(), defined: keys(&merged.contexts) }),
        },
    }
}

fn from_context(
    merged: &Merged,
    context: Located,
    entry: &Entry<Context>,
    environment: &Environment,
) -> Result<ResolvedConfig, Error> {
    let at = Chosen::new("context", &context.value, entry);
    if at.value.cluster.is_empty() {
        return Err(at.invalid("it does not name a cluster"));
    }
    let Some(cluster_entry) = merged.clusters.get(&at.value.cluster) else {
        return Err(Error::ClusterNotDefined {
            name: at.value.cluster.clone(),
            context: context.value,
            file: entry.file.clone(),
            defined: keys(&merged.clusters),
        });
    };
    // A context without a user is anonymous; a reference to an undefined user is a mistake.
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
    let (mut config, ca_pem) = cluster::config(&cluster)?;
    let is_tls = config.cluster_url.scheme_str() == Some("https");
    let proxy = proxy_of(&cluster, &config, environment)?;
    config.proxy_url = proxy.as_ref().map(|(uri, _)| uri.clone());

    let mut auth = Auth::Anonymous;
    let mut methods = Vec::new();
    if let Some(user_entry) = user_entry {
        let user = Chosen::new("user", &at.value.user, user_entry);
        user::check(&user)?;
        user::impersonate(&user, &mut config)?;
        methods = user::methods(user.value);
        // As in client-go, no secret is sent without TLS.
        if is_tls {
            let info = cluster::info(cluster.value, &config, &ca_pem);
            auth = user::auth(&user, &info, environment)?;
            user::configure(user.value, &info, &mut config);
        }
    }

    let namespace = match (at.value.namespace.as_str(), Pod::detect(environment)) {
        ("", Some(pod)) => pod.namespace(),
        ("", None) => Located { value: "default".to_owned(), origin: Origin::Default },
        (name, _) => Located { value: name.to_owned(), origin: Origin::File(entry.file.clone()) },
    };
    config.default_namespace.clone_from(&namespace.value);
    let named =
        |value: &str, file: &Path| Located { value: value.to_owned(), origin: Origin::File(file.to_owned()) };
    let report = Report {
        files: merged.files.clone(),
        in_cluster: false,
        context_file: Some(entry.file.clone()),
        cluster: Some(named(&at.value.cluster, &cluster_entry.file)),
        server: named(&cluster::server_name(&config), &cluster_entry.file),
        user: user_entry.map(|user| named(&at.value.user, &user.file)),
        namespace,
        credentials_withheld: !is_tls && !methods.is_empty(),
        auth: methods,
        impersonate: config.auth_info.impersonate.clone(),
        proxy: proxy.map(proxy::located),
        insecure_skip_tls_verify: cluster.value.insecure_skip_tls_verify,
        context: Some(context),
    };
    Ok(ResolvedConfig { config, auth, report })
}

/// Returns the cluster's own proxy, else that of the environment.
fn proxy_of(
    cluster: &Chosen<'_, Cluster>,
    config: &kube::Config,
    environment: &Environment,
) -> Result<Option<proxy::Named>, Error> {
    if cluster.value.proxy_url.is_empty() {
        return proxy::from_environment(environment, &config.cluster_url);
    }
    let proxy = proxy::parse(&cluster.value.proxy_url)
        .map_err(|problem| cluster.invalid(format!("proxy-url {problem}")))?;
    Ok(Some((proxy, Origin::File(cluster.file.to_owned()))))
}

fn keys<T>(entries: &BTreeMap<String, T>) -> Vec<String> {
    entries.keys().cloned().collect()
}
