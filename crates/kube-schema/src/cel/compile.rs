//! Compiles rules, and refuses those that do not compile or could cost too much: apiextensions-apiserver's
//! `pkg/apis/apiextensions/validation` and `pkg/apiserver/schema/cel/compilation.go`.

use std::{collections::BTreeSet, sync::Arc};

use k8s_cel::{CompileError, Declaration, Environment, Origin, Program};
use kube_validation::{FieldError, FieldPath, go};
use serde_json::{Value, json};

use crate::{
    field_path,
    schema::{AdditionalProperties, ListType, Rule, RuleDefinition, Rules, Schema, SchemaType},
};

/// The kube-apiserver whose rules these are: 1.`MINOR`.
const MINOR: u32 = 37;
/// The maximum cost of one rule, over all values that an object can have under its schema: kube-apiserver's
/// `StaticEstimatedCostLimit`.
const RULE_LIMIT: u64 = 10_000_000;
/// The maximum cost of all rules of a schema together: its `StaticEstimatedCRDCostLimit`.
const TOTAL_LIMIT: u64 = 100_000_000;
/// The maximum number of rules that are named if the total cost is too high.
const NAMED_MAX: usize = 4;

/// Compiles the rules of a schema and of the schemas inside it. The paths of errors are below `path`.
///
/// A rule that `previous` has in the same place, with the same declarations, is not compiled again. The rules of schemas
/// whose path is in `unreported` are compiled without errors.
pub(crate) fn compile(
    schema: &mut Schema,
    openapi: &Value,
    previous: Option<&Schema>,
    path: &FieldPath<'_>,
    unreported: &BTreeSet<String>,
) -> Vec<FieldError> {
    let mut compiler = Compiler { unreported, found: Found::default() };
    if has_definitions(schema) {
        let declaration = Declaration::from_openapi(openapi, true);
        let place = Place { uncorrelatable: None, times: Some(1) };
        compiler.node(schema, &declaration, previous, path, place);
    }
    let Found { mut errors, total, mut expensive } = compiler.found;
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

fn has_definitions(schema: &Schema) -> bool {
    !schema.definitions.is_empty()
        || schema.properties.values().any(has_definitions)
        || schema.items.as_deref().is_some_and(has_definitions)
        || schema
            .additional_properties
            .as_ref()
            .and_then(AdditionalProperties::schema)
            .is_some_and(has_definitions)
}

struct Compiler<'a> {
    unreported: &'a BTreeSet<String>,
    found: Found,
}

/// What rules are refused for.
#[derive(Default)]
struct Found {
    errors: Vec<FieldError>,
    /// The total cost of all rules.
    total: u64,
    /// The rules that cost at least a hundredth of the total limit.
    expensive: Vec<(u64, String)>,
}

/// Where a schema is.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The first ancestor inside which old values cannot be determined.
    uncorrelatable: Option<&'a str>,
    /// The number of such values that an object can have; `None` if no limit is declared.
    times: Option<u64>,
}

