//! What an expression can refer to.

use std::{collections::HashMap, sync::Arc};

use crate::types::{Function, Provider, Type};

/// The variables, functions and types of an expression.
#[derive(Clone)]
pub(crate) struct Environment {
    /// The namespace in which names are resolved, such as `google.protobuf`; empty in Kubernetes.
    pub(crate) container: Arc<str>,
    /// Shared by all expressions of a Kubernetes version.
    pub(crate) functions: Arc<HashMap<Arc<str>, Function>>,
    pub(crate) variables: HashMap<Arc<str>, Type>,
    pub(crate) provider: Arc<dyn Provider + Send + Sync>,
}
