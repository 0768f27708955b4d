//! Paths to the fields of an object, as people read them: `spec.url`, `status.conditions[Ready].reason`.

use std::fmt;

use serde_json::Value;

/// A path from the root of an object to one of its fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldPath(pub(crate) Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// A field of an object.
    Field(String),
    /// The item of a list whose fields have these values, as managed fields name it.
    Item(Vec<(String, Value)>),
    /// The item of a set, by its value.
    Value(Value),
    /// The item of any other list, by its index.
    Index(usize),
}

impl FieldPath {
    /// Returns the path of a field below this one.
    pub(crate) fn join(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if is_plain(name) => {
                    let dot = if place == 0 { "" } else { "." };
                    write!(f, "{dot}{name}")?;
                }
                Step::Field(name) => write!(f, "[{name:?}]")?,
                Step::Item(key) => match &key[..] {
                    [(_, value)] => write!(f, "[{}]", bare(value))?,
                    _ => {
                        let pairs: Vec<String> =
                            key.iter().map(|(name, value)| format!("{name}={}", bare(value))).collect();
                        write!(f, "[{}]", pairs.join(","))?;
                    }
                },
                Step::Value(value) => write!(f, "[={}]", bare(value))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Whether a field's name can be written after a dot. Keys of labels and annotations often cannot.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-$".contains(c))
}

/// Returns a value without the quotes of a string.
pub(crate) fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_written_as_people_read_them() {
        let path = |steps: &[Step]| FieldPath(steps.to_vec()).to_string();
        let field = |name: &str| Step::Field(name.to_owned());
        let item = |key: &[(&str, Value)]| {
            Step::Item(key.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        assert_eq!(path(&[field("spec"), field("url")]), "spec.url");
        let ready = item(&[("type", json!("Ready"))]);
        assert_eq!(
            path(&[field("status"), field("conditions"), ready, field("reason")]),
            "status.conditions[Ready].reason"
        );
        let port = item(&[("containerPort", json!(80)), ("protocol", json!("TCP"))]);
        assert_eq!(path(&[field("ports"), port]), "ports[containerPort=80,protocol=TCP]");
        assert_eq!(path(&[field("finalizers"), Step::Value(json!("a/b"))]), "finalizers[=a/b]");
        assert_eq!(path(&[field("args"), Step::Index(2)]), "args[2]");
        assert_eq!(path(&[field("labels"), field("example.com/a")]), "labels[\"example.com/a\"]");
    }
}
