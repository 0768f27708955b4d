//! API aggregation: kube-aggregator's APIServices, of which each says who serves a group version.
//!
//! Most of them are local: this server makes them for its own group versions. The others name a Service, to which requests are
//! passed on.

mod document;
mod local;
mod registered;

pub(crate) use self::document::Document;
pub(crate) use self::registered::{ApiService, ApiServices, Discovered, OWN_GROUP, Registered, Remote};
