//! Properties of all schemas and objects, tested with generated ones.

use kube_validation::FieldError;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{Schema, crd};

/// Generates any JSON, with names that also occur in the schemas.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..300).prop_map(Value::from),
        (-2.0..2.0_f64).prop_map(Value::from),
        "[a-c0-9:/-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..4)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "apiVersion", "kind", "metadata", "spec", "name", "labels"])
        .prop_map(str::to_owned)
}

/// Generates a schema that is structural, or nearly so.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "string", "default": "a"})),
        Just(json!({"type": "string", "minLength": 1, "nullable": true})),
        Just(json!({"type": "string", "format": "date"})),
        Just(json!({"type": "integer", "maximum": 9, "default": 1})),
        Just(json!({"type": "number", "multipleOf": 0.5})),
        Just(json!({"type": "boolean", "enum": [true]})),
        Just(json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self != 3 || 1 / self > 0"}]})),
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
        Just(
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true})
        ),
    ];
    let nested = leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.clone().prop_map(|values| json!({"type": "object", "additionalProperties": values})),
            fields(inner.clone()).prop_map(|fields| json!({"type": "object", "properties": fields})),
            fields(inner.clone()).prop_map(|fields| json!({"type": "object", "properties": fields, "default": {}})),
            fields(inner.clone()).prop_map(|fields| json!({"type": "object", "properties": fields, "required": ["a"]})),
            inner.prop_map(|key| json!({
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
                "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": key}},
            })),
        ]
    });
    fields(nested).prop_map(
        |fields| json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}),
    )
}

fn fields(schema: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), schema), 0..3).prop_map(|fields| {
        fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect::<Map<_, _>>().into()
    })
}

fn errors_of(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    schema.validate(new, old, None, Vec::new()).errors
}

fn object(spec: impl Into<Value>) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec.into()})
}

proptest! {
    #[test]
    fn pruning_and_defaulting_are_idempotent(schema in any_schema(), spec in any_json()) {
        let Ok(schema) = Schema::parse(&schema, "schema") else { return Ok(()) };
        let mut once = object(spec);
        schema.prune(&mut once);
        let mut twice = once.clone();
        prop_assert_eq!(schema.prune(&mut twice), Vec::<String>::new());
        prop_assert_eq!(&twice, &once);

        schema.apply_defaults(&mut once);
        let mut twice = once.clone();
        schema.apply_defaults(&mut twice);
        prop_assert_eq!(&twice, &once);
        // Pruning keeps everything that defaulting adds.
        prop_assert_eq!(schema.prune(&mut twice), Vec::<String>::new());
    }

    #[test]
    fn valid_objects_stay_valid_and_unchanged_values_are_accepted(schema in any_schema(), spec in any_json()) {
        let Ok(schema) = Schema::parse(&schema, "schema") else { return Ok(()) };
        let mut object = object(spec);
        schema.prune(&mut object);
        schema.apply_defaults(&mut object);
        let errors = errors_of(&schema, &object, None);
        prop_assert_eq!(&errors_of(&schema, &object, None), &errors);
        if errors.is_empty() {
            prop_assert_eq!(errors_of(&schema, &object, Some(&object)), vec![]);
        }
        // What is wrong and unchanged is accepted. Then rules are checked that were not, because of it, and may fail.
        let were_checked = !errors.iter().any(|error| error.message.contains("some validation rules were not checked"));
        for error in errors_of(&schema, &object, Some(&object)) {
            prop_assert!(!were_checked || errors.contains(&error), "{} is new", error);
        }
    }

    /// No generated metadata, schema or CRD causes a panic.
    #[test]
    fn garbage_is_an_error(garbage in any_json(), schema in any_schema()) {
        let _ = Schema::parse(&garbage, "schema");
        let crd = json!({
            "metadata": garbage,
            "spec": {
                "group": "example.com", "scope": "Cluster", "names": garbage, "conversion": garbage,
                "versions": [garbage, {"name": "v1", "schema": {"openAPIV3Schema": schema}, "subresources": garbage,
                    "additionalPrinterColumns": [garbage], "selectableFields": [garbage]}],
            },
        });
        prop_assert!(!crd::validate(&crd).is_empty());
        prop_assert!(!crd::validate(&garbage).is_empty());
    }

    #[test]
    fn any_text_is_read_as_path_pattern_or_rule(text in r"[a-z.\[\]'\\(){}?*+|^$&~:\-é ]{0,12}") {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "string", "pattern": text}},
            "x-kubernetes-validations": [{"rule": text, "messageExpression": text, "fieldPath": text}],
        });
        let _ = Schema::parse(&schema, "schema");
    }
}

#[test]
fn a_schema_that_is_too_deep_is_refused() {
    let mut schema = json!({"type": "string"});
    for _ in 0..500 {
        schema = json!({"type": "array", "items": schema});
    }
    let errors = Schema::parse(&schema, "schema").unwrap_err();
    assert!(errors.0[0].message.contains("too deeply"), "{errors:?}");
}

#[cfg(feature = "cel")]
#[test]
fn a_rule_that_costs_too_much_for_an_object_ends_the_validation() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "l": {"type": "array", "maxItems": 1000, "items": {"type": "integer"}},
    }, "x-kubernetes-validations": [
        {"rule": "self.l.all(a, self.l.all(b, a + b > 1))"},
        {"rule": "self.l.all(a, a > 1)"},
    ]}}});
    let schema = Schema::parse(&schema, "schema").unwrap();
    let started = std::time::Instant::now();
    let errors = errors_of(&schema, &object(json!({"l": vec![1; 1000]})), None);
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules \
          will be run due to call cost exceeds limit for rule: self.l.all(a, self.l.all(b, a + b > 1))"
        ]
    );
}

#[cfg(feature = "cel")]
#[test]
fn rules_that_cost_too_much_together_end_the_validation() {
    let rules = vec![json!({"rule": "self.l.all(a, self.l.all(b, a + b > 1))"}); 13];
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "l": {"type": "array", "maxItems": 1000, "items": {"type": "integer"}},
    }, "x-kubernetes-validations": rules}}});
    let schema = Schema::parse(&schema, "schema").unwrap();
    let errors = errors_of(&schema, &object(json!({"l": vec![1; 350]})), None);
    assert_eq!(
        errors.last().map(ToString::to_string).as_deref(),
        Some(
            "spec: Invalid value: \"object\": validation failed due to running out of cost budget, no further validation \
             rules will be run"
        )
    );
    assert!(errors.len() < 13, "{errors:?}");
}

#[cfg(feature = "cel")]
#[test]
fn a_rule_that_stays_is_not_compiled_again() {
    let schema = |description: &str, rule: &str| {
        json!({"type": "object", "description": description, "properties": {"spec": {
            "type": "object", "description": description,
            "properties": {"a": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": rule, "messageExpression": "string(self.a)"}],
        }}})
    };
    let program = |schema: &Schema| {
        let rules = schema.properties["spec"].rules.clone().unwrap();
        std::sync::Arc::clone(&rules.rules[0].as_ref().unwrap().program)
    };
    let first = Schema::parse(&schema("one", "self.a > 1"), "").unwrap();
    let described = Schema::parse_update(&schema("two", "self.a > 1"), "", &first).unwrap();
    assert!(std::sync::Arc::ptr_eq(&program(&first), &program(&described)));
    let changed = Schema::parse_update(&schema("two", "self.a > 2"), "", &described).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&program(&described), &program(&changed)));
}
