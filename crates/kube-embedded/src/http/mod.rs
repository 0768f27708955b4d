//! HTTP: parses requests, passes them to the [`Cluster`](crate::cluster::Cluster), and renders the responses.
//!
//! Nothing here knows sockets or writes to the store. A request arrives with the [`User`](crate::user::User) who makes
//! it.

#[cfg(feature = "listen")]
mod authenticate;
mod body;
mod components;
mod connect;
mod containers;
mod control;
mod decode;
mod delete;
mod delete_options;
mod discovery;
pub mod faults;
mod faulty;
mod handler;
mod holds;
mod impersonate;
mod indent;
mod injection;
mod kubelet;
mod logs;
mod negotiate;
mod openapi;
mod patched;
#[cfg(feature = "streams")]
mod pipe;
mod pods;
mod proxy;
mod query;
mod read;
mod render;
mod request;
mod request_info;
mod review;
mod scale;
mod scope;
mod service;
#[cfg(feature = "streams")]
mod sessions;
#[cfg(not(feature = "streams"))]
#[path = "without_sessions.rs"]
mod sessions;
mod token;
#[cfg(feature = "streams")]
mod upgrade;
mod watch;
mod write;
mod yaml;

#[cfg(feature = "listen")]
pub(crate) use self::authenticate::authenticate;
pub use self::body::Body;
#[cfg(feature = "listen")]
pub(crate) use self::faulty::IsLost;
pub(crate) use self::handler::Handler;
#[cfg(feature = "listen")]
pub(crate) use self::indent::{is_for_human, shown};
pub(crate) use self::injection::Injections;
#[cfg(feature = "listen")]
pub(crate) use self::proxy::ClientAddress;
#[cfg(feature = "listen")]
pub(crate) use self::render::{Response, plain_text, status};
pub use self::service::Service;
#[cfg(all(feature = "listen", feature = "streams"))]
pub(crate) use self::upgrade::Session;
#[cfg(feature = "listen")]
pub(crate) use self::watch::IsWatch;
