//! What a value may be, and how it merges: structured-merge-diff's `schema.Atom`, read from where the type is described.

use serde_json::Value;

use super::builtin::{self, Field};
use crate::schema::{self, ListType, Schema};

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type<'a> {
    /// By a structural schema.
    Custom {
        /// What it says.
        schema: &'a Schema,
        /// Something above keeps unknown fields.
        preserve: bool,
        /// It has `apiVersion`, `kind` and `metadata`: the root, or an embedded resource.
        resource: bool,
    },
    /// By kube-apiserver's OpenAPI document.
    Builtin(&'static Field),
    /// A scalar of a known kind.
    Scalar(Scalar),
    /// The type that a value shows: maps merge by key, lists are atomic (`__untyped_deduced_`).
    Deduced,
    /// The same for a root without a schema, which still has ObjectMeta under `metadata`.
    DeducedResource,
    /// Anything, as one (`__untyped_atomic_`).
    Atomic,
}

/// What values a type admits; more than one form where the schema has no `type`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Atom<'a> {
    pub(super) scalar: Option<Scalar>,
    pub(super) list: Option<List<'a>>,
    pub(super) map: Option<Map<'a>>,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Number,
    String,
    Boolean,
    Any,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    pub(super) relation: Relation<'a>,
    pub(super) element: Type<'a>,
}

/// How the items of a list belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Relation<'a> {
    /// The list is one value.
    Atomic,
    /// Each item is one, known by itself.
    Set,
    /// Each item is an object, known by these of its fields.
    Map(&'a [String]),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Map<'a> {
    pub(super) atomic: bool,
    members: Members<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Members<'a> {
    Custom {
        schema: &'a Schema,
        preserve: bool,
        resource: bool,
    },
    Struct(&'static builtin::Struct),
    /// A map whose values are all of one type, on which no name is a field's.
    Values(Type<'a>),
    DeducedResource,
}

impl<'a> Type<'a> {
    /// All forms that the type admits.
    pub(super) fn atom(self) -> Atom<'a> {
        match self {
            Self::Custom { schema, preserve, resource } => custom(schema, preserve, resource),
            Self::Builtin(field) => builtin_atom(field, None),
            Self::Scalar(scalar) => Atom { scalar: Some(scalar), ..Atom::default() },
            Self::Deduced => any(Type::Deduced, false),
            Self::DeducedResource => Atom {
                map: Some(Map { atomic: false, members: Members::DeducedResource }),
                ..Atom::default()
            },
            Self::Atomic => any(Type::Atomic, true),
        }
    }

    /// The form that a value has, if the type admits it; else all, so that validation can tell.
    pub(super) fn atom_of(self, value: Option<&Value>) -> Atom<'a> {
        let atom = self.atom();
        match value {
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if atom.scalar.is_some() => {
                Atom { scalar: atom.scalar, ..Atom::default() }
            }
            Some(Value::Array(_)) if atom.list.is_some() => Atom { list: atom.list, ..Atom::default() },
            Some(Value::Object(_)) if atom.map.is_some() => Atom { map: atom.map, ..Atom::default() },
            _ => atom,
        }
    }
}

impl<'a> Map<'a> {
    /// The type of the value under `name`, and whether the name is a field's. None: there is no such field.
    pub(super) fn member(self, name: &str) -> Option<(Type<'a>, bool)> {
        match self.members {
            Members::Values(value) => Some((value, false)),
            Members::Struct(kind) => kind.fields.get(name).map(|field| (Type::Builtin(field), true)),
            Members::DeducedResource if name == "metadata" => {
                Some((Type::Builtin(builtin::object_meta()), true))
            }
            Members::DeducedResource => Some((Type::Deduced, false)),
            Members::Custom { schema, preserve, resource } => {
                match name {
                    "apiVersion" | "kind" if resource => return Some((Type::Scalar(Scalar::String), true)),
                    "metadata" if resource => return Some((Type::Builtin(builtin::object_meta()), true)),
                    _ => {}
                }
                let typed = |schema: &'a Schema| Type::Custom {
                    schema,
                    preserve: preserve || schema.preserve_unknown_fields,
                    resource: schema.embedded_resource,
                };
                if let Some(property) = schema.properties.get(name) {
                    return Some((typed(property), true));
                }
                match &schema.additional_properties {
                    Some(schema::AdditionalProperties::Schema(values)) => Some((typed(values), false)),
                    Some(schema::AdditionalProperties::Any(true)) => Some((Type::Deduced, false)),
                    Some(schema::AdditionalProperties::Any(false)) => None,
                    None if preserve || (schema.properties.is_empty() && !resource) => {
                        Some((Type::Deduced, false))
                    }
                    None => None,
                }
            }
        }
    }

    /// What a field is when it is left out.
    pub(super) fn default_of(self, name: &str) -> Option<Value> {
        match self.members {
            Members::Custom { schema, .. } => schema.properties.get(name)?.default.clone(),
            Members::Struct(kind) => kind.defaults.get(name).map(|text| (*text).into()),
            _ => None,
        }
    }

    /// Whether it has no fields and takes any value, so that nothing is known of what is atomic in it.
    pub(super) fn is_untyped(self) -> bool {
        match self.members {
            Members::Values(Type::Deduced) => true,
            Members::Custom { schema, resource, .. } => {
                !resource
                    && schema.properties.is_empty()
                    && matches!(self.member(""), Some((Type::Deduced, _)))
            }
            _ => false,
        }
    }
}

