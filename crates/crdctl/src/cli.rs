//! The command line, validated before anything is done.

mod examples;
mod offered;

#[cfg(feature = "server")]
use std::net::{IpAddr, Ipv4Addr};
use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode, str::FromStr, time::Duration};

use clap::{
    ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
    error::{ContextKind, ErrorKind},
};
use clap_complete::Shell;
use jiff::SignedDuration;
use kube_selectors::JsonPathTemplate;
use kube_tables::{CustomColumns, SortBy};

use crate::{diff::Pattern, program, stdio::say};

/// Watch Kubernetes resources through a cache, and manage the Blog CRD
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The format of the logs on stderr. The environment variable RUST_LOG filters them, such as RUST_LOG=debug; without
    /// it, `-v` does
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// How much to log on stderr, as for kubectl. 0 to 3: notices and warnings; 4 and 5: also decisions, lists and changes;
    /// 6 and 7: also each request with its status; from 8 on: also connections. No level logs a token. RUST_LOG takes
    /// precedence
    #[arg(
        short,
        long = "v",
        global = true,
        value_name = "LEVEL",
        default_value_t,
        allow_negative_numbers = true
    )]
    pub(crate) verbosity: i32,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print each object of a resource, then each change as it arrives
    Watch(WatchArgs),
    /// Start an embedded API server with the Blog CRD and a blog, and watch its blogs
    #[cfg(feature = "server")]
    Demo(DemoArgs),
    /// Start an embedded API server and run it until Ctrl-C; with --data-dir, its objects survive a restart
    #[cfg(feature = "server")]
    Serve(ServeArgs),
    /// Make a folder with `kube-apiserver` and `etcd` for test environments, such as envtest, and print it
    #[cfg(feature = "server")]
    Envtest(EnvtestArgs),
    /// Print, install or check the Blog CustomResourceDefinition, or validate any others in files
    Crd {
        #[command(subcommand)]
        command: CrdCommand,
    },
    /// Show how the cluster is chosen: files, context, server, user and namespace (never a secret)
    Config(ConfigArgs),
    /// Print the versions of this program and of the API server
    Version(VersionArgs),
    /// Show what an operator is doing: each object that runs or waits, why, and what failed
    Queue(QueueArgs),
    /// Print the script that makes a shell complete commands, resource types, names, namespaces and contexts
    Completion {
        /// The shell that loads the script
        shell: Shell,
    },
    /// Write the manual pages, one for each command
    #[command(hide = true)]
    Manual {
        /// An existing folder; files in it are overwritten
        folder: PathBuf,
    },
    /// Print an object as YAML, with the owners of each field and the age of their last change beside it
    Blame(BlameArgs),
    /// Wait until objects meet a condition, also if they do not exist yet
    Wait(WaitArgs),
}

/// The options that choose the cluster, how it is reached, and who asks: kubectl's flags of the same names. As for kubectl,
/// empty values count as unset.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Cluster {
    /// The kubeconfig file to use, instead of KUBECONFIG and ~/.kube/config
    #[arg(long, global = true, value_name = "PATH", value_parser = path())]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The kubeconfig context to use, instead of the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The namespace to look in (default: the environment variable NAMESPACE, then the context's, then `default`)
    #[arg(short, long, global = true, value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig cluster to use, instead of the context's
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// The kubeconfig user to use, instead of the context's
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The address of the API server, such as https://host:6443; no kubeconfig is needed then
    #[arg(short, long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A file with the certificate authority of the server
    #[arg(long, global = true, value_name = "PATH", value_parser = path())]
    pub(crate) certificate_authority: Option<PathBuf>,
    /// Do not check the server's certificate, which makes the connection insecure
    #[arg(long, global = true, value_name = "BOOL", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) insecure_skip_tls_verify: Option<bool>,
    /// The name to expect in the server's certificate, instead of the host's
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tls_server_name: Option<String>,
    /// The proxy to connect through: an http, https or socks5 URL
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) proxy_url: Option<String>,
    /// Ask the server not to compress its responses
    #[arg(long, global = true, value_name = "BOOL", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) disable_compression: Option<bool>,
    /// The bearer token to authenticate with; other users of this machine can see it in the list of processes
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// A file with the client certificate to authenticate with
    #[arg(long, global = true, value_name = "PATH", value_parser = path())]
    pub(crate) client_certificate: Option<PathBuf>,
    /// A file with the key of the client certificate
    #[arg(long, global = true, value_name = "PATH", value_parser = path())]
    pub(crate) client_key: Option<PathBuf>,
    /// The user to impersonate, such as jane or system:serviceaccount:NAMESPACE:NAME
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// A group to impersonate, together with --as; repeatable
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub(crate) impersonate_groups: Vec<String>,
    /// The UID to impersonate, together with --as
    #[arg(long = "as-uid", global = true, value_name = "UID")]
    pub(crate) impersonate_uid: Option<String>,
    /// An extra field of the user to impersonate, together with --as; repeatable
    #[arg(long = "as-user-extra", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) impersonate_user_extra: Vec<(String, String)>,
    /// How long to wait for a request before giving up, such as 10s; 0 waits forever. The watch itself never times out.
    /// By default, a server that does not answer at startup is given up after 5s. The time of an exec plugin does not count
    #[arg(long, global = true, value_name = "DURATION", value_parser = request_timeout)]
    pub(crate) request_timeout: Option<RequestTimeout>,
}

