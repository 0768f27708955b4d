//! Compiles rules, and refuses those that refer to unknown names or could cost too much.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use kube_cel::cel::{
    ExecutionError, IdedExpr, Value as Cel,
    common::ast::{CallExpr, EntryExpr, Expr},
    parser::Parser,
};
use kube_validation::{FieldError, FieldPath};
use serde_json::json;

use super::{
    declared::{Declared, REQUEST_MAX},
    estimate,
    functions::{FUNCTIONS, TYPES, is_namespace},
    value::escape,
};
use crate::{
    field_path, pattern,
    schema::{AdditionalProperties, ListType, Rule, RuleDefinition, Schema, SchemaType},
};

/// The maximum cost of one rule, over all values that an object can have under its schema: kube-apiserver's
/// `StaticEstimatedCostLimit`.
const RULE_LIMIT: u64 = 10_000_000;
/// The maximum cost of all rules of a schema together: its `StaticEstimatedCRDCostLimit`.
const TOTAL_LIMIT: u64 = 100_000_000;
/// The maximum number of rules that are named if the total cost is too high.
const NAMED_MAX: usize = 4;

/// Compiles the rules of a schema and of the schemas inside it. The paths of errors are below `path`.
pub(crate) fn compile(schema: &mut Schema, path: &FieldPath<'_>) -> Vec<FieldError> {
    let mut compiler = Compiler::default();
    compiler.node(schema, path, None, Some(1), true);
    let Compiler { mut errors, total, mut expensive } = compiler;
    if total > TOTAL_LIMIT {
        // The most expensive first; the sort is stable.
        expensive.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, path) in expensive.iter().take(NAMED_MAX) {
            let detail =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.push(FieldError::forbidden(path, detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(path, &over_budget(what, total, TOTAL_LIMIT)));
    }
    errors
}

#[derive(Default)]
struct Compiler {
    errors: Vec<FieldError>,
    /// The total cost of all rules.
    total: u64,
    /// The rules that cost at least a hundredth of the total limit.
    expensive: Vec<(u64, String)>,
}

impl Compiler {
    /// `uncorrelatable`: the first ancestor inside which old values cannot be determined. `times`: how many such values an
    /// object can have; `None` if no limit is declared.
    fn node(
        &mut self,
        schema: &mut Schema,
        path: &FieldPath<'_>,
        uncorrelatable: Option<&str>,
        times: Option<u64>,
        is_root: bool,
    ) {
        let count = |max: Option<i64>| max.map(|max| u64::try_from(max).unwrap_or_default());
        let inside = match schema.kind {
            Some(SchemaType::Array) => count(schema.checks.max_items),
            Some(SchemaType::Object) if schema.additional_properties.is_some() => {
                count(schema.checks.max_properties)
            }
            _ => Some(1),
        };
        let inside = times.zip(inside).map(|(times, inside)| times.saturating_mul(inside));
        let mut has_rules = false;
        if let Some(AdditionalProperties::Schema(additional)) = &mut schema.additional_properties {
            self.node(additional, &path.child("additionalProperties"), uncorrelatable, inside, false);
            has_rules |= additional.has_rules();
        }
        let properties = path.child("properties");
        for (name, property) in &mut schema.properties {
            self.node(property, &properties.key(name), uncorrelatable, inside, false);
            has_rules |= property.has_rules();
        }
        let here = path.to_string();
        if let Some(items) = &mut schema.items {
            let uncorrelatable =
                uncorrelatable.or((schema.list_type != ListType::Map).then_some(here.as_str()));
            self.node(items, &path.child("items"), uncorrelatable, inside, false);
            has_rules |= items.has_rules();
        }
        let definitions = std::mem::take(&mut schema.definitions);
        if !definitions.is_empty() {
            let list = path.child("x-kubernetes-validations");
            let Some(declared) = Declared::of(schema, is_root || schema.embedded_resource) else {
                let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: \
                              unable to convert structural schema to CEL declarations";
                self.errors.push(FieldError::internal(list, detail));
                return;
            };
            // Without declared limits, the size of a request bounds the number of values.
            let times = times.unwrap_or(REQUEST_MAX / (declared.min_bytes + 1));
            let scope = Place { schema, declared, uncorrelatable, times, is_root };
            let rules: Vec<_> = definitions
                .into_iter()
                .enumerate()
                .filter_map(|(index, definition)| self.rule(definition, &scope, &list.index(index)))
                .collect();
            has_rules |= !rules.is_empty();
            schema.rules = Arc::new(rules);
        }
        schema.has_rules = has_rules;
    }

    fn rule(&mut self, definition: RuleDefinition, place: &Place<'_>, path: &FieldPath<'_>) -> Option<Rule> {
        let shown = json!({
            "Rule": definition.rule,
            "Message": definition.message,
            "MessageExpression": definition.message_expression,
            "Reason": definition.reason,
            "FieldPath": definition.field_path,
            "OptionalOldSelf": definition.optional_old_self,
        });
        let shown = Shown(shown);
        let Place { schema, is_root, .. } = *place;
        let optional = definition.optional_old_self == Some(true);
        let scope = Scope { schema, is_root, source: &definition.rule };
        let at_rule = path.child("rule");
        let expression = match scope.compile() {
            Ok(expression) => expression,
            Err(error) => {
                self.errors.push(shown.invalid(at_rule, &format!("compilation failed: {error}")));
                return None;
            }
        };
        if !scope.may_be(&expression, Kind::Bool) {
            self.errors.push(shown.invalid(at_rule, "cel expression must evaluate to a bool"));
            return None;
        }
        let cost = estimate::cost(&expression, &place.declared, optional);
        self.charge(&at_rule, "estimated rule cost", cost.saturating_mul(place.times));
        let mut message_cost = 0;
        let mut refused = false;
        let message = if definition.message_expression.trim().is_empty() {
            None
        } else {
            let scope = Scope { schema, is_root, source: &definition.message_expression };
            let at_message = path.child("messageExpression");
            match scope.compile() {
                Ok(expression) if scope.may_be(&expression, Kind::String) => {
                    message_cost = estimate::cost(&expression, &place.declared, optional);
                    self.charge(&at_message, "estimated messageExpression cost", message_cost);
                    Some(expression)
                }
                Ok(_) => {
                    let detail = "messageExpression must evaluate to a string";
                    self.errors.push(shown.invalid(at_message, detail));
                    refused = true;
                    None
                }
                Err(error) => {
                    let detail = format!("messageExpression compilation failed: {error}");
                    self.errors.push(shown.invalid(at_message, &detail));
                    refused = true;
                    None
                }
            }
        };
        let uses_old_self = expression.references().has_variable("oldSelf");
        if let (true, Some(ancestor)) = (uses_old_self, place.uncorrelatable) {
            let detail = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {ancestor}"
            );
            self.errors.push(FieldError::invalid(at_rule, &definition.rule.clone().into(), &detail));
            refused = true;
        }
        if let (false, Some(optional)) = (uses_old_self, definition.optional_old_self) {
            let detail = "may not be set if oldSelf is not used in rule";
            self.errors.push(FieldError::invalid(path.child("optionalOldSelf"), &optional.into(), detail));
            refused = true;
        }
        if refused {
            return None;
        }
        let field = match definition.field_path.trim() {
            "" => String::new(),
            // Invalid paths were refused earlier.
            field => field_path::resolve(field, schema, true).map(|(path, _)| path).unwrap_or_default(),
        };
        Some(Rule { definition, expression, cost, message, message_cost, uses_old_self, field })
    }

    /// Adds the cost of an expression, and refuses the expression if it costs too much.
    fn charge(&mut self, path: &FieldPath<'_>, what: &str, cost: u64) {
        if cost > RULE_LIMIT {
            self.errors.push(FieldError::forbidden(path, &over_budget(what, cost, RULE_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= TOTAL_LIMIT / 100 {
            self.expensive.push((cost, path.to_string()));
        }
    }
}

/// The schema that rules belong to.
struct Place<'a> {
    schema: &'a Schema,
    declared: Rc<Declared>,
    uncorrelatable: Option<&'a str>,
    /// The maximum number of times that the rules run for one object.
    times: u64,
    is_root: bool,
}

#[allow(clippy::cast_precision_loss)] // As in kube-apiserver.
fn over_budget(what: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// A rule as kube-apiserver prints it.
struct Shown(serde_json::Value);

impl Shown {
    /// The fields are in the order of Go's struct.
    fn invalid(&self, path: FieldPath<'_>, detail: &str) -> FieldError {
        let fields = ["Rule", "Message", "MessageExpression", "Reason", "FieldPath", "OptionalOldSelf"];
        let fields: Vec<_> = fields.iter().map(|field| format!("\"{field}\":{}", self.0[*field])).collect();
        FieldError::invalid_shown(path, &format!("{{{}}}", fields.join(",")), detail)
    }
}

/// The names that an expression can use.
struct Scope<'a> {
    schema: &'a Schema,
    is_root: bool,
    source: &'a str,
}

/// The type of an expression, as far as it is known.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Schema(&'a Schema),
    /// The root of a resource, which also has `apiVersion`, `kind` and `metadata`.
    Resource(&'a Schema),
    Bool,
    Int,
    String,
    Unknown,
}

impl<'a> Scope<'a> {
    fn compile(&self) -> Result<IdedExpr, String> {
        let expression = Parser::new().enable_optional_syntax(true).parse(self.source).map_err(|errors| {
            let shown: Vec<_> =
                errors.errors.iter().map(|error| self.at_position(error.pos, &error.msg)).collect();
            shown.join("\n")
        })?;
        let mut variables = HashMap::from([("self", self.root()), ("oldSelf", Kind::Unknown)]);
        self.check(&expression, &mut variables)?;
        Ok(expression)
    }

    fn root(&self) -> Kind<'a> {
        if self.is_root || self.schema.embedded_resource {
            Kind::Resource(self.schema)
        } else {
            Kind::Schema(self.schema)
        }
    }

    /// Returns whether the whole expression can have the type, as far as that is known.
    fn may_be(&self, expression: &IdedExpr, wanted: Kind<'_>) -> bool {
        let mut variables = HashMap::from([("self", self.root()), ("oldSelf", Kind::Unknown)]);
        let found = match self.check(expression, &mut variables) {
            Ok(Kind::Schema(schema)) if schema.int_or_string => Kind::Unknown,
            Ok(Kind::Schema(Schema { kind: Some(SchemaType::Boolean), .. })) => Kind::Bool,
            Ok(Kind::Schema(Schema { kind: Some(SchemaType::String), checks, .. }))
                if checks.format.is_none() =>
            {
                Kind::String
            }
            Ok(found) => found,
            Err(_) => Kind::Unknown,
        };
        match (found, wanted) {
            (Kind::Unknown, _) | (Kind::Bool, Kind::Bool) | (Kind::String, Kind::String) => true,
            (Kind::Schema(schema), _) => schema.kind.is_none() || schema.checks.format.is_some(),
            _ => false,
        }
    }

    fn check<'e>(
        &self,
        expression: &'e IdedExpr,
        variables: &mut HashMap<&'e str, Kind<'a>>,
    ) -> Result<Kind<'a>, String> {
        use kube_cel::cel::common::ast::LiteralValue;
        match &expression.expr {
            Expr::Ident(name) => match variables.get(name.as_str()) {
                Some(kind) => Ok(*kind),
                // Names of types are values, too.
                None if TYPES.contains(&name.as_str()) || name.starts_with('@') => Ok(Kind::Unknown),
                None => {
                    Err(self.at_text(name, 0, &format!("undeclared reference to '{name}' (in container '')")))
                }
            },
            Expr::Select(select) => {
                // A qualified name such as `optional.none` does not start with a variable.
                if let Expr::Ident(name) = &select.operand.expr
                    && !variables.contains_key(name.as_str())
                    && is_namespace(name)
                {
                    return Ok(Kind::Unknown);
                }
                let operand = self.check(&select.operand, variables)?;
                let kind = field(operand, &select.field).map_err(|()| {
                    self.at_text(
                        &format!(".{}", select.field),
                        0,
                        &format!("undefined field '{}'", select.field),
                    )
                })?;
                Ok(if select.test { Kind::Bool } else { kind })
            }
            Expr::Call(call) => {
                if let Some(target) = &call.target
                    && !matches!(&target.expr, Expr::Ident(name) if !variables.contains_key(name.as_str()) && is_namespace(name))
                {
                    self.check(target, variables)?;
                }
                let name = &call.func_name;
                let qualified = match call.target.as_deref().map(|target| &target.expr) {
                    Some(Expr::Ident(target)) => format!("{target}.{name}"),
                    _ => name.clone(),
                };
                if !is_function(name) && !is_function(&qualified) {
                    let detail = format!("undeclared reference to '{name}' (in container '')");
                    return Err(self.at_text(&format!("{name}("), name.len(), &detail));
                }
                let mut arguments = Vec::with_capacity(call.args.len());
                for argument in &call.args {
                    arguments.push(self.check(argument, variables)?);
                }
                if let ("matches", Some(Expr::Literal(LiteralValue::String(pattern)))) =
                    (name.as_str(), call.args.last().map(|argument| &argument.expr))
                    && pattern::compile(pattern.inner()).is_err()
                {
                    return Err(self.at_text("matches(", "matches(".len(), "invalid matches argument"));
                }
                Ok(match (call.func_name.as_str(), &arguments[..]) {
                    (
                        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "_&&_" | "_||_" | "!_" | "@in"
                        | "contains" | "endsWith" | "matches" | "startsWith",
                        _,
                    ) => Kind::Bool,
                    ("size", _) => Kind::Int,
                    ("string", _) => Kind::String,
                    ("_[_]", [operand, _]) => element(*operand).unwrap_or(Kind::Unknown),
                    _ => Kind::Unknown,
                })
            }
            Expr::Comprehension(comprehension) => {
                let range = self.check(&comprehension.iter_range, variables)?;
                self.check(&comprehension.accu_init, variables)?;
                let element = match range {
                    Kind::Schema(Schema { kind: Some(SchemaType::Array), .. }) => {
                        element(range).unwrap_or(Kind::Unknown)
                    }
                    _ => Kind::Unknown,
                };
                let mut inner = variables.clone();
                inner.insert(&comprehension.accu_var, Kind::Unknown);
                match &comprehension.iter_var2 {
                    None => _ = inner.insert(&comprehension.iter_var, element),
                    Some(second) => {
                        inner.insert(&comprehension.iter_var, Kind::Unknown);
                        inner.insert(second, Kind::Unknown);
                    }
                }
                self.check(&comprehension.loop_cond, &mut inner)?;
                self.check(&comprehension.loop_step, &mut inner)?;
                self.check(&comprehension.result, &mut inner)?;
                Ok(Kind::Unknown)
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.check(element, variables)?;
                }
                Ok(Kind::Unknown)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.check(&entry.key, variables)?;
                        self.check(&entry.value, variables)?;
                    }
                }
                Ok(Kind::Unknown)
            }
            Expr::Literal(LiteralValue::String(_)) => Ok(Kind::String),
            Expr::Literal(LiteralValue::Boolean(_)) => Ok(Kind::Bool),
            Expr::Literal(LiteralValue::Int(_)) => Ok(Kind::Int),
            Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => Ok(Kind::Unknown),
        }
    }

    /// Formats an error at the first occurrence of `text` in the source.
    fn at_text(&self, text: &str, offset: usize, message: &str) -> String {
        let position = self.source.find(text).unwrap_or_default() + offset;
        let before = &self.source[..position];
        let line = before.matches('\n').count();
        let column = before.chars().rev().take_while(|c| *c != '\n').count();
        self.shown(line, column, message)
    }

    fn at_position(&self, (line, column): (isize, isize), message: &str) -> String {
        let line = usize::try_from(line).unwrap_or(1).max(1) - 1;
        let column = usize::try_from(column).unwrap_or(1).max(1) - 1;
        self.shown(line, column, message)
    }

    /// Formats an error as cel-go does: with the line, and dots up to the column.
    fn shown(&self, line: usize, column: usize, message: &str) -> String {
        let text = self.source.lines().nth(line).unwrap_or_default();
        format!(
            "ERROR: <input>:{}:{}: {message}\n | {text}\n | {}^",
            line + 1,
            column + 1,
            ".".repeat(column)
        )
    }
}

