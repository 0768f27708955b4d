//! `x-kubernetes-validations`: rules in CEL, compiled with the schema and evaluated for an object.
//!
//! The functions are kube-apiserver's, from the `kube-cel` crate; the interpreter is that of the `cel` crate. It has neither
//! kube-apiserver's type checker nor its cost meter. Instead, `check` finds unknown names and fields, `estimate` bounds the
//! cost of a rule when its schema is parsed, and rules whose steps could exceed the budget for an object are not run: the
//! object is refused. Macros with two variables (`self.all(key, value, ...)`) and `cel.bind` do not compile.

mod check;
mod cost;
mod declared;
mod estimate;
mod evaluate;
mod functions;
mod patterns;
mod value;

pub(crate) use self::check::compile;
pub(crate) use self::evaluate::validate;
