//! The `matchConditions` of a webhook: `matchconditions` of apiserver.

use std::sync::OnceLock;

use k8s_cel::{COST_LIMIT, Declaration, Environment, Origin, Program};
use kube_validation::go::aggregate;
use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::expressions::{Inputs, MINOR, request, requested};
use super::super::state::Cluster;
use crate::resource::Resource;

/// What all conditions of a webhook may cost.
const BUDGET: u64 = 2_500_000;

/// The conditions of a webhook, compiled when they are first needed.
#[derive(Debug)]
pub(super) struct Conditions {
    expressions: Vec<String>,
    compiled: OnceLock<Vec<Result<Program, String>>>,
}

impl Conditions {
    pub(super) fn new(conditions: &Value) -> Self {
        let all = conditions.as_array().into_iter().flatten();
        let expressions = all.filter_map(|condition| condition["expression"].as_str().map(str::to_owned));
        Self { expressions: expressions.collect(), compiled: OnceLock::new() }
    }

    /// Whether there are none.
    pub(super) fn are_empty(&self) -> bool {
        self.expressions.is_empty()
    }

    /// Whether the webhook is called for a request whose objects are given in the matched version.
    ///
    /// # Errors
    /// Fails if no condition is false, but some have no value, with their errors.
    pub(super) fn hold(
        &self,
        cluster: &Cluster,
        admission: &AdmissionRequest<'_>,
        matched: &Resource,
        object: &Value,
        old_object: &Value,
    ) -> Result<bool, String> {
        let request = request(admission, matched);
        let inputs = Inputs {
            object,
            old_object,
            request: &request,
            authorizer: cluster.caller(admission.user),
            resource: requested(admission),
        };
        let dynamic = Declaration::dynamic();
        let variables = inputs.variables(&dynamic);
        let mut errors = Vec::new();
        let mut left = BUDGET;
        for (text, program) in self.expressions.iter().zip(self.compiled()) {
            let failed =
                |why: &dyn std::fmt::Display| format!("expression '{text}' resulted in error: {why}");
            let program = match program {
                Ok(program) => program,
                Err(error) => {
                    errors.push(failed(error));
                    continue;
                }
            };
            let evaluation = program.evaluate(&variables, COST_LIMIT.min(left));
            left = left.saturating_sub(evaluation.cost);
            match evaluation.result {
                Ok(value) if value.as_bool() == Some(false) => return Ok(false),
                Ok(_) => {}
                Err(_) if left == 0 => {
                    return Err(
                        "validation failed due to running out of cost budget, no further validation rules will be run"
                            .to_owned(),
                    );
                }
                Err(error) => errors.push(failed(&error)),
            }
        }
        if errors.is_empty() { Ok(true) } else { Err(aggregate(&errors)) }
    }

    fn compiled(&self) -> &[Result<Program, String>] {
        self.compiled.get_or_init(|| {
            let environment = Environment::policy(MINOR, Origin::Stored).with_authorizer();
            let compile =
                |text: &String| Program::compile(text, &environment).map_err(|error| error.to_string());
            self.expressions.iter().map(compile).collect()
        })
    }
}
