//! The plugin PodSecurity: what Pods may do that reaches out of their containers, by the labels of their namespace.

mod admission;
mod checks;
mod policy;
