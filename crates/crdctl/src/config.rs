//! `crdctl config`: how the cluster is chosen.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use kubeconfig::{Origin, Report};
use serde_json::json;

use crate::{
    cli::{Cluster, ConfigArgs, ConfigCommand, DataFormat, wrong_usage},
    contexts, data, explain, program, stdio,
};

/// Runs `crdctl config`.
pub(crate) fn run(cluster: &Cluster, args: &ConfigArgs) -> Result<ExitCode> {
    match (&args.command, args.output) {
        (None, None) => stdio::print(&text(load(cluster)?.report())),
        (None, Some(format)) => print_data(load(cluster)?.report(), format),
        (Some(_), Some(_)) => Ok(wrong_usage("`-o` stands after the subcommand of `config`")),
        (Some(ConfigCommand::GetContexts(args)), None) => contexts::list(&options(cluster), args),
        (Some(ConfigCommand::CurrentContext), None) => contexts::current(&options(cluster)),
    }
}

/// Says which files were read, and where each value comes from.
fn text(report: &Report) -> String {
    let mut text = report.to_string();
    if let Some(namespace) = namespace_variable().filter(|_| report.namespace.origin != Origin::Option) {
        let by = program::named("environment variable; the default of `crdctl watch -n`");
        text += &format!("NAMESPACE  {namespace} ({by})\n");
    }
    text
}

/// Prints the report, and the namespace that commands use without `-n`.
fn print_data(report: &Report, format: DataFormat) -> Result<ExitCode> {
    let mut fields = serde_json::to_value(report).context("writing the report as data")?;
    fields["defaultNamespace"] =
        match namespace_variable().filter(|_| report.namespace.origin != Origin::Option) {
            Some(namespace) => {
                json!({"value": namespace, "origin": {"kind": "variable", "value": "NAMESPACE"}})
            }
            None => fields["namespace"].clone(),
        };
    data::print(&fields, format)
}

/// Resolves the cluster that the command line and the environment choose.
pub(crate) fn load(cluster: &Cluster) -> Result<kubeconfig::ResolvedConfig> {
    options(cluster).load().map_err(explain::configuration)
}

/// Returns the namespace of commands: that of `-n`, else of the environment variable `NAMESPACE`, else of the context.
pub(crate) fn namespace(report: &Report) -> String {
    match namespace_variable().filter(|_| report.namespace.origin != Origin::Option) {
        Some(namespace) => namespace,
        None => report.namespace.value.clone(),
    }
}

/// Returns the environment variable `NAMESPACE`.
fn namespace_variable() -> Option<String> {
    env::var("NAMESPACE").ok().filter(|namespace| !namespace.is_empty())
}

/// Returns what the command line chooses.
pub(crate) fn options(cluster: &Cluster) -> kubeconfig::Options {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let path = |value: &Option<PathBuf>| value.clone().unwrap_or_default();
    kubeconfig::Options::default()
        .kubeconfig(path(&cluster.kubeconfig))
        .context(text(&cluster.context))
        .namespace(text(&cluster.namespace))
        .cluster(text(&cluster.cluster))
        .user(text(&cluster.user))
        .server(text(&cluster.server))
        .certificate_authority(path(&cluster.certificate_authority))
        .insecure_skip_tls_verify(cluster.insecure_skip_tls_verify.unwrap_or_default())
        .tls_server_name(text(&cluster.tls_server_name))
        .proxy_url(text(&cluster.proxy_url))
        .disable_compression(cluster.disable_compression.unwrap_or_default())
        .token(text(&cluster.token))
        .client_certificate(path(&cluster.client_certificate))
        .client_key(path(&cluster.client_key))
        .impersonate(text(&cluster.impersonate))
        .impersonate_groups(cluster.impersonate_groups.iter().cloned())
        .impersonate_uid(text(&cluster.impersonate_uid))
        .impersonate_user_extra(cluster.impersonate_user_extra.iter().cloned())
}