impl Compiler<'_> {
    fn node(
        &mut self,
        schema: &mut Schema,
        declaration: &Declaration,
        previous: Option<&Schema>,
        path: &FieldPath<'_>,
        place: Place<'_>,
    ) {
        let count = |max: Option<i64>| max.map(|max| u64::try_from(max).unwrap_or_default());
        let inside = match schema.kind {
            Some(SchemaType::Array) => count(schema.checks.max_items),
            Some(SchemaType::Object) if schema.additional_properties.is_some() => {
                count(schema.checks.max_properties)
            }
            _ => Some(1),
        };
        let times = place.times.zip(inside).map(|(times, inside)| times.saturating_mul(inside));
        let inside = Place { times, ..place };
        let mut has_rules = false;
        if let (Some(AdditionalProperties::Schema(values)), Some(declaration)) =
            (&mut schema.additional_properties, declaration.element())
        {
            let previous = previous.and_then(|schema| schema.additional_properties.as_ref()?.schema());
            self.node(values, declaration, previous, &path.child("additionalProperties"), inside);
            has_rules |= values.has_rules();
        }
        let properties = path.child("properties");
        for (name, property) in &mut schema.properties {
            let Some(declaration) = declaration.property(name) else { continue };
            let previous = previous.and_then(|schema| schema.properties.get(name));
            self.node(property, declaration, previous, &properties.key(name), inside);
            has_rules |= property.has_rules();
        }
        let here = path.to_string();
        if let (Some(items), Some(declaration)) = (&mut schema.items, declaration.element()) {
            let uncorrelatable =
                place.uncorrelatable.or((schema.list_type != ListType::Map).then_some(here.as_str()));
            let previous = previous.and_then(|schema| schema.items.as_deref());
            self.node(items, declaration, previous, &path.child("items"), Place { uncorrelatable, ..inside });
            has_rules |= items.has_rules();
        }
        let definitions = std::mem::take(&mut schema.definitions);
        if !definitions.is_empty() {
            let known = previous.and_then(|schema| schema.rules.as_ref());
            let scope = Scope { schema, declaration, known: known.map(Arc::as_ref), place };
            let list = path.child("x-kubernetes-validations");
            let mut unreported = Found::default();
            let found = if self.unreported.contains(&here) { &mut unreported } else { &mut self.found };
            let rules = found.rules(definitions, &scope, &list);
            has_rules |= !rules.is_empty();
            schema.rules = Some(Arc::new(Rules { declaration: declaration.clone(), rules }));
        }
        schema.has_rules = has_rules;
    }
}

impl Found {
    /// Compiles the rules of one schema.
    fn rules(
        &mut self,
        definitions: Vec<RuleDefinition>,
        scope: &Scope<'_>,
        path: &FieldPath<'_>,
    ) -> Vec<Result<Arc<Rule>, String>> {
        if !scope.declaration.is_exposed() {
            let detail = "internal error: failed to construct type information for x-kubernetes-validations rules: \
                          unable to convert structural schema to CEL declarations";
            self.errors.push(FieldError::internal(path, detail));
            let detail = "failed to convert to declType for CEL validation rules";
            return vec![Err(format!("rule compiler initialization error: {detail}"))];
        }
        let definitions = definitions.into_iter().enumerate();
        // Blank rules were refused earlier.
        definitions
            .filter(|(_, definition)| !definition.rule.trim().is_empty())
            .map(|(index, definition)| self.rule(definition, scope, &path.index(index)))
            .collect()
    }

