//! Admission webhooks: `k8s.io/apiserver/pkg/admission/plugin/webhook`.

mod answer;
#[cfg(feature = "cel")]
mod conditions;
#[cfg(not(feature = "cel"))]
#[path = "without_conditions.rs"]
mod conditions;
mod configuration;
mod dispatch;
mod rules;
mod service;

pub(super) use self::configuration::Webhooks;
pub(super) use self::dispatch::Mutations;
