//! The JSONPath dialect of kubectl and of printer columns: `k8s.io/client-go/util/jsonpath`.

mod evaluate;
mod parse;
mod path;
mod template;
#[cfg(test)]
mod tests;
mod unquote;

pub use evaluate::EvaluateError;
pub use path::JsonPath;
pub use template::JsonPathTemplate;
