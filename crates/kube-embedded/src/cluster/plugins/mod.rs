//! The admission plugins that are part of the server: which of them are on, and what each does to a write.
//!
//! Webhooks and policies are plugins, too. They are in modules of their own.

mod affinity;
mod certificates;
mod chain;
mod images;
mod ingress_class;
mod lifecycle;
mod limit_ranger;
mod namespaces;
mod newest;
mod nodes;
mod owner_references;
mod plugin;
mod pod_security;
mod priority;
mod resize;
mod resource_quota;
mod resources;
mod runtime_class;
mod service_account;
mod services;
mod storage;
mod tolerations;
mod usage;

pub(crate) use self::plugin::{Plugin, Plugins};
pub(crate) use self::storage::{protection, used_by, uses};
