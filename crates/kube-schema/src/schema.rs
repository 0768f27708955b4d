//! A structural schema as data. The modules that use it implement its effect on objects.

use std::collections::BTreeMap;

use kube_validation::go;
use serde_json::Value;

/// A structural schema, parsed from `spec.versions[*].schema.openAPIV3Schema`.
///
/// The schemas under `all_of`, `any_of`, `one_of` and `not` only validate: they have neither defaults nor extensions.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// `type`. `None` with `int_or_string`, with `preserve_unknown_fields`, and in a nested schema.
    pub(crate) kind: Option<SchemaType>,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,

    pub(crate) properties: BTreeMap<String, Schema>,
    pub(crate) additional_properties: Option<AdditionalProperties>,
    pub(crate) items: Option<Box<Schema>>,

    /// `x-kubernetes-preserve-unknown-fields`
    pub(crate) preserve_unknown_fields: bool,
    /// `x-kubernetes-embedded-resource`
    pub(crate) embedded_resource: bool,
    /// `x-kubernetes-int-or-string`
    pub(crate) int_or_string: bool,
    /// `x-kubernetes-list-type`
    pub(crate) list_type: ListType,
    /// `x-kubernetes-list-map-keys`, in the order of the schema.
    pub(crate) list_map_keys: Vec<String>,

    /// The value validations that apply here.
    pub(crate) checks: Checks,

    /// `x-kubernetes-validations` until they are compiled.
    pub(crate) definitions: Vec<RuleDefinition>,
    #[cfg(feature = "cel")]
    pub(crate) rules: Option<std::sync::Arc<Rules>>,
    /// Whether this schema or one inside it has rules.
    pub(crate) has_rules: bool,
}

/// `type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaType {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
}

/// `additionalProperties`
#[derive(Clone, Debug)]
pub(crate) enum AdditionalProperties {
    /// `true` or `false`: values without a schema, which pruning empties.
    Any(bool),
    /// Values with a schema.
    Schema(Box<Schema>),
}

impl AdditionalProperties {
    /// Returns the schema of a value, if there is one.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        match self {
            Self::Any(_) => None,
            Self::Schema(schema) => Some(schema),
        }
    }
}

/// `x-kubernetes-list-type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// The default.
    #[default]
    Atomic,
    Set,
    Map,
}

/// Value validations, which restrict a value without describing its structure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) format: Option<String>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) minimum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) max_length: Option<i64>,
    pub(crate) min_length: Option<i64>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) max_items: Option<i64>,
    pub(crate) min_items: Option<i64>,
    pub(crate) max_properties: Option<i64>,
    pub(crate) min_properties: Option<i64>,
    pub(crate) required: Vec<String>,
    /// Any value is allowed if this is empty.
    pub(crate) r#enum: Vec<Value>,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) not: Option<Box<Schema>>,
}

/// `pattern`
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    pub(crate) regex: go::regex::Pattern,
}

/// A rule as the schema defines it.
#[derive(Clone, Debug, Default)]
#[cfg_attr(not(feature = "cel"), expect(dead_code, reason = "without CEL a rule is read only to be refused"))]
pub(crate) struct RuleDefinition {
    pub(crate) rule: String,
    pub(crate) message: String,
    pub(crate) message_expression: String,
    pub(crate) reason: Option<String>,
    pub(crate) field_path: String,
    pub(crate) optional_old_self: Option<bool>,
}

/// The rules of a schema, compiled for its declaration.
#[cfg(feature = "cel")]
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) declaration: k8s_cel::Declaration,
    /// A rule that does not compile is its error: the schema is refused, but its defaults are validated before.
    pub(crate) rules: Vec<Result<std::sync::Arc<Rule>, String>>,
}

/// A compiled rule.
#[cfg(feature = "cel")]
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) definition: RuleDefinition,
    pub(crate) program: std::sync::Arc<k8s_cel::Program>,
    /// `messageExpression`
    pub(crate) message: Option<std::sync::Arc<k8s_cel::Program>>,
    pub(crate) uses_old_self: bool,
    /// `fieldPath` in the form that errors use, relative to the schema; empty if it is not set.
    pub(crate) field: String,
}

impl Schema {
    /// Returns the schema of the property `name` of an object.
    pub(crate) fn property(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or_else(|| self.additional_properties.as_ref()?.schema())
    }

    #[cfg(feature = "cel")]
    pub(crate) fn has_rules(&self) -> bool {
        self.has_rules
    }
}
