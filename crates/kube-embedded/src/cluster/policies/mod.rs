//! ValidatingAdmissionPolicies and MutatingAdmissionPolicies: `k8s.io/apiserver/pkg/admission/plugin/policy`.

mod compiled;
mod configured;
mod enforce;
mod invocations;
mod mutate;
mod mutator;
mod params;
mod type_check;
mod validator;

pub(super) use self::configured::Policies;
pub(super) use self::mutate::Mutations;
