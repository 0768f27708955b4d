//! Webhooks: those of admission, `k8s.io/apiserver/pkg/admission/plugin/webhook`, and those that convert custom resources.

mod answer;
mod client_config;
#[cfg(feature = "cel")]
mod conditions;
#[cfg(not(feature = "cel"))]
#[path = "without_conditions.rs"]
mod conditions;
mod configuration;
mod conversion;
mod dispatch;
#[cfg(feature = "cel")]
mod held;
#[cfg(not(feature = "cel"))]
#[path = "without_held.rs"]
mod held;
mod review;
mod service;

pub(super) use self::client_config::ClientConfig;
pub(super) use self::configuration::Webhooks;
pub(crate) use self::conversion::Conversions;
pub(super) use self::dispatch::Mutations;
pub(super) use self::service::SERVICE_NAME;
