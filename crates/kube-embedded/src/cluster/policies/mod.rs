//! ValidatingAdmissionPolicies: `k8s.io/apiserver/pkg/admission/plugin/policy/validating`.

mod compiled;
mod configured;
mod enforce;
mod params;

pub(super) use self::configured::Policies;
