//! The behaviour of the cluster and of what we build on it: one program, so that it links once; a module a topic.

mod apply;
mod auth;
mod builtins;
mod compaction;
mod crdctl;
mod crds;
mod create;
mod credentials;
mod delete;
mod demo;
mod deploy;
mod discovery;
mod informer;
mod kubectl;
mod lists;
mod namespaces;
mod patches;
mod serve;
mod subresources;
mod supervision;
mod tables;
mod update;
mod validation;
mod versions;
mod watches;
mod widgets;
