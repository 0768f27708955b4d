//! Compares with the recorded responses of a real kube-apiserver (1.37.2) to the same schemas and objects: the stored object
//! and the warnings, or the causes of the refusal. The order of causes is compared only for whole definitions.

use kube_validation::FieldError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Schema, crd};

#[derive(Deserialize)]
struct Case {
    name: String,
    schema: Value,
    /// The `spec` that is written.
    new: Value,
    /// The `spec` that was stored before, under a less strict schema.
    old: Option<Value>,
    stored: Option<Value>,
    errors: Option<Vec<Cause>>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Cause {
    reason: String,
    field: String,
    message: String,
}

impl From<FieldError> for Cause {
    fn from(error: FieldError) -> Self {
        Self { reason: error.reason.as_str().to_owned(), field: error.field, message: error.message }
    }
}

#[test]
fn schemas_answer_as_kube_apiserver_does() {
    check(include_str!("answers.json"));
}

#[cfg(feature = "cel")]
#[test]
fn rules_answer_as_kube_apiserver_does() {
    check(include_str!("answers_rules.json"));
}

/// Writes to `/status`.
#[cfg(feature = "cel")]
#[test]
fn statuses_answer_as_kube_apiserver_does() {
    #[derive(Deserialize)]
    struct Status {
        name: String,
        schema: Value,
        new: Value,
        old: Option<Value>,
        #[serde(default)]
        errors: Vec<Cause>,
    }
    let cases: Vec<Status> = serde_json::from_str(include_str!("answers_status.json")).unwrap();
    let mut wrong = Vec::new();
    for mut case in cases {
        let schema = Schema::parse(&case.schema, "schema").unwrap();
        let object = |status: Option<Value>| {
            let mut object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": {}});
            if let Some(status) = status {
                object["status"] = status;
            }
            object
        };
        let mut new = object(Some(case.new));
        schema.prune(&mut new);
        schema.apply_defaults(&mut new);
        let found = schema.validate_status(&new, &object(case.old), None, Vec::new()).errors;
        let mut errors: Vec<Cause> = found.into_iter().map(Cause::from).collect();
        errors.sort();
        case.errors.sort();
        if errors != case.errors {
            wrong.push(format!("{}\n  real: {:?}\n  ours: {errors:?}", case.name, case.errors));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Schemas that kube-apiserver refuses, and a few that it accepts.
#[cfg(feature = "cel")]
#[test]
fn schemas_are_refused_as_kube_apiserver_does() {
    #[derive(Deserialize)]
    struct Refusal {
        name: String,
        schema: Value,
        #[serde(default)]
        errors: Vec<Cause>,
    }
    let cases: Vec<Refusal> = serde_json::from_str(include_str!("refusals.json")).unwrap();
    let mut wrong = Vec::new();
    for mut case in cases {
        let errors =
            Schema::parse(&case.schema, "spec.validation.openAPIV3Schema").err().unwrap_or_default().0;
        let mut errors: Vec<Cause> = errors.into_iter().map(Cause::from).collect();
        errors.sort();
        case.errors.sort();
        if errors != case.errors {
            wrong.push(format!("{}\n  real: {:?}\n  ours: {errors:?}", case.name, case.errors));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whole CustomResourceDefinitions.
#[test]
fn crds_are_refused_as_kube_apiserver_does() {
    #[derive(Deserialize)]
    struct Refusal {
        name: String,
        crd: Value,
        #[serde(default)]
        errors: Vec<Cause>,
    }
    let cases: Vec<Refusal> = serde_json::from_str(include_str!("crds.json")).unwrap();
    let mut wrong = Vec::new();
    for mut case in cases {
        crd::apply_defaults(&mut case.crd);
        let errors: Vec<_> = crd::validate(&case.crd).into_iter().map(Cause::from).collect();
        if errors != case.errors {
            wrong.push(format!("{}\n  real: {:?}\n  ours: {errors:?}", case.name, case.errors));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_webhook_has_a_port_and_keeps_its_review_versions() {
    let mut crd = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
        "clientConfig": {"service": {"name": "a", "namespace": "b"}}, "conversionReviewVersions": ["v2"],
    }}}});
    crd::apply_defaults(&mut crd);
    assert_eq!(crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"], 443);
    let refused = |errors: Vec<FieldError>| {
        errors.iter().any(|error| error.field == "spec.conversion.conversionReviewVersions")
    };
    assert!(refused(crd::validate(&crd)));
    assert!(!refused(crd::validate_update(&crd, &crd, true)));
}

/// Whole CustomResourceDefinitions with several versions, which are accepted.
#[test]
fn crds_are_warned_about_as_by_kube_apiserver() {
    #[derive(Deserialize)]
    struct Warned {
        name: String,
        /// The schemas of the versions.
        new: Vec<Value>,
        old: Option<Vec<Value>>,
        warnings: Vec<String>,
    }
    let cases: Vec<Warned> = serde_json::from_str(include_str!("warnings.json")).unwrap();
    let definition = |schemas: Vec<Value>| {
        let version = |schema| json!({"schema": {"openAPIV3Schema": schema}});
        json!({"spec": {"versions": schemas.into_iter().map(version).collect::<Vec<_>>()}})
    };
    for case in cases {
        let warnings = crd::warnings(&definition(case.new), case.old.map(definition).as_ref());
        assert_eq!(warnings, case.warnings, "{}", case.name);
    }
}

fn check(recorded: &str) {
    let cases: Vec<Case> = serde_json::from_str(recorded).unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let schema = match Schema::parse(&case.schema, "schema") {
            Ok(schema) => schema,
            Err(errors) => {
                wrong.push(format!("{}: {errors:?}", case.name));
                continue;
            }
        };
        let object = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec});
        let mut new = object(case.new);
        let mut warnings: Vec<_> =
            schema.prune(&mut new).iter().map(|path| format!("unknown field {}", json!(path))).collect();
        schema.apply_defaults(&mut new);
        let crate::Validation { errors, warnings: ratcheted } =
            schema.validate(&new, case.old.map(object).as_ref(), None, Vec::new());
        let mut errors: Vec<Cause> = errors.into_iter().map(Cause::from).collect();
        warnings.extend(ratcheted);
        let mut expected = case.errors.unwrap_or_default();
        errors.sort();
        expected.sort();
        let stored = errors.is_empty().then(|| go_numbers(new["spec"].take()));
        if (&stored, &errors, &warnings) != (&case.stored, &expected, &case.warnings) {
            wrong.push(format!(
                "{}\n  real: {:?} {expected:?} {:?}\n  ours: {stored:?} {errors:?} {warnings:?}",
                case.name, case.stored, case.warnings
            ));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Go encodes a float without a fraction as an integer. That is up to the encoder, not to the schema.
fn go_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation)]
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => json!(float as i64),
            _ => number.into(),
        },
        Value::Array(list) => list.into_iter().map(go_numbers).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, go_numbers(value))).collect(),
        other => other,
    }
}