/// What is wrong with `-n` and `-A` together.
pub(crate) const ONE_OR_ALL: &str = "--namespace and --all-namespaces exclude each other";

impl Cluster {
    /// Whether a namespace was given.
    pub(crate) fn names_a_namespace(&self) -> bool {
        self.namespace.as_deref().is_some_and(|namespace| !namespace.is_empty())
    }
}

/// The value of `--request-timeout`; `None` if it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestTimeout(pub(crate) Option<Duration>);

#[derive(Args)]
pub(crate) struct WatchArgs {
    /// What to watch, as kubectl takes it: TYPE[,TYPE...], TYPE NAME..., or TYPE/NAME...
    ///
    /// A type is blogs, blog, bl, Blog, blogs.web.helloworld, blogs.v1.web.helloworld, or a category such as `all`
    #[arg(value_name = "RESOURCE", required = true)]
    pub(crate) resources: Vec<String>,
    /// Watch all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Watch only objects whose labels match, such as app=blog,tier!=test or 'app in (a, b)'
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = label_selector)]
    pub(crate) selector: Option<String>,
    /// Watch only objects whose fields match, such as metadata.name=blog-sample
    #[arg(long, value_name = "FIELDS", value_parser = field_selector)]
    pub(crate) field_selector: Option<String>,
    /// Also print the Events about the objects
    #[arg(long)]
    pub(crate) events: bool,
    /// Sort the objects of the first list by this field, such as .metadata.creationTimestamp
    #[arg(long, value_name = "JSONPATH", value_parser = sort_by)]
    pub(crate) sort_by: Option<SortBy>,
    /// Also print the names in the cache at this interval, such as 5s; 0 turns this off
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) every: Option<Duration>,
    /// Serve /healthz, /readyz and /metrics over plain HTTP at this address, such as 0.0.0.0:8080; /readyz succeeds
    /// while the cache is complete and not stale
    #[arg(long, value_name = "ADDR")]
    pub(crate) health_addr: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How changes are printed.
#[derive(Args, Clone)]
pub(crate) struct OutputArgs {
    /// table, wide, name, json, yaml, jsonpath=TEMPLATE, jsonpath-file=FILE, custom-columns=SPEC or
    /// custom-columns-file=FILE
    ///
    /// table: a line per change, with the columns that `kubectl get` shows; wide: with all columns; name: one name per line;
    /// json: one JSON object per line; yaml: one document per change; the others as kubectl has them
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table", value_parser = Format::parse)]
    pub(crate) format: Format,
    /// Print what changed: each field with its old and new value, or a unified diff of the YAML. auto: paths on a terminal
    #[arg(long, value_enum, value_name = "HOW", default_value_t, num_args = 0..=1, require_equals = true, default_missing_value = "paths")]
    pub(crate) diff: Diff,
    /// Leave out changes of this field and all below it, such as metadata.labels; changes of nothing
    /// else are not printed. Repeatable
    #[arg(long, value_name = "PATH", value_parser = Pattern::parse)]
    pub(crate) ignore: Vec<Pattern>,
    /// Print who made each change: the field manager, and the subresource
    #[arg(long)]
    pub(crate) by: bool,
    /// Print when each line was received; relative: since the start
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "local")]
    pub(crate) timestamps: Option<Timestamps>,
    /// Add a column with the value of each of these labels
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    pub(crate) label_columns: Vec<String>,
    /// Add a column with all labels
    #[arg(long)]
    pub(crate) show_labels: bool,
    /// Do not print the column names
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// Print only changes, not the objects that exist at the start
    #[arg(long)]
    pub(crate) watch_only: bool,
    /// Color the output. auto: on a terminal, unless NO_COLOR is set; CLICOLOR_FORCE colors a pipe, too
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: Color,
}

