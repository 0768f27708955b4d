//! Tests of a cluster's behaviour, and of the programs and libraries that we build on it. They are one program, so that it
//! is linked only once, with a module per topic.

mod apply;
mod auth;
mod blame;
mod builtins;
mod clients;
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
mod leaders;
mod lists;
mod model;
mod namespaces;
mod operator;
mod owners;
mod patches;
mod runner;
mod serve;
mod subresources;
mod supervision;
mod tables;
mod update;
mod validation;
mod versions;
mod wait;
mod watches;
mod watching;
mod widgets;
