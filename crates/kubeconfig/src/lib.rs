#![doc = include_str!("../README.md")]

mod chosen;
mod client;
mod cluster;
mod compose;
mod entries;
mod environment;
mod error;
mod in_cluster;
mod merge;
mod model;
mod node;
mod options;
mod overrides;
mod pem;
mod proxy;
mod report;
mod resolve;
mod resolved;
mod scalar;
mod tls_error;
mod user;
mod yaml;

pub use client::exec::ExecError;
pub use client::{ExecPlugin, RedirectError};
pub use entries::{ContextEntry, Entries};
pub use environment::Environment;
pub use error::Error;
pub use options::Options;
pub use report::{AuthMethod, CertificateSource, FileReport, Located, Origin, Report};
pub use resolved::ResolvedConfig;
pub use tls_error::{TlsError, TlsProblem};
