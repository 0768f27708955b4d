//! Expressions that are compiled, and what their evaluation gives.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde_json::Value as Json;

use crate::{
    check::{self, Checked, Reference},
    cost,
    environment::Environment,
    eval::{self, Dialect},
    functions::{self, Authorizer, ResourceAttributes},
    go,
    schema::Declaration,
    syntax,
    types::Type,
    value,
};

/// kube-apiserver's `PerCallLimit`: what the evaluation of one expression may cost.
pub const COST_LIMIT: u64 = 1_000_000;

/// A compiled expression. It can be evaluated any number of times, by any number of threads.
#[derive(Debug)]
pub struct Program {
    plan: eval::Program,
    result: Type,
    estimate: cost::Estimate,
    /// The variables and types that it names.
    names: BTreeSet<Arc<str>>,
    /// How many expressions are in one another at most.
    depth: usize,
}

/// Why an expression does not compile.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It is not an expression, or not well-typed: the text that cel-go prints, with the place of each error.
    #[error("{0}")]
    Expression(String),
    /// Its type is not the one that [`Environment::with_result`] asks for, but this one.
    #[error("the expression is of the type {0}")]
    Result(String),
    /// It is well-typed, but a constant part of it has no value, such as a pattern that is not one.
    #[error("{0}")]
    Instantiation(String),
}

impl Program {
    /// Parses, checks and plans an expression.
    ///
    /// # Errors
    /// Fails with everything that is wrong with it, as cel-go words it.
    pub fn compile(text: &str, environment: &Environment) -> Result<Self, CompileError> {
        let failed = |source: &syntax::Source, issues: &[syntax::Issue]| {
            CompileError::Expression(source.display(issues).to_string())
        };
        let ast = match syntax::parse(text, environment.options) {
            Ok(ast) => ast,
            Err((source, issues)) => return Err(failed(&source, &issues)),
        };
        let source = Arc::clone(&ast.source);
        let checked = if environment.has_checker {
            check::check(ast, &environment.checker).map_err(|issues| failed(&source, &issues))?
        } else {
            Checked::unchecked(ast)
        };
        let issues = match environment.dialect {
            _ if !checked.is_checked() => Vec::new(),
            Dialect::Kubernetes => check::validate(&checked, &PARSERS),
            Dialect::Specification => check::validate_formats(&checked, check::Form::Specification),
        };
        if !issues.is_empty() {
            return Err(failed(&source, &issues));
        }
        let result = checked.types.get(&checked.ast.root.id).cloned().unwrap_or_default();
        if environment.result.as_ref().is_some_and(|expected| *expected != result) {
            return Err(CompileError::Result(result.to_string()));
        }
        let plan = eval::plan(&checked, &environment.checker, environment.dialect)
            .map_err(|error| CompileError::Instantiation(error.to_string()))?;
        let depth = check::depth(&checked.ast.root);
        let estimate = cost::estimate(&checked, environment.sizes());
        let names = checked.references.into_values().filter_map(|reference| match reference {
            Reference::Name { name, .. } => Some(name),
            Reference::Overloads(_) => None,
        });
        Ok(Self { plan, result, estimate, names: names.collect(), depth })
    }

    /// The estimate of what an evaluation costs at most, for any object that fits the declaration of the first variable: what
    /// kube-apiserver computes when a CRD is created. `u64::MAX` if nothing bounds it.
    #[must_use]
    pub fn max_cost(&self) -> u64 {
        self.estimate.max
    }

    /// The type of the result, as errors print it: `bool`, `list(string)`.
    #[must_use]
    pub fn result_type(&self) -> String {
        self.result.to_string()
    }

    /// Whether the expression refers to a variable.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        self.names.contains(variable)
    }

    /// Evaluates the expression. It ends with an error once it costs more than `limit`, such as [`COST_LIMIT`].
    pub fn evaluate<'a>(&'a self, variables: &Variables<'a>, limit: u64) -> Evaluation<'a> {
        let values: Vec<_> = self.plan.variables().iter().map(|name| variables.get(name)).collect();
        Evaluation::of(self.plan.evaluate(&values, None, limit))
    }

    pub(crate) fn plan(&self) -> &eval::Program {
        &self.plan
    }

    pub(crate) fn result(&self) -> &Type {
        &self.result
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }
}

const PARSERS: check::Parsers = check::Parsers {
    is_duration: |text| go::parse_duration(text).is_ok(),
    is_timestamp: |text| {
        go::parse_rfc3339(text).is_ok_and(|time| go::Timestamp::RANGE.contains(&time.seconds))
    },
    // One that is too large fails when it is planned: to compile it is what takes time.
    is_regex: go::Pattern::is_pattern,
};

