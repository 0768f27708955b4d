//! `x-kubernetes-validations`: rules in CEL, compiled with the schema by the `k8s-cel` crate and evaluated for an object.

mod compile;
mod evaluate;

pub(crate) use self::compile::compile;
pub(crate) use self::evaluate::{validate, validate_default};
