//! Evaluates the rules of a schema for an object.

use std::sync::Arc;

use kube_cel::cel::{Context, ExecutionError, Value as Cel, objects::OptionalValue};
use kube_validation::{FieldError, FieldPath};
use serde_json::Value;

use super::functions::FUNCTIONS;
use super::{cost, value};
use crate::{
    lists,
    schema::{ListType, Rule, RuleDefinition, Schema, SchemaType},
    validate::Correlated,
};

/// The maximum number of steps that the rules of one object may take together: kube-apiserver's `RuntimeCELCostBudget`.
const BUDGET: u64 = 10_000_000;
/// The maximum length of a message that an expression creates, in bytes.
const MESSAGE_MAX: usize = 5 * 1024;

/// Evaluates the rules of a schema and of the schemas inside it for `new` at `path`.
pub(crate) fn validate(schema: &Schema, new: &Value, old: Option<&Value>, path: &FieldPath<'_>) -> Found {
    let mut run = Run { budget: BUDGET, found: Found::default() };
    let correlated = old.map(|old| Correlated { schema, new, old });
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
        if !schema.rules.is_empty() {
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
        let is_resource = path.is_empty() || schema.embedded_resource;
        let self_value = value::convert(new, schema, is_resource);
        let old_value = old.map(|old| value::convert(old, schema, is_resource));
        let at = if path.is_empty() { "<nil>".to_owned() } else { path.to_string() };
        let kind = Value::from(kind_name(schema));
        for rule in schema.rules.iter() {
            let definition = &rule.definition;
            let optional = definition.optional_old_self == Some(true);
            if rule.uses_old_self && old.is_none() && !optional {
                continue;
            }
            let spent = cost::bound(&rule.expression, new, old).min(rule.cost);
            if spent > self.budget {
                let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
                self.found.errors.push(FieldError::invalid(at, &kind, detail));
                return Err(Spent);
            }
            self.budget -= spent;
            let mut context = FUNCTIONS.new_inner_scope();
            context.add_variable_from_value("self", self_value.clone());
            if optional {
                let old = old_value.clone().map_or_else(OptionalValue::none, OptionalValue::of);
                context.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(old)));
            } else if let Some(old) = &old_value {
                context.add_variable_from_value("oldSelf", old.clone());
            }
            match Cel::resolve(&rule.expression, &context) {
                Ok(Cel::Bool(true)) => {}
                Ok(_) => {
                    let error = self.failure(rule, new, schema, &context, path);
                    if rule.uses_old_self || !unchanged() {
                        self.found.errors.push(error);
                    } else {
                        self.found.ratcheted.push(error);
                    }
                }
                Err(error) => {
                    let detail = failed(&error, shown(definition));
                    self.found.errors.push(FieldError::invalid(&at, &kind, &detail));
                }
            }
        }
        Ok(())
    }

    fn failure(
        &mut self,
        rule: &Rule,
        value: &Value,
        schema: &Schema,
        context: &Context<'_>,
        path: &FieldPath<'_>,
    ) -> FieldError {
        let definition = &rule.definition;
        let detail = self.message(rule, value, context).unwrap_or_else(|| match definition.message.trim() {
            "" => format!("failed rule: {}", definition.rule.trim()),
            message => message.to_owned(),
        });
        let field = match (rule.field.as_str(), path.is_empty()) {
            ("", true) => "<nil>".to_owned(),
            ("", false) => path.to_string(),
            (field, _) => path.child(field).to_string(),
        };
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

    /// Evaluates `messageExpression`. `None` if it does not yield a valid message within the budget.
    fn message(&mut self, rule: &Rule, value: &Value, context: &Context<'_>) -> Option<String> {
        let expression = rule.message.as_ref()?;
        self.budget = self.budget.checked_sub(cost::bound(expression, value, None).min(rule.message_cost))?;
        let Ok(Cel::String(text)) = Cel::resolve(expression, context) else { return None };
        let text = text.trim();
        (!text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n')).then(|| text.to_owned())
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

fn failed(error: &ExecutionError, rule: &str) -> String {
    let what = match error {
        ExecutionError::NoSuchOverload
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnsupportedUnaryOperator(..)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnexpectedType { .. } => {
            return format!(
                "'no such overload': call arguments did not match a supported operator, function or macro signature \
                 for rule: {rule}"
            );
        }
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::IndexOutOfBounds(Cel::Int(index)) => format!("index out of bounds: {index}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::UndeclaredReference(name) => format!("undeclared reference to '{name}'"),
        // The texts of other errors would reveal values of the object.
        _ => "evaluation failed".to_owned(),
    };
    format!("{what} evaluating rule: {rule}")
}
