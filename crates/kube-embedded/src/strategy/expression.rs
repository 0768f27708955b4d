//! Compiles the CEL expressions of webhooks and admission policies, as kube-apiserver does when they are written.

use k8s_cel::{CompileError, Environment, Origin, Program};
use kube_builtin::validate::{Expression, Purpose};

/// The version of kube-apiserver whose functions an expression can use.
pub(crate) const MINOR: u32 = 37;

/// Compiles the expressions of one object, and keeps its variables.
#[derive(Default)]
pub(super) struct Compiler {
    variables: Vec<(String, Result<Program, CompileError>)>,
    /// Whether the object is a policy that declares variables, or that mutates.
    has_variables: bool,
}

impl Compiler {
    /// `kind`: the kind of the object.
    pub(super) fn new(kind: &str, object: &serde_json::Value) -> Self {
        let declares = object["spec"]["variables"].as_array().is_some_and(|all| !all.is_empty());
        Self { has_variables: declares || kind == "MutatingAdmissionPolicy", ..Self::default() }
    }

    /// Compiles the next expression. The error is kube-apiserver's message.
    pub(super) fn compile(&mut self, expression: &Expression<'_>) -> Result<(), String> {
        if expression.purpose == Purpose::DeviceSelector && binds(expression.text) {
            return Ok(());
        }
        let compiled = Program::compile(expression.text, &self.environment(expression));
        if expression.purpose == Purpose::DeviceSelector {
            return selector(compiled.as_ref());
        }
        let checked = compiled.as_ref().map_err(message).and_then(|program| {
            let found = match program.result_type() {
                // cel-go has two names for it.
                null if null == "null" => "null_type".to_owned(),
                found => found,
            };
            match types(expression.purpose) {
                [] => Ok(()),
                all if all.contains(&found.as_str()) => Ok(()),
                [one] => Err(format!("must evaluate to {one} but got {found}")),
                all => Err(format!("must evaluate to one of [{}] but got {found}", all.join(" "))),
            }
        });
        if let Purpose::Variable(name) = expression.purpose {
            self.variables.push((name.to_owned(), compiled));
        }
        checked
    }

    fn environment(&self, expression: &Expression<'_>) -> Environment {
        let origin = if expression.is_stored { Origin::Stored } else { Origin::New };
        if expression.purpose == Purpose::DeviceSelector {
            return device(origin);
        }
        let mut environment = match expression.purpose {
            Purpose::JsonPatch | Purpose::ApplyConfiguration => Environment::mutating_policy(MINOR, origin),
            _ => Environment::policy(MINOR, origin),
        };
        if expression.has_params {
            environment = environment.with_params();
        }
        if expression.purpose != Purpose::Message {
            environment = environment.with_authorizer();
        }
        // Conditions are checked before the variables are known.
        if self.has_variables && expression.purpose != Purpose::MatchCondition {
            environment = environment.with_policy_variables();
            for (name, compiled) in &self.variables {
                environment = environment.with_policy_variable(name, compiled.as_ref());
            }
        }
        environment
    }
}

/// The environment of a selector of devices. kube-apiserver has an object `device`, whose fields are variables here.
fn device(origin: Origin) -> Environment {
    const FIELDS: [(&str, &str); 4] = [
        ("device.driver", "string"),
        ("device.attributes", "map(string, map(string, dyn))"),
        ("device.capacity", "map(string, map(string, kubernetes.Quantity))"),
        ("device.allowMultipleAllocations", "bool"),
    ];
    FIELDS.into_iter().fold(Environment::kubernetes(MINOR, origin), |environment, (name, declared)| {
        environment.clone().with_typed_variable(name, declared).unwrap_or(environment)
    })
}

/// Whether a selector of devices has a local variable, which only these expressions can have. It is not compiled.
fn binds(text: &str) -> bool {
    text.contains("cel.bind")
}

/// Checks the type of a selector of devices. Those of attributes are only known when it is evaluated.
fn selector(compiled: Result<&Program, &CompileError>) -> Result<(), String> {
    let found = compiled.map_err(message)?.result_type();
    match found.as_str() {
        "bool" | "dyn" => Ok(()),
        _ => Err(format!("must evaluate to bool or the unknown type, not {found}")),
    }
}

fn message(error: &CompileError) -> String {
    match error {
        CompileError::Instantiation(why) => format!("program instantiation failed: {why}"),
        error => format!("compilation failed: {error}"),
    }
}

/// Returns the types that an expression may have; none if it may have any.
fn types(purpose: Purpose<'_>) -> &'static [&'static str] {
    match purpose {
        Purpose::MatchCondition | Purpose::Validation => &["bool"],
        Purpose::Message => &["string"],
        Purpose::AuditAnnotation => &["string", "null_type"],
        Purpose::JsonPatch => &["list(JSONPatch)"],
        Purpose::ApplyConfiguration => &["Object"],
        _ => &[],
    }
}
