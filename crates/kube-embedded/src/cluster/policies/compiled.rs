//! Expressions of a policy, and what all kinds of policies have: variables and match conditions. `compilePolicy` of apiserver.

use k8s_cel::{
    COST_LIMIT, CompileError, Declaration, Environment, Evaluation, Origin, PolicyVariables, Program,
};
use serde_json::Value;

use super::super::expressions::{Inputs, all_hold, failed};
use crate::strategy::expression::MINOR;

/// What the expressions of a policy may cost for one object and its parameters.
pub(super) const BUDGET: u64 = 10_000_000;

/// What a policy does with a request, compiled from its `spec`.
pub(super) trait Evaluator {
    /// Whether parameters of built-in kinds have their `apiVersion` and `kind`. kube-apiserver's cache leaves these out, and only
    /// validating policies put them back.
    const TYPES_PARAMS: bool;

    fn compile(spec: &Value) -> Self;
}

/// An expression that is about a request.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) text: String,
    program: Result<Program, String>,
}

/// A variable of a policy: its name and its program.
pub(super) type Variable = (String, Result<Program, CompileError>);

/// The variables and the match conditions of a policy.
#[derive(Debug)]
pub(super) struct Compiled {
    variables: Vec<Variable>,
    conditions: Vec<Expression>,
}

impl Expression {
    pub(super) fn compile(text: &Value, environment: &Environment) -> Self {
        let text = text.as_str().unwrap_or_default();
        let program = Program::compile(text, environment).map_err(|error| error.to_string());
        Self { text: text.to_owned(), program }
    }

    /// Evaluates the expression, and charges its cost. `None`: nothing is left to pay it.
    pub(super) fn evaluate<'a>(
        &'a self,
        variables: &mut PolicyVariables<'a>,
        left: &mut u64,
    ) -> Option<Result<Evaluation<'a>, String>> {
        let program = match &self.program {
            Ok(program) => program,
            Err(why) => return Some(Err(failed(&self.text, why))),
        };
        let evaluation = program.evaluate_policy(variables, COST_LIMIT);
        *left = left.checked_sub(evaluation.cost)?;
        Some(match &evaluation.result {
            Ok(_) => Ok(evaluation),
            Err(error) => Err(failed(&self.text, error)),
        })
    }
}

/// Declares the variables of a policy, each of which sees those before it. Returns their programs, too.
pub(super) fn declared(environment: Environment, spec: &Value) -> (Environment, Vec<Variable>) {
    let (mut environment, mut variables) = (environment, Vec::new());
    for variable in items(&spec["variables"]) {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        let program = Program::compile(text("expression"), &environment);
        environment = environment.with_policy_variable(text("name"), program.as_ref());
        variables.push((text("name").to_owned(), program));
    }
    (environment, variables)
}

impl Compiled {
    pub(super) fn new(spec: &Value) -> Self {
        let environment = environment(Environment::policy(MINOR, Origin::Stored), spec).with_authorizer();
        let (environment, variables) = declared(environment, spec);
        let conditions = items(&spec["matchConditions"]);
        let conditions = conditions.iter().map(|it| Expression::compile(&it["expression"], &environment));
        Self { conditions: conditions.collect(), variables }
    }

    /// An environment with the variables of the policy, of which [`environment`] is the base.
    pub(super) fn with_variables(&self, base: Environment) -> Environment {
        self.variables
            .iter()
            .fold(base, |base, (name, program)| base.with_policy_variable(name, program.as_ref()))
    }

    /// Whether the match conditions hold for a request.
    ///
    /// # Errors
    /// Fails if no condition is false, but some have no value, with their errors.
    pub(super) fn matches(&self, inputs: &Inputs<'_>) -> Result<bool, String> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        // Here kube-apiserver has no namespace.
        let inputs = Inputs {
            namespace_object: &Value::Null,
            authorizer: inputs.authorizer.clone(),
            resource: inputs.resource.clone(),
            ..*inputs
        };
        let dynamic = Declaration::dynamic();
        let mut variables = self.variables(&inputs, &dynamic, true);
        let conditions = self.conditions.iter().map(|it| (it.text.as_str(), &it.program));
        all_hold(conditions, |program, limit| program.evaluate_policy(&mut variables, limit))
    }

    /// What an expression sees of a request.
    pub(super) fn variables<'a>(
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

/// An environment for the expressions of a policy, without its variables and without the authorizer.
pub(super) fn environment(base: Environment, spec: &Value) -> Environment {
    let base = base.with_policy_variables();
    if spec["paramKind"].is_object() { base.with_params() } else { base }
}

pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}
