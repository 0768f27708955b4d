#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod action;
mod apply;
mod backoff;
mod cache;
mod conditions;
mod context;
mod controller;
mod differences;
mod dry_run;
mod election;
mod events;
mod fence;
mod finalizer;
mod hot_loop;
pub mod inspect;
mod ledger;
mod lock;
mod metrics;
mod operator;
mod own_writes;
mod owners;
mod queue;
mod reason;
mod run;
mod server;
mod shards;
mod shutdown;
#[cfg(feature = "simulation")]
#[cfg_attr(docsrs, doc(cfg(feature = "simulation")))]
pub mod simulation;
mod source;
mod status;
mod view;
mod worker;

pub use action::Action;
pub use reason::{Reason, Subject, Trigger};
