//! Calls webhooks: sends a review to another server by HTTPS, and reads its answer. Knows no resource.
//!
//! The rules and the texts of errors are those of `k8s.io/apiserver/pkg/util/webhook` with client-go's REST client.

#[cfg(feature = "webhooks")]
mod client;
mod location;
#[cfg(feature = "webhooks")]
mod response;
#[cfg(feature = "webhooks")]
mod verify;
#[cfg(not(feature = "webhooks"))]
mod without;

#[cfg(feature = "webhooks")]
pub(crate) use self::client::Client;
pub(crate) use self::location::{Failure, Location};
#[cfg(not(feature = "webhooks"))]
pub(crate) use self::without::Client;
