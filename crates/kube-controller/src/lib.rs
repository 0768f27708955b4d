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
mod kind;
mod ledger;
mod lock;
mod metrics;
mod observer;
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
mod terminal;
mod view;
mod worker;
mod workers;

pub use action::Action;
pub use conditions::{ConditionStatus, Conditions};
pub use context::{Context, WriteError};
pub use controller::{Cleanup, Controller, ControllerBuilder, NoFinalizer, WithFinalizer};
pub use dry_run::WouldWrite;
pub use election::{Election, InvalidElection};
pub use events::EventType;
pub use fence::Fenced;
pub use kind::Kind;
pub use operator::Operator;
pub use owners::OwnerError;
pub use reason::{Reason, Subject, Trigger};
pub use run::Reconciler;
pub use shards::{InvalidShards, OwnedShard, RevokedShard, ShardEvent, ShardSet, Shards, ShardsEnded};
pub use shutdown::{Ended, RunError};
pub use status::StatusChanges;
pub use terminal::{Terminal, terminal};

/// The page for those who come from elsewhere; its examples are tested.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-kube-runtime-and-controller-runtime.md")]
mod coming_from {}
