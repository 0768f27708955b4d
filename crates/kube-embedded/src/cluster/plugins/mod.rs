//! The admission plugins that are part of the server: which of them are on, and what each does to a write.
//!
//! Webhooks and policies are plugins, too. They are in modules of their own.

mod chain;
mod lifecycle;
mod plugin;
mod priority;

pub(crate) use self::plugin::{Plugin, Plugins};
