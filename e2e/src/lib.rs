//! End-to-end tests: each takes a [`Cluster`], and works on any.
//!
//! The tests always run on the embedded server. If `KUBEBUILDER_ASSETS` names its folder, as for envtest, they also run on
//! a real control plane (etcd and kube-apiserver), which the tests start and stop. It is the reference: where the two
//! differ, the embedded server is wrong. `cargo xtask e2e` can use a kind cluster or an existing cluster instead.
//! [`on_each_cluster!`] makes two tests of an `async fn`, `embedded` and `real`.
//!
//! ```sh
//! cargo test -p e2e                                       # the embedded server
//! KUBEBUILDER_ASSETS=/path/to/programs cargo test -p e2e  # and kube-apiserver with etcd
//! cargo test -p e2e -- watches::                          # one topic, see tests/suite
//! cargo test -p e2e -- ::real                             # only the real one
//! ```
//!
//! A test that a provider cannot run is skipped, and its name and the reason are printed: see [`Need`].

pub mod cel;
mod clients;
mod cluster;
#[cfg(feature = "containers")]
pub mod containers;
pub mod crdctl;
mod embedded;
mod envtest;
mod eventually;
pub mod existing;
pub mod front_proxy;
mod given;
mod go;
pub mod group;
pub mod http;
pub mod logged;
mod need;
mod owner;
pub mod program;
mod programs;
mod relay;
mod runner;
mod supervisor;
pub mod terminal;
pub mod webhook;

pub use cluster::{Cluster, Provider};
pub use envtest::free_ports;
pub use eventually::eventually;
pub use given::{Handed, Identity, Images};
pub use need::{Need, Skipped};
pub use owner::Owner;
pub use relay::Relay;
pub use runner::run;