/// The values of variables. They are borrowed.
#[derive(Clone, Debug, Default)]
pub struct Variables<'a>(Vec<(&'a str, value::Evaluated<'a>)>);

impl<'a> Variables<'a> {
    /// No variable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A variable with JSON that a declaration describes, the one that the environment has for it. The cost does not depend
    /// on the size of the JSON.
    #[must_use]
    pub fn with(mut self, name: &'a str, json: &'a Json, declaration: &'a Declaration) -> Self {
        self.0.push((name, value::read(json, declaration)));
        self
    }

    /// A variable of an optional type, with JSON or without a value.
    #[must_use]
    pub fn with_optional(
        mut self,
        name: &'a str,
        json: Option<&'a Json>,
        declaration: &'a Declaration,
    ) -> Self {
        let value = match json {
            None => Ok(value::Value::Optional(None)),
            Some(json) => value::read(json, declaration).map(value::Value::some),
        };
        self.0.push((name, value));
        self
    }

    /// A variable with the value of another expression.
    #[must_use]
    pub fn with_value(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.0.push((name, Ok(value.0)));
        self
    }

    /// A variable of the type `kubernetes.authorization.Authorizer`: `authorizer` of policies. Its checks are about the user who
    /// sent the request, or about service accounts.
    #[must_use]
    pub fn with_authorizer(mut self, name: &'a str, authorizer: Arc<dyn Authorizer>) -> Self {
        self.0.push((name, Ok(functions::authorizer(authorizer))));
        self
    }

    /// A variable of the type `kubernetes.authorization.ResourceCheck`: `authorizer.requestResource` of policies, with the
    /// attributes of the request.
    #[must_use]
    pub fn with_resource_check(
        mut self,
        name: &'a str,
        authorizer: Arc<dyn Authorizer>,
        attributes: ResourceAttributes,
    ) -> Self {
        self.0.push((name, Ok(functions::resource_check(authorizer, attributes))));
        self
    }

    pub(crate) fn get(&self, name: &str) -> eval::Variable<'a> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }
}

/// What an evaluation gave.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The value, or why there is none.
    pub result: Result<Value<'a>, EvaluationError>,
    /// What the evaluation cost, in the units of cel-go's cost tracker, also if it failed.
    pub cost: u64,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn of(outcome: eval::Outcome<'a>) -> Self {
        let eval::Outcome { value, cost } = outcome;
        let result = value.map(Value).map_err(EvaluationError::from);
        Self { result, cost }
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationError {
    text: String,
    is_over_limit: bool,
}

impl From<value::Error> for EvaluationError {
    fn from(error: value::Error) -> Self {
        Self { is_over_limit: error == value::Error::Cancelled, text: error.to_string() }
    }
}

impl EvaluationError {
    /// Whether the evaluation ended because it cost more than its limit.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.is_over_limit
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for EvaluationError {}

/// A value. It may borrow from the variables and from the program.
#[derive(Clone, Debug)]
pub struct Value<'a>(pub(crate) value::Value<'a>);

impl Value<'_> {
    /// The value, if it is a bool.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            value::Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The value, if it is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// The value, if it is an int. Other numbers are not converted.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self.0 {
            value::Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The value, if it is a double. Other numbers are not converted.
    #[must_use]
    pub fn as_double(&self) -> Option<f64> {
        match self.0 {
            value::Value::Double(value) => Some(value),
            _ => None,
        }
    }

    /// The value as plain JSON, as protobuf maps it: integers of more than 53 bits, bytes (base64), durations and timestamps
    /// are strings.
    ///
    /// # Errors
    /// Fails for what JSON does not have, such as a map with keys that are no strings, a type, or a quantity.
    pub fn to_json(&self) -> Result<Json, EvaluationError> {
        functions::json(&self.0).map_err(EvaluationError::from)
    }

    /// The name of the type, as `type(x)` gives it.
    #[must_use]
    pub fn type_name(&self) -> String {
        self.0.type_name()
    }
}

impl<'a> Value<'a> {
    /// Reads plain JSON: numbers without decimals that fit into 64 bits are ints, other numbers are doubles. The cost does
    /// not depend on the size of the JSON.
    #[must_use]
    pub fn from_json(json: &'a Json) -> Self {
        // Data without a schema can have any form.
        Self(value::read(json, value::dynamic()).unwrap_or(value::Value::Null))
    }
}

/// As Go prints it with `%v`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
