//! How values merge: structured-merge-diff's `schema.Atom`, and the directives of strategic merge patches.
//!
//! Types are data. They are built from the OpenAPI documents that kube-apiserver publishes ([`Definitions`]), or from the
//! structural schema of a CRD ([`StructuralType`]), and refer to one another by name, so that they can be recursive.

mod meta;
mod node;
mod object;
mod openapi;
mod resolved;
mod structural;

#[cfg(test)]
mod tests;

pub(crate) use self::node::Scalar;
pub(crate) use self::object::Source;
pub use self::object::{Definitions, ObjectType, StructuralType};
pub(crate) use self::resolved::{Atom, List, MemberStrategy, Relation, Type};