#[cfg(feature = "server")]
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// The port to listen on, on 127.0.0.1 (default: a free one)
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Where to write the kubeconfig (default: a temporary file); its path is printed
    #[arg(long, value_name = "PATH")]
    pub(crate) kubeconfig_out: Option<PathBuf>,
    /// Do not create the blog `blog-sample`
    #[arg(long)]
    pub(crate) empty: bool,
    /// Run the sample operator as well, which sets up a page for each blog, checks its address, and reports both
    #[arg(long)]
    pub(crate) operator: bool,
    /// Print the names in the cache at this interval; 0 turns this off
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5s")]
    pub(crate) every: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[cfg(feature = "server")]
#[derive(Args)]
pub(crate) struct EnvtestArgs {
    /// The folder, which is created if it does not exist (default: in the user's folder for data of programs)
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// Run the controllers of kube-controller-manager that the server has, such as the garbage collector. Without it there are
    /// none, as in envtest; KUBE_EMBEDDED_CONTROLLERS=1 runs them in any folder
    #[arg(long)]
    pub(crate) controllers: bool,
    /// What to print: the folder, or a line for a shell that sets KUBEBUILDER_ASSETS to it
    #[arg(short, long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) print: EnvtestOutput,
}

/// What `crdctl envtest` prints.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum EnvtestOutput {
    /// The folder
    #[default]
    Path,
    /// A line that sets KUBEBUILDER_ASSETS
    Env,
}

#[cfg(feature = "server")]
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Store everything in this folder, which is created if it does not exist (default: in memory, lost at exit)
    #[arg(long, value_name = "PATH")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The address to listen on; 0.0.0.0 for all, as in a container
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) bind_address: IpAddr,
    /// The port to listen on; 0 picks a free one
    #[arg(long, default_value_t = 6443)]
    pub(crate) port: u16,
    /// Names and addresses that the server's certificate is also valid for, in addition to localhost's
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) tls_san: Vec<String>,
    /// Let administrators inject faults over HTTP, at /kube-embedded/faults
    #[arg(long)]
    pub(crate) faults: bool,
    /// Let administrators say over HTTP what logs, exec, attach and port-forward answer, at /kube-embedded/kubelet
    #[arg(long)]
    pub(crate) kubelet: bool,
    /// Where to write the kubeconfig (default: `kubeconfig` in the data folder, or a temporary file); its path is printed. -
    /// is standard output
    #[arg(long, value_name = "PATH")]
    pub(crate) kubeconfig_out: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum CrdCommand {
    /// Print the CRD as YAML
    Print,
    /// Apply the CRD to the cluster (server-side apply) and wait until it is established
    Install {
        /// Take over fields that other field managers own
        #[arg(long)]
        force_conflicts: bool,
    },
    /// Compare the cluster's CRD with crdctl's; if they differ, print a diff and exit with code 1
    Check,
    /// Validate the CRDs in files as kube-apiserver would, without a cluster: names, schemas, defaults, CEL rules and what
    /// they may cost. Prints each error and warning, and exits with code 1 if there is an error
    #[cfg(feature = "server")]
    Validate {
        /// Files in YAML or JSON, with one or more documents; - is standard input. Objects of other kinds are skipped
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct BlameArgs {
    /// The object: TYPE/NAME or TYPE NAME
    #[arg(value_name = "RESOURCE", required = true)]
    pub(crate) object: Vec<String>,
    /// yaml: annotated YAML; json: one JSON object per field, with its path, value and managers
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: BlameFormat,
}

#[derive(Args)]
pub(crate) struct WaitArgs {
    /// The objects: blog/a pod/b, or blog a b; or a resource type with --selector, --field-selector or --all
    #[arg(required = true, value_name = "RESOURCE[/NAME]")]
    pub(crate) objects: Vec<String>,
    /// What to wait for: create, delete, condition=NAME[=STATUS] or jsonpath='{PATH}'[=VALUE]. If it is repeated, all
    /// have to hold at the same time
    #[arg(long = "for", value_name = "CONDITION", required = true)]
    pub(crate) all: Vec<String>,
    /// A condition that is enough instead of those of --for. Can be repeated
    #[arg(long, value_name = "CONDITION")]
    pub(crate) or: Vec<String>,
    /// A condition that ends the wait with exit code 1. Can be repeated
    #[arg(long, value_name = "CONDITION")]
    pub(crate) fail_on: Vec<String>,
    /// How long to wait, such as 5m; then the exit code is 124. 0 checks once, and a negative duration waits for a week
    #[arg(long, value_name = "DURATION", value_parser = wait_timeout, default_value = "30s", allow_hyphen_values = true)]
    pub(crate) timeout: Duration,
    /// Wait for the selected objects of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Wait for all objects whose labels match
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = label_selector)]
    pub(crate) selector: Option<String>,
    /// Wait for all objects whose fields match
    #[arg(long, value_name = "FIELDS", value_parser = field_selector)]
    pub(crate) field_selector: Option<String>,
    /// Wait for all objects of the type
    #[arg(long = "all")]
    pub(crate) every: bool,
    /// How to print an object that met its condition, instead of one line of text. name: its name; json: the object, in
    /// one line
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<WaitFormat>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum WaitFormat {
    Name,
    Json,
}

#[derive(Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ConfigCommand>,
    /// Print the same as data, with one more field: `defaultNamespace`, the namespace that commands use without -n
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<DataFormat>,
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// List the contexts of the kubeconfig files; the current one has a `*`
    GetContexts(GetContextsArgs),
    /// Print the name of the current context
    CurrentContext,
}

