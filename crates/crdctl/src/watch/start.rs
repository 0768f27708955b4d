//! Starts the watches.

use anyhow::Result;
use futures_util::future::{join, join_all};
use kube_informer::Informers;

use super::source::{Role, Source, Target};
use crate::{
    connection::Connection,
    diff::{Guessed, MergeKeys},
    discovery, explain,
    health::Health,
    merge_keys::{self, SchemaKeys},
    output::{Output, Printer, Scope},
    resource::ResourceType,
    rows::{self, Collection, Form, Include, Rows},
};

/// The watches, with their first lists.
pub(super) struct Started {
    pub(super) scope: Scope,
    /// One for each type.
    pub(super) printers: Vec<Printer>,
    pub(super) sources: Vec<Source>,
}

/// A type that is watched in any of the clusters, and its columns.
struct Type {
    resource: ResourceType,
    rows: Rows,
}

/// A part of the request, resolved: the index of the connection, the type, and the name of the object if there is one.
type Wanted = (usize, ResourceType, Option<String>);

/// Starts the watches, and waits for their first lists.
pub(super) async fn start(
    connections: &[Connection],
    target: &Target,
    health: Option<&Health>,
) -> Result<Started> {
    let wanted = wanted(connections, target).await?;
    let types = types_of(&wanted);
    let scope =
        Scope { contexts: connections.len() > 1, namespaces: target.all_namespaces, types: types.len() > 1 };
    let collections = collections(&types, target);
    let client = |connection: &Connection| rows::client(&connection.client, collections.clone());
    let informers: Vec<Informers> =
        connections.iter().map(|connection| Informers::new(client(connection))).collect();
    let mut sources = Vec::new();
    for (place, resource, name) in wanted {
        let role = types.iter().position(|known| known.resource.api == resource.api).map(Role::Objects);
        let Some(role) = role else { continue };
        sources.push(source((place, resource, name), role, connections, &informers, target));
    }
    if target.events {
        for place in 0..connections.len() {
            let wanted = (place, ResourceType::events(), None);
            sources.push(source(wanted, Role::Events, connections, &informers, target));
        }
    }
    if let (Some(health), Some(informers)) = (health, informers.first()) {
        health.follow(informers, sources.iter().map(|source| source.informer.watch_status()).collect());
    }
    let first = connections.first().filter(|_| target.output.compares());
    let schemas = async {
        match first {
            Some(connection) => {
                merge_keys::of_all(connection, types.iter().map(|known| &known.resource)).await
            }
            None => types.iter().map(|_| None).collect(),
        }
    };
    let (sources, schemas) = join(first_lists(connections, sources), schemas).await;
    let printers =
        types.iter().zip(schemas).map(|(known, schema)| printer(known, schema, scope, &target.output));
    Ok(Started { scope, printers: printers.collect(), sources: sources? })
}

/// Looks up the types that are asked for, in each cluster.
async fn wanted(connections: &[Connection], target: &Target) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for (place, connection) in connections.iter().enumerate() {
        let discovered = discovery::discover(connection).await?;
        for request in &target.requests {
            for resource in discovered.all_watchable(&request.resource)? {
                wanted.push((place, resource.clone(), request.name.clone()));
            }
        }
    }
    Ok(wanted)
}

fn types_of(wanted: &[Wanted]) -> Vec<Type> {
    let mut types: Vec<Type> = Vec::new();
    for (_, resource, _) in wanted {
        if !types.iter().any(|known| known.resource.api == resource.api) {
            types.push(Type { resource: resource.clone(), rows: Rows::default() });
        }
    }
    types
}

/// Returns the collections that are asked for in another form than as objects.
fn collections(types: &[Type], target: &Target) -> Vec<Collection> {
    let whole = target.output.compares() || target.sort_by.is_some() || target.events;
    let include = if whole { Include::Object } else { Include::Metadata };
    let form = |rows: &Rows| {
        if target.output.has_rows() {
            Some(Form::Rows(rows.clone(), include))
        } else if target.output.has_names_only() && !whole {
            Some(Form::Metadata)
        } else {
            None
        }
    };
    let collection = |known: &Type| Some(Collection::new(&known.resource.api, form(&known.rows)?));
    types.iter().filter_map(collection).collect()
}

fn source(
    (place, resource, name): Wanted,
    role: Role,
    connections: &[Connection],
    informers: &[Informers],
    target: &Target,
) -> Source {
    let connection = &connections[place];
    let mut builder = informers[place].dynamic(&resource.api).compact();
    if resource.namespaced && !target.all_namespaces {
        builder = builder.namespace(&connection.namespace);
    }
    if role != Role::Events {
        if let Some(labels) = &target.labels {
            builder = builder.label_selector(labels);
        }
        if let Some(fields) = selected_fields(target.fields.as_deref(), name.as_deref()) {
            builder = builder.field_selector(&fields);
        }
        if target.output.needs_managed_fields() {
            builder = builder.keep_managed_fields();
        }
    }
    let context = connection.context.clone().filter(|_| connections.len() > 1);
    Source { connection: place, context, resource, name, informer: builder.start(), role }
}

fn printer(
    known: &Type,
    schema: Option<SchemaKeys>,
    scope: Scope,
    output: &std::sync::Arc<Output>,
) -> Printer {
    let keys: Box<dyn MergeKeys + Send + Sync> = match schema {
        Some(schema) => Box::new(schema),
        None => Box::new(Guessed),
    };
    Printer::new(output, &known.resource, scope, known.rows.clone(), keys)
}

/// Waits for the first list of each source. If there are several, those that fail are reported and left out.
async fn first_lists(connections: &[Connection], sources: Vec<Source>) -> Result<Vec<Source>> {
    let lists = sources.iter().map(|source| {
        let action = format!("watch {}", source.resource.qualified_plural());
        async move { connections[source.connection].first_list(&action, &source.informer).await }
    });
    let results = join_all(lists).await;
    let (mut complete, mut failed) = (Vec::new(), Vec::new());
    for (source, result) in sources.into_iter().zip(results) {
        match result {
            Ok(()) => complete.push(source),
            Err(error) => failed.push(error),
        }
    }
    if complete.iter().all(|source| source.role == Role::Events)
        && let Some(error) = failed.pop()
    {
        return Err(error);
    }
    failed.iter().for_each(explain::print);
    Ok(complete)
}

/// Returns the field selector that also selects the object by its name.
fn selected_fields(fields: Option<&str>, name: Option<&str>) -> Option<String> {
    let name = name.map(|name| format!("metadata.name={name}"));
    let all: Vec<&str> = fields.into_iter().chain(name.as_deref()).collect();
    (!all.is_empty()).then(|| all.join(","))
}
