//! The admission plugins that are part of the server: which of them are on, and what each does to a write.
//!
//! Webhooks and policies are plugins, too. They are in modules of their own.

mod chain;
mod lifecycle;
mod limit_ranger;
mod owner_references;
mod plugin;
mod pod_security;
mod priority;
mod resource_quota;
mod resources;
mod storage;
mod usage;

pub(crate) use self::plugin::{Plugin, Plugins};
pub(crate) use self::storage::{protection, used_by, uses};
