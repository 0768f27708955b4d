//! What can be completed: resource types, names and namespaces from the cluster; contexts, clusters and users from the
//! kubeconfig. The rest of the command line says which cluster and which type.

use std::{
    ffi::{OsStr, OsString},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use clap::{ArgMatches, FromArgMatches as _};
use clap_complete::{CompletionCandidate, engine::ArgValueCompleter};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::ListParams, core::DynamicObject};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::{
    cli::{Cluster, Format},
    config,
    connection::Connection,
    resource::{Discovered, ResourceType},
};

/// How long the cluster may take for all requests of a completion, including a credential plugin.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// How many objects are listed at once. When the time is over, those that were listed by then are offered.
const PAGE: u32 = 500;

/// Makes the arguments of a command line offer their values.
pub(super) fn offer(mut command: clap::Command, words: &[OsString]) -> clap::Command {
    let line = Arc::new(Line::read(command.clone(), words));
    // Gives the global options to each command.
    command.build();
    offer_in(command, &line)
}

fn offer_in(command: clap::Command, line: &Arc<Line>) -> clap::Command {
    let with_values = |arg: clap::Arg| match Values::of(arg.get_id().as_str()) {
        None => arg,
        Some(Values::Formats) if !arg.get_possible_values().is_empty() => arg,
        Some(values) => {
            let line = line.clone();
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| values.candidates(&line, typed)))
        }
    };
    command.mut_args(with_values).mut_subcommands(|below| offer_in(below, line))
}

/// The values of an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Contexts,
    Clusters,
    Users,
    Namespaces,
    /// Types, objects as TYPE/NAME, or names of the type that an earlier argument is.
    Resources,
    /// Formats, some of which take a value.
    Formats,
}

/// A value, and a description of it.
type Value = (String, Option<String>);

impl Values {
    /// Returns the values of the argument with this id, in any command.
    fn of(id: &str) -> Option<Self> {
        Some(match id {
            "context" | "contexts" => Self::Contexts,
            "cluster" => Self::Clusters,
            "user" => Self::Users,
            "namespace" => Self::Namespaces,
            "resources" | "object" | "objects" => Self::Resources,
            "format" => Self::Formats,
            _ => return None,
        })
    }

    /// Returns the values that continue what was typed.
    fn candidates(self, line: &Line, typed: &OsStr) -> Vec<CompletionCandidate> {
        let Some(typed) = typed.to_str() else { return Vec::new() };
        // Of a list, the last item is completed.
        let is_list = matches!(self, Self::Contexts | Self::Resources);
        let last = if is_list { typed.rfind(',').map_or(0, |comma| comma + 1) } else { 0 };
        let kind = line.type_of_names(typed);
        let (before, typed) = typed.split_at(last);
        let mut values = self.all(line, typed, kind).unwrap_or_default();
        values.retain(|(value, _)| value.starts_with(typed) && is_plain(value));
        values.sort();
        let candidate = |(value, help): Value| {
            CompletionCandidate::new(format!("{before}{value}")).help(help.map(Into::into))
        };
        values.into_iter().map(candidate).collect()
    }

    fn all(self, line: &Line, typed: &str, kind: Option<&str>) -> Result<Vec<Value>> {
        let plain = |names: Vec<String>| names.into_iter().map(|name| (name, None)).collect();
        let entries = || config::options(&line.cluster).entries();
        Ok(match (self, typed.split_once('/'), kind) {
            (Self::Contexts, ..) => plain(entries()?.contexts.into_iter().map(|entry| entry.name).collect()),
            (Self::Clusters, ..) => plain(entries()?.clusters),
            (Self::Users, ..) => plain(entries()?.users),
            (Self::Formats, ..) => plain(Format::NAMES.map(str::to_owned).to_vec()),
            (Self::Namespaces, ..) => plain(ask(line, async |asked| asked.namespaces().await)?),
            (Self::Resources, _, Some(kind)) => {
                plain(ask(line, async |asked| asked.names(line, kind).await)?)
            }
            (Self::Resources, None, None) => ask(line, async |asked| asked.types(typed.contains('.')).await)?,
            (Self::Resources, Some((kind, _)), None) => {
                let names = ask(line, async |asked| asked.names(line, kind).await)?;
                plain(names.into_iter().map(|name| format!("{kind}/{name}")).collect())
            }
        })
    }
}

