//! What an expression can refer to.

use std::{collections::HashMap, sync::Arc};

use super::builtin;
use crate::{
    syntax::Literal,
    types::{Function, Provider, Type},
};

/// The variables, functions and types of an expression.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// The namespace in which names are resolved, such as `google.protobuf`; empty in Kubernetes.
    pub(crate) container: Arc<str>,
    /// Shared by all expressions of a Kubernetes version.
    pub(crate) functions: Arc<HashMap<Arc<str>, Function>>,
    pub(crate) variables: HashMap<Arc<str>, Type>,
    pub(crate) provider: Arc<dyn Provider>,
}

/// What a name refers to.
pub(super) struct Name {
    /// The full name.
    pub(super) name: Arc<str>,
    pub(super) declared: Type,
    pub(super) value: Option<Literal>,
}

impl Environment {
    /// What a name refers to outside of comprehensions.
    pub(super) fn global(&self, name: &str) -> Option<Name> {
        self.in_container(name, |name| {
            let declared = match self.variables.get(name) {
                Some(declared) => Some(declared.clone()),
                None => self.type_named(name).map(Type::type_of),
            };
            let value = if declared.is_none() { Some(builtin::constant(name)?) } else { None };
            Some(Name { name: name.into(), declared: declared.unwrap_or(Type::Int), value })
        })
    }

    /// The type that a name stands for, and its full name.
    pub(crate) fn global_type(&self, name: &str) -> Option<(Arc<str>, Type)> {
        self.in_container(name, |name| Some((name.into(), self.type_named(name)?)))
    }

    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.in_container(name, |name| self.functions.get(name))
    }

    /// The type with a full name.
    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        builtin::identifier(name).or_else(|| {
            self.provider.has_type(name).then(|| match name {
                // Kubernetes' providers have these types by the names of its schemas, too.
                "duration" => Type::Duration,
                "timestamp" => Type::Timestamp,
                _ => Type::object(name),
            })
        })
    }

    /// Looks a name up in the container, in the namespaces around it, and at last as it is. A name with a leading dot is
    /// looked up only as it is.
    pub(crate) fn in_container<T>(&self, name: &str, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        if let Some(absolute) = name.strip_prefix('.') {
            return find(absolute);
        }
        let mut container = &*self.container;
        while !container.is_empty() {
            if let found @ Some(_) = find(&format!("{container}.{name}")) {
                return found;
            }
            container = container.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
        find(name)
    }
}
