//! The expressions of a policy, and what they say about a request: `compilePolicy` and the validator of apiserver.

use k8s_cel::{
    COST_LIMIT, CompileError, Declaration, Environment, Evaluation, Origin, PolicyVariables, Program,
};
use serde_json::Value;

use super::super::expressions::{Inputs, OUT_OF_BUDGET, all_hold, failed};
use crate::strategy::expression::MINOR;

/// What the validations of a policy may cost for one object and its parameters.
const BUDGET: u64 = 10_000_000;
/// How long the value of a `messageExpression` may be.
const MESSAGE_MAX: usize = 5 * 1024;

/// The expressions of a policy.
#[derive(Debug)]
pub(super) struct Compiled {
    variables: Vec<(String, Result<Program, CompileError>)>,
    conditions: Vec<Expression>,
    validations: Vec<Validation>,
    annotations: Vec<Expression>,
}

#[derive(Debug)]
struct Expression {
    text: String,
    program: Result<Program, String>,
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

impl Expression {
    fn compile(text: &Value, environment: &Environment) -> Self {
        let text = text.as_str().unwrap_or_default();
        let program = Program::compile(text, environment).map_err(|error| error.to_string());
        Self { text: text.to_owned(), program }
    }
}

impl Compiled {
    pub(super) fn new(spec: &Value) -> Self {
        let base = Environment::policy(MINOR, Origin::Stored).with_policy_variables();
        // Only messages are without it.
        let mut plain = if spec["paramKind"].is_object() { base.with_params() } else { base };
        let mut full = plain.clone().with_authorizer();
        let all = |field: &str| spec[field].as_array().map_or(&[][..], Vec::as_slice);
        let mut variables = Vec::new();
        for variable in all("variables") {
            let text = |field: &str| variable[field].as_str().unwrap_or_default();
            let program = Program::compile(text("expression"), &full);
            full = full.with_policy_variable(text("name"), program.as_ref());
            plain = plain.with_policy_variable(text("name"), program.as_ref());
            variables.push((text("name").to_owned(), program));
        }
        let compile = |text: &Value| Expression::compile(text, &full);
        let validations = all("validations").iter().map(|validation| {
            let text = |field: &str| validation[field].as_str().unwrap_or_default().to_owned();
            let message_expression = &validation["messageExpression"];
            let has_expression = message_expression.as_str().is_some_and(|text| !text.is_empty());
            Validation {
                expression: compile(&validation["expression"]),
                message: text("message"),
                message_expression: has_expression.then(|| Expression::compile(message_expression, &plain)),
                reason: text("reason"),
            }
        });
        Self {
            conditions: all("matchConditions").iter().map(|it| compile(&it["expression"])).collect(),
            validations: validations.collect(),
            annotations: all("auditAnnotations").iter().map(|it| compile(&it["valueExpression"])).collect(),
            variables,
        }
    }

    /// Why the policy denies a request: every validation that is not true, or has no value.
    pub(super) fn denials(&self, inputs: &Inputs<'_>, ignores_failures: bool) -> Vec<Denial> {
        let dynamic = Declaration::dynamic();
        let failure = |message: String| match ignores_failures {
            true => None,
            false => Some(Denial { message, reason: String::new(), by_action: true }),
        };
        let mut variables = self.variables(inputs, &dynamic, true);
        let conditions = self.conditions.iter().map(|it| (it.text.as_str(), &it.program));
        match all_hold(conditions, |program, limit| program.evaluate_policy(&mut variables, limit)) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return failure(why).into_iter().collect(),
        }
        let mut left = BUDGET;
        let mut variables = self.variables(inputs, &dynamic, true);
        let mut results = Vec::new();
        for validation in &self.validations {
            match evaluate(&validation.expression, &mut variables, &mut left) {
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
        let mut variables = self.variables(inputs, dynamic, false);
        let mut messages = Vec::new();
        for validation in &self.validations {
            let Some(expression) = &validation.message_expression else {
                messages.push(None);
                continue;
            };
            let result = evaluate(expression, &mut variables, &mut left).ok_or(OUT_OF_BUDGET)?;
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
        let mut variables = self.variables(inputs, dynamic, false);
        let mut denials = Vec::new();
        for annotation in &self.annotations {
            match evaluate(annotation, &mut variables, &mut left) {
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

    fn variables<'a>(
        &'a self,
        inputs: &'a Inputs<'_>,
        dynamic: &'a Declaration,
        with_authorizer: bool,
    ) -> PolicyVariables<'a> {
        let inputs = match with_authorizer {
            true => inputs.variables(dynamic),
            false => inputs.plain_variables(dynamic),
        };
        let variables = PolicyVariables::new(inputs);
        self.variables.iter().fold(variables, |all, (name, program)| all.with(name, program.as_ref()))
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

/// Evaluates an expression, and charges its cost. `None`: nothing is left to pay it.
fn evaluate<'a>(
    expression: &'a Expression,
    variables: &mut PolicyVariables<'a>,
    left: &mut u64,
) -> Option<Result<Evaluation<'a>, String>> {
    let program = match &expression.program {
        Ok(program) => program,
        Err(why) => return Some(Err(failed(&expression.text, why))),
    };
    let evaluation = program.evaluate_policy(variables, COST_LIMIT);
    *left = left.checked_sub(evaluation.cost)?;
    Some(match &evaluation.result {
        Ok(_) => Ok(evaluation),
        Err(error) => Err(failed(&expression.text, error)),
    })
}
