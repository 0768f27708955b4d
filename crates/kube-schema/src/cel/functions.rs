//! The functions that rules may call, and the names that they may use.

use std::sync::{Arc, LazyLock};

use kube_cel::{
    KubeCelExt,
    cel::{Context, ExecutionError, Value as Cel},
};

use super::patterns;

/// The functions that rules may call.
pub(super) static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut context = Context::default().with_all();
    patterns::register(&mut context);
    // The interpreter has no type values, so a type is represented by its name.
    context.add_function("type", |value: Cel| Arc::new(type_name(&value).to_owned()));
    context.add_function("dyn", |value: Cel| Ok::<_, ExecutionError>(value));
    for name in TYPES {
        context.add_variable_from_value(name, Cel::String(Arc::new(name.to_owned())));
    }
    context
});

/// The names of types, with which rules may compare.
pub(super) const TYPES: [&str; 11] =
    ["bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "uint"];

fn type_name(value: &Cel) -> &'static str {
    match value {
        Cel::Bool(_) => "bool",
        Cel::Bytes(_) => "bytes",
        Cel::Float(_) => "double",
        Cel::Duration(_) => "duration",
        Cel::Int(_) => "int",
        Cel::List(_) => "list",
        Cel::Map(_) => "map",
        Cel::Null => "null_type",
        Cel::String(_) => "string",
        Cel::Timestamp(_) => "timestamp",
        Cel::UInt(_) => "uint",
        Cel::Function(..) | Cel::Opaque(_) => "",
    }
}

/// Returns whether names of functions may start with this one.
pub(super) fn is_namespace(name: &str) -> bool {
    matches!(
        name,
        "base64" | "cel" | "cidr" | "format" | "google" | "ip" | "math" | "optional" | "sets" | "strings"
    )
}
