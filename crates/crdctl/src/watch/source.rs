//! What is watched.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use kube_informer::Informer;
use kube_tables::SortBy;

use crate::{
    output::{Output, Stored},
    resource::{Request, ResourceType},
};

/// What to watch, and how to print it.
pub(crate) struct Target {
    pub(crate) requests: Vec<Request>,
    pub(crate) all_namespaces: bool,
    pub(crate) labels: Option<String>,
    pub(crate) fields: Option<String>,
    /// Whether the Events about the objects are watched, too.
    pub(crate) events: bool,
    pub(crate) sort_by: Option<SortBy>,
    pub(crate) every: Option<Duration>,
    pub(crate) health: Option<SocketAddr>,
    pub(crate) output: Arc<Output>,
}

/// One watch.
pub(super) struct Source {
    /// The index of the connection.
    pub(super) connection: usize,
    /// The name of the context, if several are watched.
    pub(super) context: Option<String>,
    pub(super) resource: ResourceType,
    /// The name of the object, if it is a single one.
    pub(super) name: Option<String>,
    pub(super) informer: Informer<Stored>,
    pub(super) role: Role,
}

/// What a watch is for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Role {
    /// Its objects are printed by the printer with this index.
    Objects(usize),
    /// Its objects are the Events about the others.
    Events,
}