#[derive(Args)]
pub(crate) struct GetContextsArgs {
    /// List only the contexts of these names (default: all)
    #[arg(value_name = "NAME")]
    pub(crate) contexts: Vec<String>,
    /// name: one name per line; json, yaml: a list with all columns
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<ContextFormat>,
    /// Do not print the column names
    #[arg(long)]
    pub(crate) no_headers: bool,
}

#[derive(Args)]
pub(crate) struct QueueArgs {
    /// Where the operator serves, such as localhost:8080; it answers only its own machine, so in a cluster, use
    /// `kubectl port-forward`
    pub(crate) address: String,
    /// Print the queues as data
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<DataFormat>,
}

#[derive(Args)]
pub(crate) struct VersionArgs {
    /// Print only the version of this program, and ask no server
    #[arg(long)]
    pub(crate) client: bool,
    /// Print the versions as data
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<DataFormat>,
}

/// A format for data that is printed once.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataFormat {
    Json,
    Yaml,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContextFormat {
    Name,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum BlameFormat {
    #[default]
    Yaml,
    Json,
}

/// The value of `-o`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    Table,
    Wide,
    Name,
    Json,
    Yaml,
    JsonPath(JsonPathTemplate),
    CustomColumns(CustomColumns),
}

impl Format {
    /// The formats, for help and completion. Those that end with `=` take a value.
    pub(crate) const NAMES: [&str; 9] = [
        "table",
        "wide",
        "name",
        "json",
        "yaml",
        "jsonpath=",
        "jsonpath-file=",
        "custom-columns=",
        "custom-columns-file=",
    ];

