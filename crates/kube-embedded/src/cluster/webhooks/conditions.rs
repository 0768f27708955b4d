//! The `matchConditions` of a webhook: `matchconditions` of apiserver.

use std::sync::OnceLock;

use k8s_cel::{Declaration, Environment, Origin, Program};
use serde_json::Value;

use super::super::expressions::{Inputs, all_hold};
use crate::strategy::expression::MINOR;

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

    /// Whether they hold for a request.
    ///
    /// # Errors
    /// Fails if no condition is false, but some have no value, with their errors.
    pub(super) fn hold(&self, inputs: &Inputs<'_>) -> Result<bool, String> {
        let dynamic = Declaration::dynamic();
        let variables = inputs.variables(&dynamic);
        let conditions = self.expressions.iter().map(String::as_str).zip(self.compiled());
        all_hold(conditions, |program, limit| program.evaluate(&variables, limit))
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