    /// Compiles a rule. The error is that of a default which is validated with it.
    fn rule(
        &mut self,
        definition: RuleDefinition,
        scope: &Scope<'_>,
        path: &FieldPath<'_>,
    ) -> Result<Arc<Rule>, String> {
        let at_rule = path.child("rule");
        let (program, message) = match scope.known(&definition) {
            Some(known) => (Arc::clone(&known.program), known.message.clone()),
            None => {
                let program = match scope.compile(&definition.rule, "bool", &definition) {
                    Ok(program) => Arc::new(program),
                    Err(error) => {
                        let is_checked = matches!(error, CompileError::Instantiation(_));
                        let detail = match error {
                            CompileError::Result(_) => "cel expression must evaluate to a bool".to_owned(),
                            CompileError::Instantiation(error) => {
                                format!("program instantiation failed: {error}")
                            }
                            error => format!("compilation failed: {error}"),
                        };
                        self.errors.push(invalid(&definition, at_rule, &detail));
                        // A rule that does not compile uses nothing, unless it failed after the check of its types.
                        let uses_old_self = is_checked && definition.rule.contains("oldSelf");
                        self.check_optional_old_self(&definition, uses_old_self, path);
                        return Err(format!("rule compile error: {detail}"));
                    }
                };
                (program, None)
            }
        };
        // Without declared limits, the size of a request bounds the number of values.
        let times = scope.place.times.unwrap_or_else(|| scope.declaration.max_cardinality());
        self.charge(&at_rule, "estimated rule cost", program.max_cost().saturating_mul(times));
        let message = match message {
            None if definition.message_expression.trim().is_empty() => None,
            Some(known) => Some(known),
            None => {
                let at_message = path.child("messageExpression");
                match scope.compile(&definition.message_expression, "string", &definition) {
                    Ok(program) => Some(Arc::new(program)),
                    Err(error) => {
                        let detail = match error {
                            CompileError::Result(_) => {
                                "messageExpression must evaluate to a string".to_owned()
                            }
                            CompileError::Instantiation(error) => {
                                format!("messageExpression instantiation failed: {error}")
                            }
                            error => format!("messageExpression compilation failed: {error}"),
                        };
                        self.errors.push(invalid(&definition, at_message, &detail));
                        None
                    }
                }
            }
        };
        if let Some(message) = &message {
            self.charge(
                &path.child("messageExpression"),
                "estimated messageExpression cost",
                message.max_cost(),
            );
        }
        let uses_old_self = program.uses("oldSelf");
        if let (true, Some(ancestor)) = (uses_old_self, scope.place.uncorrelatable) {
            let detail = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {ancestor}"
            );
            self.errors.push(FieldError::invalid(at_rule, &definition.rule.clone().into(), &detail));
        }
        self.check_optional_old_self(&definition, uses_old_self, path);
        let field = match definition.field_path.trim() {
            "" => String::new(),
            // Invalid paths were refused earlier.
            field => field_path::resolve(field, scope.schema, true).map(|(path, _)| path).unwrap_or_default(),
        };
        Ok(Arc::new(Rule { definition, program, message, uses_old_self, field }))
    }

    /// Refuses `optionalOldSelf` in a rule that does not use `oldSelf`.
    fn check_optional_old_self(
        &mut self,
        definition: &RuleDefinition,
        uses_old_self: bool,
        path: &FieldPath<'_>,
    ) {
        let Some(optional) = definition.optional_old_self.filter(|_| !uses_old_self) else { return };
        let detail = "may not be set if oldSelf is not used in rule";
        self.errors.push(FieldError::invalid(path.child("optionalOldSelf"), &optional.into(), detail));
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
struct Scope<'a> {
    schema: &'a Schema,
    declaration: &'a Declaration,
    /// The rules of the schema that this one replaces.
    known: Option<&'a Rules>,
    place: Place<'a>,
}

impl Scope<'_> {
    /// The same rule of the schema that this one replaces.
    fn known(&self, definition: &RuleDefinition) -> Option<&Rule> {
        let rules = self.known.filter(|known| known.declaration == *self.declaration)?;
        rules.rules.iter().flatten().map(Arc::as_ref).find(|rule| {
            let known = &rule.definition;
            (&known.rule, &known.message_expression, known.optional_old_self)
                == (&definition.rule, &definition.message_expression, definition.optional_old_self)
        })
    }

    /// Compiles an expression whose type must be `result`.
    fn compile(
        &self,
        text: &str,
        result: &str,
        definition: &RuleDefinition,
    ) -> Result<Program, CompileError> {
        // A rule of the stored schema may use everything, even if what it is about has changed.
        let is_stored = self.known.is_some_and(|known| {
            known
                .rules
                .iter()
                .flatten()
                .any(|rule| text == rule.definition.rule || text == rule.definition.message_expression)
        });
        let origin = if is_stored { Origin::Stored } else { Origin::New };
        let environment = Environment::kubernetes(MINOR, origin).with_variable("self", self.declaration);
        let environment = if definition.optional_old_self == Some(true) {
            environment.with_optional_variable("oldSelf", self.declaration)
        } else {
            environment.with_variable("oldSelf", self.declaration)
        };
        // `bool` and `string` are types.
        Program::compile(text, &environment.clone().with_result(result).unwrap_or(environment))
    }
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

/// The error of a rule, with the rule as kube-apiserver prints it: the fields are in the order of Go's struct.
fn invalid(definition: &RuleDefinition, path: FieldPath<'_>, detail: &str) -> FieldError {
    let fields = [
        ("Rule", json!(definition.rule)),
        ("Message", json!(definition.message)),
        ("MessageExpression", json!(definition.message_expression)),
        ("Reason", json!(definition.reason)),
        ("FieldPath", json!(definition.field_path)),
        ("OptionalOldSelf", json!(definition.optional_old_self)),
    ];
    let fields = fields.map(|(field, value)| format!("\"{field}\":{}", go::json(&value)));
    FieldError::invalid_shown(path, &format!("{{{}}}", fields.join(",")), detail)
}