fn any(value: Type<'_>, atomic: bool) -> Atom<'_> {
    Atom {
        scalar: Some(Scalar::Any),
        list: Some(List { relation: Relation::Atomic, element: Type::Atomic }),
        map: Some(Map { atomic, members: Members::Values(value) }),
    }
}

/// As `k8s.io/kube-openapi/pkg/schemaconv` converts a CRD's schema.
fn custom(schema: &Schema, preserve: bool, resource: bool) -> Atom<'_> {
    let preserve = preserve || schema.preserve_unknown_fields;
    let map = Map { atomic: schema.map_atomic, members: Members::Custom { schema, preserve, resource } };
    let list = || List {
        relation: match schema.list_type {
            ListType::Atomic => Relation::Atomic,
            ListType::Set => Relation::Set,
            ListType::Map => Relation::Map(&schema.list_map_keys),
        },
        element: schema.items.as_deref().map_or(Type::Atomic, |items| Type::Custom {
            schema: items,
            preserve,
            resource: items.embedded_resource,
        }),
    };
    let scalar = |scalar| Atom { scalar: Some(scalar), ..Atom::default() };
    match schema.kind {
        Some(schema::Type::Object) => Atom { map: Some(map), ..Atom::default() },
        Some(schema::Type::Array) => Atom { list: Some(list()), ..Atom::default() },
        Some(schema::Type::Boolean) => scalar(Scalar::Boolean),
        Some(schema::Type::Integer | schema::Type::Number) => scalar(Scalar::Number),
        Some(schema::Type::String) => match schema.checks.format.as_deref() {
            None | Some("" | "byte") => scalar(Scalar::String),
            Some(_) => scalar(Scalar::Any),
        },
        None => Atom { scalar: Some(Scalar::Any), list: Some(list()), map: Some(map) },
    }
}

/// `atomic`: what the reference to the type says over the type.
fn builtin_atom(field: &'static Field, atomic: Option<bool>) -> Atom<'static> {
    let map = |own: bool, members| Atom {
        map: Some(Map { atomic: atomic.unwrap_or(own), members }),
        ..Atom::default()
    };
    match field {
        Field::Simple(simple) => match simple {
            builtin::Simple::Any => any(Type::Deduced, false),
            builtin::Simple::Atomic => any(Type::Atomic, true),
            builtin::Simple::Boolean => Type::Scalar(Scalar::Boolean).atom(),
            builtin::Simple::Number => Type::Scalar(Scalar::Number).atom(),
            builtin::Simple::Scalar => Type::Scalar(Scalar::Any).atom(),
            builtin::Simple::String => Type::Scalar(Scalar::String).atom(),
        },
        // References lead to a type at once, never to another reference.
        Field::Ref { name, atomic: over, .. } => {
            builtin::named(name).map_or_else(|| any(Type::Deduced, false), |named| builtin_atom(named, *over))
        }
        Field::Struct(kind) => map(kind.atomic, Members::Struct(kind)),
        Field::Map { map: value, atomic } => map(*atomic, Members::Values(Type::Builtin(value))),
        Field::List(list) => Atom {
            list: Some(List { relation: list.relation(), element: Type::Builtin(&list.list) }),
            ..Atom::default()
        },
    }
}
