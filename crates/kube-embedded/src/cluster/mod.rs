//! The state of a server and the operations on its objects. Does not depend on HTTP, and is the only caller of the
//! store's write methods.
//!
//! A client's write goes through the steps of [`write`]. Every write, including those of the server's controllers, goes
//! through [`commit`], which runs the hooks.

mod admission;
mod admission_request;
mod admission_rule;
mod aggregation;
mod authentication;
mod bootstrap;
#[cfg(feature = "listen")]
mod certificates;
mod commit;
mod converter;
mod cover;
mod criteria;
mod definitions;
mod delete;
mod deletion;
mod derived;
mod escalation;
#[cfg(feature = "cel")]
mod expressions;
mod impersonation;
mod matching;
mod options;
mod patched;
mod plugins;
mod pods;
#[cfg(feature = "cel")]
mod policies;
#[cfg(not(feature = "cel"))]
#[path = "without_policies.rs"]
mod policies;
mod rbac;
mod request_info;
#[cfg(feature = "cel")]
mod request_variables;
mod rule;
mod selection;
mod service_account;
mod services;
mod signing;
mod state;
mod target;
mod token_request;
#[cfg(feature = "listen")]
mod trust;
#[cfg(feature = "listen")]
mod trusted;
mod webhooks;
mod work;
mod write;

pub(crate) use self::admission_request::{AdmissionRequest, Operation, RequestOptions};
pub(crate) use self::aggregation::{ApiService, Discovered, Document, OWN_GROUP, Registered, Remote};
#[cfg(feature = "listen")]
pub(crate) use self::certificates::{certificate_holder, hold_certificate};
pub(crate) use self::commit::{API_SERVER, CONTROLLER_MANAGER};
pub(crate) use self::converter::Converter;
pub(crate) use self::delete::Deleted;
pub(crate) use self::deletion::{DeleteOptions, FOREGROUND, ORPHAN, Propagation, orphans_by_default};
pub(crate) use self::impersonation::Impersonation;
pub(crate) use self::options::{Options, ServiceRange};
pub(crate) use self::plugins::{protection, uses};
pub(crate) use self::rbac::refusal;
pub(crate) use self::request_info::RequestInfo;
pub(crate) use self::rule::Attributes;
pub(crate) use self::selection::Selection;
pub(crate) use self::signing::PublicKey;
#[cfg(feature = "listen")]
pub(crate) use self::signing::SigningKey;
pub(crate) use self::state::Cluster;
pub(crate) use self::target::Target;
#[cfg(feature = "listen")]
pub(crate) use self::trusted::Trusted;
pub(crate) use self::webhooks::Conversions;
pub(crate) use self::work::{Gone, Work};
pub(crate) use self::write::{Write, WriteMethod, Written, check_type, set_namespace};
