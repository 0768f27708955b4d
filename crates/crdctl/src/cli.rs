//! The command line: what can be asked, checked before anything is done.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, str::FromStr, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ErrorKind},
};
use clap_complete::Shell;
use jiff::SignedDuration;

use crate::stdio::say;

/// Watch Kubernetes resources from a cache, and look after the Blog CRD
#[derive(Parser)]
#[command(version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// How logs are written to stderr; RUST_LOG chooses which (default: info)
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print each object of a resource type, then each change, the moment it arrives
    Watch(WatchArgs),
    /// Start an API server in this process, with the Blog CRD and a blog, and watch blogs on it
    #[cfg(feature = "server")]
    Demo(DemoArgs),
    /// Start an API server in this process, and serve until ctrl-c; with --data-dir its objects are there again next time
    #[cfg(feature = "server")]
    Serve(ServeArgs),
    /// Print, install or check the CustomResourceDefinition of Blog
    Crd {
        #[command(subcommand)]
        command: CrdCommand,
    },
    /// Show how the cluster is chosen: files, context, server, user, namespace (never a secret)
    Config,
    /// Print the completion script for a shell; `source <(crdctl completion bash)` loads it
    Completion { shell: Shell },
    /// Write the manual pages, one for each command
    #[command(hide = true)]
    Manual {
        /// An existing folder, in which files are overwritten
        folder: PathBuf,
    },
}

/// Which cluster.
#[derive(Args)]
pub(crate) struct Cluster {
    /// Use this kubeconfig file alone, not KUBECONFIG nor ~/.kube/config
    #[arg(long, global = true, value_name = "PATH", help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig, not its current one
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// Give up on a request after this long, such as 10s; 0 waits for ever. The watch itself has no end.
    /// Without it, a server that does not answer at the start is given up after 5 s
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, help_heading = "Cluster")]
    pub(crate) request_timeout: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct WatchArgs {
    /// A resource type as kubectl takes it: blogs, blog, bl, Blog, blogs.web.helloworld, blogs.v1.web.helloworld,
    /// or one object: blog/NAME
    #[arg(value_name = "RESOURCE[/NAME]")]
    pub(crate) resource: String,
    /// Only the object of this name
    pub(crate) name: Option<String>,
    /// The namespace (default: the variable NAMESPACE, then the context's, then `default`)
    #[arg(short, long, value_parser = namespace)]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only objects whose labels match, such as app=blog,tier!=test or 'app in (a, b)'
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = label_selector)]
    pub(crate) selector: Option<String>,
    /// Only objects whose fields match, such as metadata.name=blog-sample
    #[arg(long, value_name = "FIELDS", value_parser = field_selector)]
    pub(crate) field_selector: Option<String>,
    /// Also print the names in the cache, each time this long has passed, such as 5s; 0 never does
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) every: Option<Duration>,
    /// Answer /healthz, /readyz and /metrics there by plain HTTP, such as 0.0.0.0:8080; ready is while the cache
    /// is complete and not stale
    #[arg(long, value_name = "ADDR")]
    pub(crate) health_addr: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What is printed of each change.
#[derive(Args, Clone, Copy)]
pub(crate) struct OutputArgs {
    /// table: one line a change; wide: with all of the type's columns; json: one object a line; yaml: one document a change
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    pub(crate) format: Format,
    /// No line of column names
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// Only changes, not the objects that are there at the start
    #[arg(long)]
    pub(crate) watch_only: bool,
}

#[cfg(feature = "server")]
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// The port on 127.0.0.1 (default: a free one)
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Where to write the kubeconfig (default: a temporary file, whose path is printed)
    #[arg(long, value_name = "PATH")]
    pub(crate) kubeconfig_out: Option<PathBuf>,
    /// Do not create the blog `blog-sample`
    #[arg(long)]
    pub(crate) empty: bool,
    /// Print the names in the cache each time this long has passed; 0 never does
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    pub(crate) every: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[cfg(feature = "server")]
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Keep everything in this folder, which is made if it is not there (default: in memory, gone at the end)
    #[arg(long, value_name = "PATH")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The port on 127.0.0.1; 0: a free one
    #[arg(long, default_value_t = 6443)]
    pub(crate) port: u16,
    /// Let administrators inject faults over HTTP, below /kube-embedded/faults
    #[arg(long)]
    pub(crate) faults: bool,
    /// Where to write the kubeconfig (default: `kubeconfig` in the data folder, or a temporary file, whose path is printed)
    #[arg(long, value_name = "PATH")]
    pub(crate) kubeconfig_out: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum CrdCommand {
    /// Print it as YAML
    Print,
    /// Apply it to the cluster (server-side) and wait until it is established
    Install {
        /// Take over fields that others manage
        #[arg(long)]
        force_conflicts: bool,
    },
    /// Compare the cluster's with ours: exit code 1 and a diff where they differ
    Check,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Wide,
    Name,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Answers what clap did not accept: help and version as they are, wrong usage in one line and with exit code 2.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe is no failure.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            // The first paragraph is the error; the others repeat the usage.
            let text = error.to_string();
            let said: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            let said = said.join(" ");
            let suggested =
                [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
            let suggested: Vec<String> =
                suggested.into_iter().filter_map(|kind| error.get(kind)).map(ToString::to_string).collect();
            let hint = if suggested.is_empty() {
                String::new()
            } else {
                format!("; did you mean {}?", suggested.join(" or "))
            };
            wrong_usage(&format!("{}{hint}", said.strip_prefix("error: ").unwrap_or(&said)))
        }
    }
}

/// Says what is wrong with the command line, in one line; exit code 2.
pub(crate) fn wrong_usage(problem: &str) -> ExitCode {
    say(&format!("error: {problem}; see `crdctl --help`"));
    ExitCode::from(2)
}

/// `5s`, `1m30s`, `500ms` as Go and kubectl write them; a bare number is seconds, as for kubectl's `--request-timeout`.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let wrong = || format!("`{text}` is not a duration such as 500ms, 5s or 1m30s");
    let signed = SignedDuration::from_str(text).map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// A namespace's name, an RFC 1123 label; empty is as none.
fn namespace(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c != Some('-');
    if text.len() <= 63
        && text.chars().all(good)
        && edge(text.chars().next())
        && edge(text.chars().next_back())
    {
        Ok(text.to_owned())
    } else {
        Err("a namespace has at most 63 lower case letters, digits and `-`, and no `-` at its ends".into())
    }
}

fn label_selector(text: &str) -> Result<String, String> {
    kube_selectors::LabelSelector::parse(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn field_selector(text: &str) -> Result<String, String> {
    kube_selectors::FieldSelector::parse(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn namespaces_are_names() {
        for good in ["", "default", "a", "kube-system", "0-1"] {
            assert!(namespace(good).is_ok(), "{good}");
        }
        for bad in ["a/b", "../x", "a b", "A", "-a", "a-", "ä", &"a".repeat(64)] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_kubectl_reads_them() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for wrong in ["", "s", "-5s", "five", "5 parsecs"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
