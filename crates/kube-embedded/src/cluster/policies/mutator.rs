//! How a MutatingAdmissionPolicy changes an object: apiserver's `pkg/admission/plugin/policy/mutating/patch`.

use k8s_cel::{Declaration, Environment, Origin};
use kube_patch::{ObjectType, PatchError};
use serde_json::Value;

use super::super::expressions::{Inputs, OUT_OF_BUDGET};
use super::compiled::{BUDGET, Compiled, Evaluator, Expression, environment, items};
use crate::strategy::expression::MINOR;

/// The expressions of a policy.
#[derive(Debug)]
pub(super) struct Mutator {
    compiled: Compiled,
    pub(super) mutations: Vec<Mutation>,
}

/// One change of an object.
#[derive(Debug)]
pub(super) struct Mutation {
    pub(super) patch_type: PatchType,
    expression: Expression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchType {
    ApplyConfiguration,
    JsonPatch,
}

impl Evaluator for Mutator {
    const TYPES_PARAMS: bool = false;

    fn compile(spec: &Value) -> Self {
        let compiled = Compiled::new(spec);
        let base = environment(Environment::mutating_policy(MINOR, Origin::Stored), spec).with_authorizer();
        let environment = compiled.with_variables(base);
        let mutations = items(&spec["mutations"]).iter().map(|mutation| {
            let (patch_type, field) = match mutation["patchType"] == "JSONPatch" {
                true => (PatchType::JsonPatch, "jsonPatch"),
                false => (PatchType::ApplyConfiguration, "applyConfiguration"),
            };
            let expression = Expression::compile(&mutation[field]["expression"], &environment);
            Mutation { patch_type, expression }
        });
        Self { mutations: mutations.collect(), compiled }
    }
}

impl Mutator {
    /// Whether the policy is about a request.
    ///
    /// # Errors
    /// Fails if that cannot be said.
    pub(super) fn matches(&self, inputs: &Inputs<'_>) -> Result<bool, String> {
        self.compiled.matches(inputs)
    }

    /// The object of a request after a mutation, not normalized. `kind` is its type, or what it is called if it has none.
    ///
    /// # Errors
    /// Fails if the expression has no value, or one that does not fit the object.
    pub(super) fn mutated(
        &self,
        mutation: &Mutation,
        inputs: &Inputs<'_>,
        kind: Result<ObjectType<'_>, String>,
    ) -> Result<Value, String> {
        let dynamic = Declaration::dynamic();
        // Each mutation sees what the former ones have made, also by its variables.
        let mut variables = self.compiled.variables(inputs, &dynamic, true);
        let mut left = BUDGET;
        let evaluation = mutation.expression.evaluate(&mut variables, &mut left);
        let value = evaluation.ok_or(OUT_OF_BUDGET)??.result.map_err(|error| error.to_string())?;
        let object = inputs.object;
        match mutation.patch_type {
            PatchType::ApplyConfiguration => {
                let mut configuration = value.to_apply_configuration().map_err(|error| error.to_string())?;
                for field in ["apiVersion", "kind"] {
                    configuration[field] = object[field].clone();
                }
                let merged = kind.map_err(|unknown| {
                    format!(
                        "failed to convert patch object to typed object: no corresponding type for {unknown}"
                    )
                });
                let merged = merged.and_then(|kind| {
                    kube_patch::merge_configuration(kind, object, &configuration)
                        .map_err(|error| error.to_string())
                });
                merged.map_err(|why| format!("error applying patch: {why}"))
            }
            PatchType::JsonPatch => {
                let patch = value.to_json_patch().map_err(|error| error.to_string())?;
                match kube_patch::json_patch(object, &Value::Array(patch)) {
                    Ok(patched) => Ok(patched),
                    Err(PatchError::TestFailed(_)) => Ok(object.clone()),
                    Err(PatchError::Inapplicable(why)) => Err(format!("JSON Patch: {why}")),
                    Err(other) => Err(format!("JSON Patch: {other}")),
                }
            }
        }
    }
}
