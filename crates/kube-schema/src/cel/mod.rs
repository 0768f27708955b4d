//! `x-kubernetes-validations`: rules in CEL, compiled with the schema and evaluated with an object.
//!
//! The functions are kube-apiserver's, from the `kube-cel` crate; the interpreter is the `cel` crate's. It has neither
//! kube-apiserver's type checker nor its cost meter. In their place, `check` finds names and fields that do not exist,
//! `estimate` bounds what a rule may cost when it is written, and rules whose steps could exceed a budget for an object are
//! not run: the object is refused. The macros with two variables (`self.all(key, value, ...)`) and `cel.bind` do not compile.

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
