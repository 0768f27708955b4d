//! The types of policies' variables: apiserver's `pkg/admission/plugin/cel/compile.go` and `composition.go`.

use std::{collections::BTreeMap, sync::Arc};

use crate::types::{Provider, Type};

/// The type of `variables`.
pub(crate) const VARIABLES: &str = "kubernetes.variables";

/// The fields of an object type, with their types.
type Fields = &'static [(&'static str, &'static str)];

/// The type names of `namespaceObject` and `request`, and of what is in them.
const TYPES: &[(&str, Fields)] = &[
    (
        "kubernetes.AdmissionRequest",
        &[
            ("kind", "kubernetes.GroupVersionKind"),
            ("resource", "kubernetes.GroupVersionResource"),
            ("subResource", "string"),
            ("requestKind", "kubernetes.GroupVersionKind"),
            ("requestResource", "kubernetes.GroupVersionResource"),
            ("requestSubResource", "string"),
            ("name", "string"),
            ("namespace", "string"),
            ("operation", "string"),
            ("userInfo", "kubernetes.UserInfo"),
            ("dryRun", "bool"),
            ("options", "dyn"),
        ],
    ),
    ("kubernetes.GroupVersionKind", &[("group", "string"), ("version", "string"), ("kind", "string")]),
    (
        "kubernetes.GroupVersionResource",
        &[("group", "string"), ("version", "string"), ("resource", "string")],
    ),
    (
        "kubernetes.UserInfo",
        &[
            ("username", "string"),
            ("uid", "string"),
            ("groups", "list(string)"),
            ("extra", "map(string, list(string))"),
        ],
    ),
    (
        "kubernetes.Namespace",
        &[
            ("metadata", "kubernetes.NamespaceMetadata"),
            ("spec", "kubernetes.NamespaceSpec"),
            ("status", "kubernetes.NamespaceStatus"),
        ],
    ),
    (
        "kubernetes.NamespaceMetadata",
        &[
            ("name", "string"),
            ("generateName", "string"),
            ("namespace", "string"),
            ("labels", "map(string, string)"),
            ("annotations", "map(string, string)"),
            ("UID", "string"),
            ("creationTimestamp", "timestamp"),
            ("deletionGracePeriodSeconds", "int"),
            ("deletionTimestamp", "timestamp"),
            ("generation", "int"),
            ("resourceVersion", "string"),
            ("finalizers", "list(string)"),
        ],
    ),
    ("kubernetes.NamespaceSpec", &[("finalizers", "list(string)")]),
    (
        "kubernetes.NamespaceStatus",
        &[("conditions", "list(kubernetes.NamespaceCondition)"), ("phase", "string")],
    ),
    (
        "kubernetes.NamespaceCondition",
        &[
            ("status", "string"),
            ("type", "string"),
            ("lastTransitionTime", "timestamp"),
            ("message", "string"),
            ("reason", "string"),
        ],
    ),
];

/// The object types that policies have beside those of schemas.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyTypes {
    /// The fields of `variables`, if there is such a variable.
    variables: Option<BTreeMap<Arc<str>, Type>>,
    /// Whether the policy is a mutating one.
    mutates: bool,
}

/// Whether a type is one of those that only mutating policies make values of: `JSONPatch`, `Object`, `Object.spec` and so on.
pub(crate) fn is_made(name: &str) -> bool {
    name == "JSONPatch" || is_object(name)
}

fn is_object(name: &str) -> bool {
    name.strip_prefix("Object").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl PolicyTypes {
    pub(crate) fn of_mutations() -> Self {
        Self { mutates: true, ..Self::default() }
    }

    pub(crate) fn declare_variables(&mut self) -> &mut BTreeMap<Arc<str>, Type> {
        self.variables.get_or_insert_default()
    }
}

impl Provider for PolicyTypes {
    fn has_type(&self, name: &str) -> bool {
        TYPES.iter().any(|(known, _)| *known == name)
            || self.mutates && is_made(name)
            || name == VARIABLES && self.variables.is_some()
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        if type_name == VARIABLES {
            return self.variables.as_ref()?.get(field).cloned();
        }
        if self.mutates && is_made(type_name) {
            return match field {
                _ if is_object(type_name) => Some(Type::Dyn),
                "op" | "path" | "from" => Some(Type::String),
                "value" => Some(Type::Dyn),
                _ => None,
            };
        }
        let (_, fields) = TYPES.iter().find(|(known, _)| *known == type_name)?;
        let (_, declared) = fields.iter().find(|(known, _)| *known == field)?;
        Type::parse(declared)
    }
}

/// The type that a field of `variables` has if its expression has this one: objects and values of libraries are dynamic.
pub(crate) fn variable_type(of: &Type) -> Type {
    match of {
        Type::Any
        | Type::Null
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::Duration
        | Type::Timestamp => of.clone(),
        Type::List(element) => Type::list(variable_type(element)),
        Type::Map(entry) => Type::map(variable_type(&entry.0), variable_type(&entry.1)),
        _ => Type::Dyn,
    }
}

#[cfg(test)]
mod tests {
    use super::{TYPES, Type};

    #[test]
    fn every_field_has_a_type_that_exists() {
        fn names(of: &Type, out: &mut Vec<String>) {
            if let Type::Object(name) = of {
                out.push(name.to_string());
            }
            of.parameters().into_iter().for_each(|parameter| names(parameter, out));
        }
        for (_, declared) in TYPES.iter().flat_map(|(_, fields)| *fields) {
            let mut objects = Vec::new();
            names(&Type::parse(declared).unwrap(), &mut objects);
            for name in objects {
                assert!(TYPES.iter().any(|(known, _)| *known == name), "{name}");
            }
        }
    }
}
