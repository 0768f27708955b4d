//! Evaluates the rules of a schema for an object.

use k8s_cel::{COST_LIMIT, Variables};
use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use crate::{
    lists,
    schema::{ListType, Rule, RuleDefinition, Schema, SchemaType},
    validate::Correlated,
};

/// The maximum cost of the rules of one object together: kube-apiserver's `RuntimeCELCostBudget`.
const BUDGET: u64 = 10_000_000;
/// The maximum length of a message that an expression creates, in bytes.
const MESSAGE_MAX: usize = 5 * 1024;

/// Evaluates the rules of a schema and of the schemas inside it for `new` at `path`.
pub(crate) fn validate(schema: &Schema, new: &Value, old: Option<&Value>, path: &FieldPath<'_>) -> Found {
    let correlated = old.map(|old| Correlated { schema, new, old });
    run(schema, new, old, correlated, path)
}

/// Returns the errors of a default at `path`, as an old and as a new value. No error is accepted because nothing changes.
pub(crate) fn validate_default(schema: &Schema, default: &Value, path: &FieldPath<'_>) -> Vec<FieldError> {
    let errors = |old| run(schema, default, old, None, path).errors;
    let with_old = errors(Some(default));
    if with_old.is_empty() { errors(None) } else { with_old }
}

fn run(
    schema: &Schema,
    new: &Value,
    old: Option<&Value>,
    correlated: Option<Correlated<'_>>,
    path: &FieldPath<'_>,
) -> Found {
    let mut run = Run { budget: BUDGET, found: Found::default() };
    // If the budget was spent, `found` has an error for it.
    let _ = run.node(schema, new, old, correlated, false, path);
    run.found
}

/// The errors found by rules.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) errors: Vec<FieldError>,
    /// Errors in values that did not change.
    pub(crate) ratcheted: Vec<FieldError>,
}

/// The budget is spent, so no more rules may run.
struct Spent;

struct Run {
    budget: u64,
    found: Found,
}

