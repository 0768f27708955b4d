//! What kube-apiserver knows of its own kinds, and a definition does not tell: their types, defaults and validation.

pub(crate) mod schemas;
