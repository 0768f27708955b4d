//! What the expressions of a ValidatingAdmissionPolicy say about a request: the validator of apiserver.

use k8s_cel::{Declaration, Environment, Origin};
use serde_json::Value;

use super::super::expressions::{Inputs, OUT_OF_BUDGET};
use super::compiled::{BUDGET, Compiled, Evaluator, Expression, environment, items};
use crate::strategy::expression::MINOR;

/// How long the value of a `messageExpression` may be.
const MESSAGE_MAX: usize = 5 * 1024;

/// The expressions of a policy.
#[derive(Debug)]
pub(super) struct Validator {
    compiled: Compiled,
    validations: Vec<Validation>,
    annotations: Vec<Expression>,
}

#[derive(Debug)]
struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

/// Why a policy denies a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) message: String,
    /// Empty: the default.
    pub(super) reason: String,
    /// Whether the actions of the binding matter; else the request is denied.
    pub(super) by_action: bool,
}

impl Evaluator for Validator {
    const TYPES_PARAMS: bool = true;

    fn compile(spec: &Value) -> Self {
        let compiled = Compiled::new(spec);
        let plain = environment(Environment::policy(MINOR, Origin::Stored), spec);
        // Only messages are without the authorizer.
        let full = compiled.with_variables(plain.clone().with_authorizer());
        let plain = compiled.with_variables(plain);
        let validations = items(&spec["validations"]).iter().map(|validation| {
            let text = |field: &str| validation[field].as_str().unwrap_or_default().to_owned();
            let message_expression = &validation["messageExpression"];
            let has_expression = message_expression.as_str().is_some_and(|text| !text.is_empty());
            Validation {
                expression: Expression::compile(&validation["expression"], &full),
                message: text("message"),
                message_expression: has_expression.then(|| Expression::compile(message_expression, &plain)),
                reason: text("reason"),
            }
        });
        let annotations = items(&spec["auditAnnotations"]).iter();
        Self {
            validations: validations.collect(),
            annotations: annotations.map(|it| Expression::compile(&it["valueExpression"], &full)).collect(),
            compiled,
        }
    }
}

impl Validator {
    /// Why the policy denies a request: every validation that is not true, or has no value.
    pub(super) fn denials(&self, inputs: &Inputs<'_>, ignores_failures: bool) -> Vec<Denial> {
        let dynamic = Declaration::dynamic();
        let failure = |message: String| match ignores_failures {
            true => None,
            false => Some(Denial { message, reason: String::new(), by_action: true }),
        };
        match self.compiled.matches(inputs) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return failure(why).into_iter().collect(),
        }
        let mut left = BUDGET;
        let mut variables = self.compiled.variables(inputs, &dynamic, true);
        let mut results = Vec::new();
        for validation in &self.validations {
            match validation.expression.evaluate(&mut variables, &mut left) {
                Some(result) => {
                    results.push(result.map(|value| value.result.is_ok_and(|it| it.as_bool() == Some(true))));
                }
                None => return failure(OUT_OF_BUDGET.to_owned()).into_iter().collect(),
            }
        }
        let messages = self.messages(inputs, &dynamic, left);
        let mut denials = Vec::new();
        for (at, (validation, result)) in self.validations.iter().zip(results).enumerate() {
            match (result, &messages) {
                (Err(why), _) => denials.extend(failure(why)),
                (Ok(_), Err(why)) => denials.extend(failure(format!("failed messageExpression: {why}"))),
                (Ok(true), Ok(_)) => {}
                (Ok(false), Ok(messages)) => {
                    let message = messages.get(at).cloned().flatten();
                    denials.push(Denial {
                        message: message.unwrap_or_else(|| validation.own_message()),
                        reason: validation.reason.clone(),
                        by_action: true,
                    });
                }
            }
        }
        denials.extend(self.annotation_errors(inputs, &dynamic, &failure));
        denials
    }

    /// The messages that expressions give, by validation.
    ///
    /// # Errors
    /// Fails if they cost too much in all.
    fn messages(
        &self,
        inputs: &Inputs<'_>,
        dynamic: &Declaration,
        left: u64,
    ) -> Result<Vec<Option<String>>, String> {
        let mut left = left;
        let mut variables = self.compiled.variables(inputs, dynamic, false);
        let mut messages = Vec::new();
        for validation in &self.validations {
            let Some(expression) = &validation.message_expression else {
                messages.push(None);
                continue;
            };
            let result = expression.evaluate(&mut variables, &mut left).ok_or(OUT_OF_BUDGET)?;
            let value = result.ok().and_then(|value| Some(value.result.ok()?.as_str()?.trim().to_owned()));
            let is_fit =
                |text: &String| !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n');
            messages.push(value.filter(is_fit));
        }
        Ok(messages)
    }

    /// The denials because audit annotations have no value. The values themselves are not used: there is no audit.
    fn annotation_errors(
        &self,
        inputs: &Inputs<'_>,
        dynamic: &Declaration,
        failure: &dyn Fn(String) -> Option<Denial>,
    ) -> Vec<Denial> {
        let mut left = BUDGET;
        let mut variables = self.compiled.variables(inputs, dynamic, false);
        let mut denials = Vec::new();
        for annotation in &self.annotations {
            match annotation.evaluate(&mut variables, &mut left) {
                None => return failure(OUT_OF_BUDGET.to_owned()).into_iter().collect(),
                Some(Err(why)) => {
                    denials.extend(failure(why).map(|denial| Denial { by_action: false, ..denial }));
                }
                Some(Ok(value)) => {
                    let type_name = value.result.map(|value| value.type_name()).unwrap_or_default();
                    if !matches!(&*type_name, "string" | "null_type") {
                        let message = format!(
                            "valueExpression '{}' resulted in unsupported return type: {type_name}. Return type must be either \
                             string or null.",
                            annotation.text
                        );
                        denials.push(Denial { message, reason: String::new(), by_action: false });
                    }
                }
            }
        }
        denials
    }
}

impl Validation {
    /// The message without a `messageExpression`.
    fn own_message(&self) -> String {
        match self.message.trim() {
            "" => format!("failed expression: {}", self.expression.text.trim()),
            message => message.to_owned(),
        }
    }
}