/// Whether every shell takes the word as it is. Others would have to be quoted, by the rules of each shell; and a name from
/// the cluster must not run a command.
fn is_plain(value: &str) -> bool {
    value.chars().all(|c| c.is_alphanumeric() || "-_./:@+%=".contains(c))
}

/// What a command line already says.
#[derive(Default)]
struct Line {
    cluster: Cluster,
    /// The resources and names, of which the last one may be what is being typed.
    resources: Vec<String>,
    all_namespaces: bool,
}

impl Line {
    /// Reads what can be read of a line that is not complete.
    fn read(command: clap::Command, words: &[OsString]) -> Self {
        let Ok(matches) = command.ignore_errors(true).try_get_matches_from(words) else {
            return Self::default();
        };
        let mut last = &matches;
        while let Some((_, below)) = last.subcommand() {
            last = below;
        }
        let texts = |id: &str| -> Option<Vec<String>> {
            Some(last.try_get_many::<String>(id).ok()??.cloned().collect())
        };
        let flag = |matches: &ArgMatches, id: &str| matches.try_get_one(id).ok().flatten().copied();
        Self {
            cluster: Cluster::from_arg_matches(last).unwrap_or_default(),
            resources: ["resources", "object", "objects"].into_iter().find_map(texts).unwrap_or_default(),
            all_namespaces: flag(last, "all_namespaces").unwrap_or(false),
        }
    }
}

impl Line {
    /// Returns the type whose objects are being named: `blogs` in `watch blogs NAME`.
    fn type_of_names(&self, typed: &str) -> Option<&str> {
        let earlier = match self.resources.split_last() {
            Some((last, earlier)) if last == typed => earlier,
            _ => &self.resources,
        };
        let first = earlier.first()?;
        if first.contains('/') { None } else { first.split(',').next() }
    }
}

/// The cluster that the line chooses, until a deadline.
struct Asked {
    client: Client,
    namespace: String,
    deadline: Instant,
}

/// Sends requests to the cluster of the line.
fn ask<T>(line: &Line, request: impl AsyncFnOnce(&Asked) -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let deadline = Instant::now() + LIMIT;
        let Connection { client, namespace, .. } = Connection::new(&line.cluster)?;
        timeout_at(deadline, request(&Asked { client, namespace, deadline })).await?
    });
    // Does not wait for blocking tasks, such as a DNS lookup.
    runtime.shutdown_background();
    answer
}

impl Asked {
    async fn discovered(&self) -> Result<Discovered> {
        let (core, groups) = tokio::try_join!(
            self.client.list_core_api_versions_aggregated(),
            self.client.list_api_groups_aggregated()
        )?;
        Ok(Discovered::new(core, groups))
    }

    async fn types(&self, qualified: bool) -> Result<Vec<Value>> {
        let discovered = self.discovered().await?;
        let value = |(name, found): (String, &ResourceType)| {
            (if qualified { found.qualified_plural() } else { name }, Some(found.summary()))
        };
        Ok(discovered.named().map(value).collect())
    }

    async fn names(&self, line: &Line, kind: &str) -> Result<Vec<String>> {
        let discovered = self.discovered().await?;
        let found = discovered.watchable(kind)?;
        let objects: Api<DynamicObject> = if found.namespaced && !line.all_namespaces {
            Api::namespaced_with(self.client.clone(), &self.namespace, &found.api)
        } else {
            Api::all_with(self.client.clone(), &found.api)
        };
        Ok(self.list(&objects).await)
    }

    async fn namespaces(&self) -> Result<Vec<String>> {
        Ok(self.list(&Api::<Namespace>::all(self.client.clone())).await)
    }

    /// Lists names until an error or the deadline.
    async fn list<K: Clone + DeserializeOwned + std::fmt::Debug>(&self, objects: &Api<K>) -> Vec<String> {
        let mut names = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        // Leaves time to print them.
        let deadline = self.deadline - Duration::from_millis(50);
        while let Ok(Ok(list)) = timeout_at(deadline, objects.list_metadata(&page)).await {
            names.extend(list.items.into_iter().filter_map(|object| object.metadata.name));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        names
    }
}
