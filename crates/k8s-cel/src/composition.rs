//! The variables of a policy: apiserver's `pkg/admission/plugin/cel/composition.go`.

use std::collections::BTreeMap;

use crate::{
    environment::Environment,
    eval::{self, Lazy},
    go,
    policy::{self, VARIABLES},
    program::{CompileError, Evaluation, Program, Variables},
    types::Type,
    value::{Error, Evaluated},
};

/// How deep expressions of variables that wait for each other may be in all, so that they fit onto a stack.
const DEPTH_MAX: usize = 400;
/// How much deeper than its expression a variable is on the stack.
const VARIABLE: usize = 6;

impl Environment {
    /// Declares a field of `variables` with the type of its compiled expression, or without a type if that failed: then the
    /// failure is reported where the field is used. Objects and values of libraries have no type as fields.
    ///
    /// The variables of a policy can refer to those before them, so each is compiled with the environment that has these:
    ///
    /// ```
    /// # use k8s_cel::{Environment, Origin, Program};
    /// let environment = Environment::policy(37, Origin::New);
    /// let replicas = Program::compile("object.spec.?replicas.orValue(1)", &environment);
    /// let environment = environment.with_policy_variable("replicas", replicas.as_ref());
    /// let many = Program::compile("variables.replicas > 5", &environment);
    /// let environment = environment.with_policy_variable("many", many.as_ref());
    /// let rule = Program::compile("!variables.many || 'team' in object.metadata.labels", &environment)?;
    /// # assert_eq!(rule.result_type(), "bool");
    /// # Ok::<(), k8s_cel::CompileError>(())
    /// ```
    ///
    /// [`PolicyVariables`] has the values for an evaluation.
    #[must_use]
    pub fn with_policy_variable(self, name: &str, compiled: Result<&Program, &CompileError>) -> Self {
        let declared = compiled.map_or(Type::Dyn, |program| policy::variable_type(program.result()));
        self.declare_policy_variable(name, declared)
    }
}

/// The variables of a policy for one object: their expressions, which are evaluated once an expression refers to them.
///
/// The values are kept, so a variable costs something only once. kube-apiserver has one such set for all validations of a policy,
/// and another one for its audit annotations.
#[derive(Debug)]
pub struct PolicyVariables<'a> {
    inputs: Variables<'a>,
    variables: BTreeMap<&'a str, Variable<'a>>,
    limit: u64,
    /// What the evaluations of variables have cost.
    cost: u64,
    /// The depth of the expressions that are evaluated at the moment.
    depth: usize,
}

#[derive(Debug)]
struct Variable<'a> {
    compiled: Result<&'a Program, &'a CompileError>,
    value: Option<Evaluated<'a>>,
}

impl<'a> PolicyVariables<'a> {
    /// No variables yet. Their expressions will see these variables: `object`, `request` and so on.
    #[must_use]
    pub fn new(inputs: Variables<'a>) -> Self {
        Self { inputs, variables: BTreeMap::new(), limit: 0, cost: 0, depth: 0 }
    }

    /// A variable with its expression, or with the reason why that does not compile.
    #[must_use]
    pub fn with(mut self, name: &'a str, compiled: Result<&'a Program, &'a CompileError>) -> Self {
        self.variables.insert(name, Variable { compiled, value: None });
        self
    }

    /// Evaluates an expression, which may be the one of a variable.
    fn run(&mut self, program: &'a Program) -> eval::Outcome<'a> {
        let plan = program.plan();
        let values: Vec<_> = plan
            .variables()
            .iter()
            .map(|name| match &**name {
                "variables" => Some(Ok(eval::composed(VARIABLES))),
                name => self.inputs.get(name),
            })
            .collect();
        let depth = program.depth() + VARIABLE;
        self.depth += depth;
        let limit = self.limit;
        let outcome = plan.evaluate(&values, Some(self), limit);
        self.depth -= depth;
        outcome
    }

    fn compute(&mut self, name: &str, compiled: Result<&'a Program, &'a CompileError>) -> Evaluated<'a> {
        let failed = |how: &str, why: &dyn std::fmt::Display| {
            Error::new(format!("composited variable {} fails to {how}: {why}", go::quote(name)))
        };
        let program = match compiled {
            Ok(program) => program,
            Err(error @ CompileError::Expression(_)) => {
                return Err(failed("compile", &format_args!("compilation failed: {error}")));
            }
            Err(error @ CompileError::Instantiation(_)) => {
                return Err(failed("compile", &format_args!("program instantiation failed: {error}")));
            }
            Err(error @ CompileError::Result(_)) => return Err(failed("compile", error)),
        };
        if self.depth + program.depth() + VARIABLE > DEPTH_MAX {
            return Err(failed("evaluate", &"too many variables refer to each other"));
        }
        let eval::Outcome { value, cost } = self.run(program);
        self.cost = self.cost.saturating_add(cost);
        // Even the end of this evaluation does not end the one that asks for the variable.
        value.map_err(|error| failed("evaluate", &error))
    }
}

impl<'a> Lazy<'a> for PolicyVariables<'a> {
    fn get(&mut self, name: &str) -> Option<Evaluated<'a>> {
        let variable = self.variables.get_mut(name)?;
        if let Some(value) = &variable.value {
            return Some(value.clone());
        }
        let compiled = variable.compiled;
        // Expressions refer to variables before them, but `dyn(variables)` has all of them.
        let error = Error::new(format!("composited variable {} refers to itself", go::quote(name)));
        variable.value = Some(Err(error));
        let value = self.compute(name, compiled);
        if let Some(variable) = self.variables.get_mut(name) {
            variable.value = Some(value.clone());
        }
        Some(value)
    }
}

impl Program {
    /// Evaluates an expression of a policy, such as a validation. It ends with an error once it costs more than `limit`, and so
    /// does each variable.
    ///
    /// The cost of the result is that of the expression, and of the variables that were evaluated for the first time. So the
    /// costs of all expressions of a policy add up to what kube-apiserver subtracts from its budget for a policy.
    pub fn evaluate_policy<'a>(&'a self, variables: &mut PolicyVariables<'a>, limit: u64) -> Evaluation<'a> {
        variables.limit = limit;
        let before = variables.cost;
        let eval::Outcome { value, cost } = variables.run(self);
        let cost = cost.saturating_add(variables.cost - before);
        Evaluation::of(eval::Outcome { value, cost })
    }
}
