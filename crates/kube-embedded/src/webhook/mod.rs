//! Calls other servers by HTTPS: sends a review to a webhook and reads its answer, or passes a request on. Knows no resource.
//!
//! The rules and the texts of errors are those of `k8s.io/apiserver/pkg/util/webhook` with client-go's REST client.

mod body;
#[cfg(feature = "webhooks")]
mod client;
mod location;
mod proxied;
#[cfg(feature = "webhooks")]
mod response;
#[cfg(feature = "webhooks")]
mod verify;
#[cfg(not(feature = "webhooks"))]
mod without;

pub(crate) use self::body::BoxBody;
#[cfg(feature = "webhooks")]
pub(crate) use self::client::{Client, Identity};
pub(crate) use self::location::{Failure, Location, NoAnswer};
pub(crate) use self::proxied::{Unnameable, set_user};
#[cfg(not(feature = "webhooks"))]
pub(crate) use self::without::{Client, Identity};
