//! End-to-end tests: each takes a [`Cluster`] and does not know which.
//!
//! The embedded server is always there. A real control plane (etcd and kube-apiserver, started by the tests and ended
//! with them) joins in when `KUBEBUILDER_ASSETS` names its folder, as for envtest: it is the referee, and where the two
//! differ the embedded server is wrong. `cargo xtask e2e` has it be a kind cluster instead, or another that is there.
//! [`on_each_cluster!`] makes two tests of an `async fn`, `embedded` and `real`.
//!
//! ```sh
//! cargo test -p e2e                                       # the embedded server
//! KUBEBUILDER_ASSETS=/path/to/programs cargo test -p e2e  # and kube-apiserver with etcd
//! cargo test -p e2e -- watches::                          # one topic, see tests/suite
//! cargo test -p e2e -- ::real                             # the real one alone
//! ```
//!
//! What a test needs and a provider lacks is printed as skipped, by name, and with the reason: [`Need`] lists it.

mod clients;
mod cluster;
#[cfg(feature = "containers")]
pub mod containers;
pub mod crdctl;
mod embedded;
mod envtest;
mod eventually;
pub mod existing;
mod given;
mod go;
pub mod group;
pub mod http;
mod need;
mod owner;
pub mod program;
mod programs;
mod relay;
mod runner;
mod supervisor;

pub use cluster::{Cluster, Provider};
pub use eventually::eventually;
pub use given::{Handed, Identity};
pub use need::{Need, Skipped};
pub use owner::Owner;
pub use relay::Relay;
pub use runner::run;