/// Returns the type of a field; an error if the field does not exist.
fn field<'a>(operand: Kind<'a>, name: &str) -> Result<Kind<'a>, ()> {
    let (schema, is_resource) = match operand {
        Kind::Schema(schema) => (schema, false),
        Kind::Resource(schema) => (schema, true),
        Kind::Unknown => return Ok(Kind::Unknown),
        Kind::Bool | Kind::Int | Kind::String => return Err(()),
    };
    if is_resource && matches!(name, "apiVersion" | "kind" | "metadata") {
        return Ok(Kind::Unknown);
    }
    if let Some(additional) = &schema.additional_properties {
        return Ok(additional.schema().map_or(Kind::Unknown, Kind::Schema));
    }
    match schema.properties.iter().find(|(property, _)| escape(property) == name) {
        Some((_, property)) if property.embedded_resource => Ok(Kind::Resource(property)),
        Some((_, property)) => Ok(Kind::Schema(property)),
        None if schema.kind.is_none() => Ok(Kind::Unknown),
        None => Err(()),
    }
}

fn element(operand: Kind<'_>) -> Option<Kind<'_>> {
    let Kind::Schema(schema) = operand else { return None };
    let inside = schema.items.as_deref().or_else(|| schema.additional_properties.as_ref()?.schema())?;
    Some(if inside.embedded_resource { Kind::Resource(inside) } else { Kind::Schema(inside) })
}

/// Returns whether the interpreter knows the function. It is asked about everything except operators.
fn is_function(name: &str) -> bool {
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return true;
    }
    let call = CallExpr { func_name: name.to_owned(), target: None, args: Vec::new() };
    let call = IdedExpr { id: 0, expr: Expr::Call(call) };
    !matches!(Cel::resolve(&call, &FUNCTIONS), Err(ExecutionError::UndeclaredReference(_)))
}