    fn parse(text: &str) -> Result<Self, String> {
        let read =
            |path: &str| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
        let template =
            |text: &str| JsonPathTemplate::parse(text).map(Self::JsonPath).map_err(|error| error.to_string());
        match text.split_once('=') {
            None => Ok(match text {
                "table" => Self::Table,
                "wide" => Self::Wide,
                "name" => Self::Name,
                "json" => Self::Json,
                "yaml" => Self::Yaml,
                _ => return Err(format!("it is none of {}", Self::NAMES.join(", "))),
            }),
            Some(("jsonpath", text)) => template(text),
            Some(("jsonpath-file", path)) => template(&read(path)?),
            Some(("custom-columns", spec)) => {
                CustomColumns::parse(spec).map(Self::CustomColumns).map_err(|error| error.to_string())
            }
            Some(("custom-columns-file", path)) => CustomColumns::from_file_text(&read(path)?)
                .map(Self::CustomColumns)
                .map_err(|error| error.to_string()),
            Some(_) => Err(format!("it is none of {}", Self::NAMES.join(", "))),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Diff {
    #[default]
    Auto,
    None,
    Paths,
    Unified,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Timestamps {
    Local,
    Utc,
    Relative,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Returns the definition of the command line: with examples, under the name by which the program was called, and without
/// the options that a command ignores.
pub(crate) fn command() -> clap::Command {
    let command = last_counts(offered::hide_ignored(Cli::command()));
    program::renamed(examples::add(command))
}

/// Makes the last of several values of an option count, as for kubectl: an alias may have one already.
fn last_counts(command: clap::Command) -> clap::Command {
    let overridden = |arg: clap::Arg| {
        let is_single =
            !arg.is_positional() && matches!(arg.get_action(), ArgAction::Set | ArgAction::SetTrue);
        let id = arg.get_id().clone();
        if is_single { arg.overrides_with(id) } else { arg }
    };
    command.mut_args(overridden).mut_subcommands(last_counts)
}

/// Parses the arguments of this process.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    offered::refuse_ignored(&mut command, &matches)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Handles what clap does not return as a command: prints help and version as they are, and wrong usage in one line, with
/// exit code 2.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe is not a failure.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            // The first paragraph is the error; the rest repeats the usage.
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

/// Reports a problem with the command line in one line, and returns exit code 2.
pub(crate) fn wrong_usage(problem: &str) -> ExitCode {
    say(&program::named(&format!("error: {problem}; see `crdctl --help`")));
    ExitCode::from(2)
}

/// Parses durations such as `5s`, `1m30s` and `500ms`, as Go and kubectl write them. A bare number means seconds, as for
/// kubectl's `--request-timeout`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let wrong = || format!("`{text}` is not a duration such as 500ms, 5s or 1m30s");
    let signed = SignedDuration::from_str(text).map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// Parses the duration of `crdctl wait --timeout`. As in kubectl, a negative one stands for a week.
fn wait_timeout(text: &str) -> Result<Duration, String> {
    match text.strip_prefix('-') {
        Some(positive) => duration(positive).map(|_| Duration::from_hours(7 * 24)),
        None => duration(text),
    }
}

fn request_timeout(text: &str) -> Result<RequestTimeout, String> {
    let chosen = if text.is_empty() { None } else { Some(duration(text)?) };
    Ok(RequestTimeout(chosen))
}

/// Parses a truth value as kubectl does. Source: Go `strconv.ParseBool`.
pub(crate) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    }
}

/// Parses a path that may be empty, which clap's own parser refuses.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Parses `KEY=VALUE`. kubectl ignores a text without `=`, which would impersonate somebody else than was asked for.
fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses the name of a namespace, an RFC 1123 label. An empty name counts as none.
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
        Err("a namespace has at most 63 lower case letters, digits and `-`, and no `-` at the start or end"
            .into())
    }
}

fn label_selector(text: &str) -> Result<String, String> {
    kube_selectors::LabelSelector::parse(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn sort_by(text: &str) -> Result<SortBy, String> {
    SortBy::parse(text).map_err(|error| error.to_string())
}

fn field_selector(text: &str) -> Result<String, String> {
    kube_selectors::FieldSelector::parse(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_last_value_of_an_option_counts() {
        let parsed = |line: &str| {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            Cli::from_arg_matches(&matches).unwrap().cluster
        };
        let cluster = parsed(
            "crdctl --as a --insecure-skip-tls-verify=0 watch pods --as b --as-group x --as-group y --insecure-skip-tls-verify=T",
        );
        assert_eq!(cluster.impersonate.as_deref(), Some("b"));
        assert_eq!(cluster.impersonate_groups, ["x", "y"]);
        assert_eq!(cluster.insecure_skip_tls_verify, Some(true));
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

    #[test]
    fn kubectls_flags_are_known_anywhere_on_the_line() {
        let line = "crdctl --as boss watch -s https://c --as-group a --as-group=b --as-user-extra k=v=w pods -v=6 --token t \
                    --insecure-skip-tls-verify --disable-compression=false";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        assert_eq!(cli.verbosity, 6);
        let cluster = cli.cluster;
        assert_eq!(cluster.impersonate.as_deref(), Some("boss"));
        assert_eq!(cluster.impersonate_groups, ["a", "b"]);
        assert_eq!(cluster.impersonate_user_extra, [("k".to_owned(), "v=w".to_owned())]);
        assert_eq!(cluster.server.as_deref(), Some("https://c"));
        assert_eq!(cluster.insecure_skip_tls_verify, Some(true));
        assert_eq!(cluster.disable_compression, Some(false));
        for line in ["crdctl -v 6 config", "crdctl config --v=6", "crdctl config -v6"] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).unwrap().verbosity, 6, "{line}");
        }
    }

    #[test]
    fn empty_values_count_as_unset() {
        let line = [
            "crdctl",
            "config",
            "--kubeconfig",
            "",
            "--request-timeout",
            "",
            "--as=",
            "--certificate-authority=",
        ];
        let cluster = Cli::try_parse_from(line).unwrap().cluster;
        assert_eq!(cluster.request_timeout, Some(RequestTimeout(None)));
        assert_eq!(cluster.kubeconfig, Some(PathBuf::new()));
    }
}
