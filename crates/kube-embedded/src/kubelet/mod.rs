//! What kubelets would answer: logs of containers, processes in them, and ports of Pods.
//!
//! No container runs here. A test says what `pods/log`, `pods/exec`, `pods/attach` and `pods/portforward` answer for a Pod;
//! without that, they are answered with 501. All that kube-apiserver decides before it asks a kubelet is decided: who may
//! do it, what admission webhooks and policies say, and whether the Pod and the container exist. The Pod must be assigned to
//! a node, which need not exist.
//!
//! ```
//! use k8s_openapi::api::core::v1::Pod;
//! use kube::api::{Api, LogParams, PostParams};
//! use kube_embedded::Server;
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::start();
//! let pods: Api<Pod> = Api::default_namespaced(server.client());
//! let pod = serde_json::from_value(json!({
//!     "metadata": {"name": "web"},
//!     "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "app"}]},
//! }))?;
//! pods.create(&PostParams::default(), &pod).await?;
//!
//! let log = server.kubelet().pod("default", "web").log();
//! log.append("started\nready\n");
//! let last = LogParams { tail_lines: Some(1), ..LogParams::default() };
//! assert_eq!(pods.logs("web", &last).await?, "ready\n");
//! # Ok(())
//! # }
//! ```
//!
//! # From another process
//!
//! A server started with [`ServerBuilder::kubelet_over_http`](crate::ServerBuilder::kubelet_over_http) (`crdctl serve
//! --kubelet`) accepts the same as JSON from users in `system:masters`. `container` is optional everywhere:
//!
//! ```sh
//! kubelet=https://127.0.0.1:6443/kube-embedded/kubelet   # with the token and the authority of the kubeconfig
//! curl $kubelet -d '{"namespace": "default", "pod": "web", "log": {"lines": ["started", {"time": "2026-01-01T00:00:00Z", "text": "ready"}]}}'
//! curl $kubelet/0 -d '{"lines": ["stopping"], "ended": true}'    # more lines of this log, and its end
//! curl $kubelet -d '{"namespace": "default", "pod": "web", "log": {"previous": true, "lines": ["killed"]}}'
//! curl $kubelet -d '{"namespace": "default", "pod": "web", "exec": {"command": ["cat"], "stdin": "echo"}}'
//! curl $kubelet -d '{"namespace": "default", "pod": "web", "exec": {"stderr": "no such command\n", "exitCode": 127}}'
//! curl $kubelet -d '{"namespace": "default", "pod": "web", "attach": {"stdout": "hello\n", "stdin": "read"}}'
//! curl $kubelet -d '{"namespace": "default", "pod": "web", "portForward": {"port": 80, "address": "127.0.0.1:8080"}}'
//! curl $kubelet                      # {"items": [...]}, each with its id, and processes with their runs
//! curl $kubelet/3                    # one of them, and what was sent to the stdin of each run
//! curl -X DELETE $kubelet/3          # removes it
//! curl -X DELETE $kubelet            # removes all
//! ```

// `kubelet::Kubelet` is the state of the module `kubelet`.
#[allow(clippy::module_inception)]
mod kubelet;
mod log;
mod process;

pub(crate) use self::kubelet::{Content, What};
pub use self::kubelet::{Kubelet, PodContent};
pub use self::log::Log;
pub(crate) use self::log::{LogOptions, LogReader};
#[cfg(feature = "streams")]
pub(crate) use self::process::Recorder;
pub use self::process::{Process, Run, Runs, Stdin};