impl Run {
    /// `unchanged`: whether an ancestor has not changed. `correlated`: the value and its old value, if that can be determined.
    fn node(
        &mut self,
        schema: &Schema,
        new: &Value,
        old: Option<&Value>,
        correlated: Option<Correlated<'_>>,
        unchanged: bool,
        path: &FieldPath<'_>,
    ) -> Result<(), Spent> {
        if new.is_null() || !schema.has_rules() {
            return Ok(());
        }
        if schema.rules.is_some() {
            let unchanged = || correlated.map_or(unchanged, |correlated| correlated.unchanged());
            self.rules(schema, new, old.filter(|old| !old.is_null()), &unchanged, path)?;
        }
        let unchanged = || unchanged || correlated.is_some_and(|correlated| correlated.unchanged());
        match new {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(property) = schema.property(name).filter(|property| property.has_rules()) else {
                        continue;
                    };
                    let is_type = path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind");
                    let child = correlated.filter(|_| !is_type).and_then(|correlated| correlated.field(name));
                    let unchanged = child.is_none() && !is_type && unchanged();
                    let old = old.and_then(|old| old.get(name));
                    let path =
                        if schema.properties.contains_key(name) { path.child(name) } else { path.key(name) };
                    self.node(property, value, old, child, unchanged, &path)?;
                }
            }
            Value::Array(list) => {
                let Some(items) = schema.items.as_deref() else { return Ok(()) };
                let old_list = old.and_then(Value::as_array).filter(|_| schema.list_type == ListType::Map);
                for (index, item) in list.iter().enumerate() {
                    let child = correlated.and_then(|correlated| correlated.item(index));
                    let unchanged = child.is_none() && unchanged();
                    let old = old_list.and_then(|old| lists::correlated(schema, item, old));
                    self.node(items, item, old, child, unchanged, &path.index(index))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules(
        &mut self,
        schema: &Schema,
        new: &Value,
        old: Option<&Value>,
        unchanged: &dyn Fn() -> bool,
        path: &FieldPath<'_>,
    ) -> Result<(), Spent> {
        let Some(rules) = &schema.rules else { return Ok(()) };
        let invalid = |detail: &str| FieldError::invalid(shown_path(path), &kind_name(schema).into(), detail);
        let no_budget = || {
            invalid(
                "validation failed due to running out of cost budget, no further validation rules will be run",
            )
        };
        if self.budget == 0 {
            self.found.errors.push(no_budget());
            return Err(Spent);
        }
        let declaration = &rules.declaration;
        let variables = Variables::new().with("self", new, declaration);
        for rule in &rules.rules {
            let rule = match rule {
                Ok(rule) => rule,
                Err(detail) => {
                    self.found.errors.push(invalid(detail));
                    continue;
                }
            };
            let definition = &rule.definition;
            let optional = definition.optional_old_self == Some(true);
            if rule.uses_old_self && old.is_none() && !optional {
                continue;
            }
            let variables = match (rule.uses_old_self, optional, old) {
                (true, true, old) => variables.clone().with_optional("oldSelf", old, declaration),
                (true, false, Some(old)) => variables.clone().with("oldSelf", old, declaration),
                _ => variables.clone(),
            };
            let evaluation = rule.program.evaluate(&variables, COST_LIMIT);
            let Some(left) = self.budget.checked_sub(evaluation.cost) else {
                self.found.errors.push(no_budget());
                return Err(Spent);
            };
            self.budget = left;
            match evaluation.result {
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(_) => {
                    let error = match self.message(rule, &variables) {
                        Ok(message) => failure(rule, message, new, schema, path),
                        Err(detail) => {
                            let error =
                                FieldError::invalid(field_of(rule, path), &kind_name(schema).into(), &detail);
                            self.add(rule, error, unchanged);
                            return Err(Spent);
                        }
                    };
                    self.add(rule, error, unchanged);
                }
                Err(error) => {
                    let shown = shown(definition);
                    let text = error.to_string();
                    let detail = if error.is_over_limit() {
                        format!(
                            "'{text}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                        )
                    } else if text.starts_with("no such overload") {
                        format!(
                            "'{text}': call arguments did not match a supported operator, function or macro signature for \
                             rule: {shown}"
                        )
                    } else {
                        format!("{text} evaluating rule: {shown}")
                    };
                    self.found.errors.push(invalid(&detail));
                    if error.is_over_limit() {
                        return Err(Spent);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the error of a rule. In a value that did not change it is a warning.
    fn add(&mut self, rule: &Rule, error: FieldError, unchanged: &dyn Fn() -> bool) {
        if rule.uses_old_self || !unchanged() {
            self.found.errors.push(error);
        } else {
            self.found.ratcheted.push(error);
        }
    }

    /// Evaluates `messageExpression`. `None` if there is none, or it does not yield a valid message; an error if its cost ends
    /// the validation.
    fn message(&mut self, rule: &Rule, variables: &Variables<'_>) -> Result<Option<String>, String> {
        let Some(program) = &rule.message else { return Ok(None) };
        let evaluation = program.evaluate(variables, COST_LIMIT);
        self.budget = self.budget.checked_sub(evaluation.cost).ok_or(
            "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run",
        )?;
        match evaluation.result {
            Ok(value) => {
                let text = value.as_str().unwrap_or_default().trim();
                let fits = !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n');
                Ok(fits.then(|| text.to_owned()))
            }
            Err(error) if error.is_over_limit() => {
                let source = kube_validation::go::quote(&rule.definition.message_expression);
                Err(format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {source}"
                ))
            }
            Err(_) => Ok(None),
        }
    }
}

fn field_of(rule: &Rule, path: &FieldPath<'_>) -> String {
    match rule.field.as_str() {
        "" => shown_path(path),
        field => path.child(field).to_string(),
    }
}

/// A path as kube-apiserver prints it: that of the object itself is empty.
fn shown_path(path: &FieldPath<'_>) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_string() }
}

fn failure(
    rule: &Rule,
    message: Option<String>,
    value: &Value,
    schema: &Schema,
    path: &FieldPath<'_>,
) -> FieldError {
    let definition = &rule.definition;
    let detail = message.unwrap_or_else(|| match definition.message.trim() {
        "" => format!("failed rule: {}", definition.rule.trim()),
        message => message.to_owned(),
    });
    let field = field_of(rule, path);
    let compound = matches!(schema.kind, Some(SchemaType::Object | SchemaType::Array));
    match (definition.reason.as_deref(), compound) {
        (Some("FieldValueForbidden"), _) => FieldError::forbidden(field, &detail),
        (Some("FieldValueRequired"), _) => FieldError::required(field, &detail),
        (Some("FieldValueDuplicate"), false) => FieldError::duplicate(field, value),
        (Some("FieldValueDuplicate"), true) => FieldError::duplicate_omitted(field),
        (_, false) => FieldError::invalid(field, value, &detail),
        (_, true) => FieldError::invalid_omitted(field, &detail),
    }
}

fn shown(definition: &RuleDefinition) -> &str {
    if definition.message.is_empty() { definition.rule.trim() } else { definition.message.trim() }
}

fn kind_name(schema: &Schema) -> &'static str {
    match schema.kind {
        None => "",
        Some(SchemaType::Array) => "array",
        Some(SchemaType::Boolean) => "boolean",
        Some(SchemaType::Integer) => "integer",
        Some(SchemaType::Number) => "number",
        Some(SchemaType::Object) => "object",
        Some(SchemaType::String) => "string",
    }
}
