//! The server as a program uses it. What kube-apiserver does too is tested on both, by the workspace's `e2e` suite.

mod admission_plugins;
mod clock;
#[cfg(all(feature = "disk", feature = "listen"))]
mod data_dir;
#[cfg(all(feature = "disk", feature = "listen"))]
mod endpoint;
#[cfg(feature = "listen")]
mod faults;
#[cfg(feature = "listen")]
mod faults_over_http;
mod garbage;
mod holds;
mod hostile;
mod kubelet;
#[cfg(feature = "streams")]
mod kubelet_protocols;
#[cfg(feature = "listen")]
mod options;
mod protobuf;
mod repeatable;
mod server;
mod support;
mod watches;
