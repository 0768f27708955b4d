//! How two objects differ, field by field.

use std::fmt;

use serde_json::Value;

/// A field that differs between two states of an object.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The path of the field: `.spec.url`, `.metadata.labels["a.b/c"]`, `.spec.containers[0].image`. Items of lists are
    /// compared by index.
    pub path: String,
    /// The value before. `None` if the field was added.
    pub old: Option<Value>,
    /// The value after. `None` if the field was removed.
    pub new: Option<Value>,
}

/// Replaces a value that must not be seen.
const REDACTED: &str = "(redacted)";

/// The maximum length of a value in a line, in characters.
const MAX_SHOWN: usize = 80;

/// A step from a value to one inside it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// A visitor of differences: path, old value, new value.
type Visit<'a, 'v> = &'v mut dyn FnMut(&[Step<'a>], Option<&'a Value>, Option<&'a Value>);

/// Returns the fields that differ, in the order of the new object, then those that were removed. What was added or
/// removed as a whole appears leaf by leaf. An object that does not exist is `Value::Null`.
///
/// Contents of Secrets are in the result; what is shown to people comes from [`shown`].
#[cfg(any(test, feature = "simulation"))]
pub(crate) fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(old, new, &mut |path, old, new| found.push(difference(path, old, new, false)));
    found
}

/// Like [`differences`], for logs and reports: without the fields that the server keeps itself, and with `(redacted)`
/// for the contents of Secrets.
pub(crate) fn shown(old: &Value, new: &Value) -> Vec<Difference> {
    let secret = is_secret(old) || is_secret(new);
    let mut found = Vec::new();
    walk(old, new, &mut |path, old, new| {
        if !is_kept_by_server(path) {
            found.push(difference(path, old, new, secret && is_content_of_secret(path)));
        }
    });
    found
}

/// Returns only the paths of [`shown`].
pub(crate) fn paths(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(old, new, &mut |path, _, _| {
        if !is_kept_by_server(path) {
            found.push(text(path));
        }
    });
    found
}

/// Returns whether two values are equal to the server: `1` and `1.0` are, because Go writes both as `1`.
pub(crate) fn equal(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Number(old), Value::Number(new)) => {
            old == new || (old.is_f64() != new.is_f64() && old.as_f64() == new.as_f64())
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| equal(old, new))
        }
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old.iter().all(|(name, old)| new.get(name).is_some_and(|new| equal(old, new)))
        }
        _ => old == new,
    }
}

fn walk<'a>(old: &'a Value, new: &'a Value, visit: Visit<'a, '_>) {
    let some = |value: &'a Value| (!value.is_null()).then_some(value);
    compare(some(old), some(new), &mut Vec::new(), visit);
}

fn compare<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    path: &mut Vec<Step<'a>>,
    visit: Visit<'a, '_>,
) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (name, new) in new {
                inside(Step::Name(name), old.get(name), Some(new), path, visit);
            }
            for (name, old) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
                inside(Step::Name(name), Some(old), None, path, visit);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                inside(Step::Index(index), old.get(index), new.get(index), path, visit);
            }
        }
        (None, Some(Value::Object(new))) if !new.is_empty() => {
            for (name, new) in new {
                inside(Step::Name(name), None, Some(new), path, visit);
            }
        }
        (Some(Value::Object(old)), None) if !old.is_empty() => {
            for (name, old) in old {
                inside(Step::Name(name), Some(old), None, path, visit);
            }
        }
        (None, Some(Value::Array(new))) if !new.is_empty() => {
            for (index, new) in new.iter().enumerate() {
                inside(Step::Index(index), None, Some(new), path, visit);
            }
        }
        (Some(Value::Array(old)), None) if !old.is_empty() => {
            for (index, old) in old.iter().enumerate() {
                inside(Step::Index(index), Some(old), None, path, visit);
            }
        }
        (Some(old), Some(new)) if equal(old, new) => {}
        (None, None) => {}
        (old, new) => visit(path, old, new),
    }
}

fn inside<'a>(
    step: Step<'a>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    path: &mut Vec<Step<'a>>,
    visit: Visit<'a, '_>,
) {
    path.push(step);
    compare(old, new, path, visit);
    path.pop();
}

fn difference(path: &[Step<'_>], old: Option<&Value>, new: Option<&Value>, redact: bool) -> Difference {
    let value = |value: &Value| if redact { REDACTED.into() } else { value.clone() };
    Difference { path: text(path), old: old.map(value), new: new.map(value) }
}

/// These change with every write, or with the creation, whatever the writer sent.
fn is_kept_by_server(path: &[Step<'_>]) -> bool {
    let [Step::Name("metadata"), Step::Name(name), ..] = path else { return false };
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"].contains(name)
}

fn is_secret(object: &Value) -> bool {
    object.get("kind").is_some_and(|kind| kind == "Secret")
}

/// kubectl's annotation repeats the whole Secret.
fn is_content_of_secret(path: &[Step<'_>]) -> bool {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    match path {
        [Step::Name("metadata"), Step::Name("annotations"), Step::Name(name)] => *name == LAST_APPLIED,
        // Of these, a value that is not a string is malformed, but still the content.
        [Step::Name(name), ..] => ["data", "stringData"].contains(name),
        // The Secret appeared or disappeared as something that is not an object.
        [] => true,
        [Step::Index(_), ..] => false,
    }
}

fn text(path: &[Step<'_>]) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    path.iter().map(ToString::to_string).collect()
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) if is_plain(name) => write!(f, ".{name}"),
            Self::Name(name) => write!(f, "[{}]", Value::from(*name)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `path: old -> new`, `+ path: new` or `- path: old`, in one line. Values are JSON, and cut after about 80 characters.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{path}: {} -> {}", short(old), short(new)),
            (None, Some(new)) => write!(f, "+ {path}: {}", short(new)),
            (Some(old), None) => write!(f, "- {path}: {}", short(old)),
            (None, None) => f.write_str(path),
        }
    }
}

fn short(value: &Value) -> String {
    if value == REDACTED {
        return REDACTED.to_owned();
    }
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_SHOWN) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn lines(found: &[Difference]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn differences_name_fields_and_items() {
        let old = json!({
            "metadata": {"labels": {"a.b/c": "1", "app": "x"}},
            "spec": {"url": "a", "containers": [{"image": "a:1"}], "gone": {"x": [1]}},
        });
        let new = json!({
            "metadata": {"labels": {"a.b/c": "2", "app": "x"}},
            "spec": {"url": "b", "containers": [{"image": "a:2"}, {"image": "b:1"}], "empty": {}},
        });
        let expected = [
            r#".metadata.labels["a.b/c"]: "1" -> "2""#,
            r#".spec.containers[0].image: "a:1" -> "a:2""#,
            r#"+ .spec.containers[1].image: "b:1""#,
            "+ .spec.empty: {}",
            r#".spec.url: "a" -> "b""#,
            "- .spec.gone.x[0]: 1",
        ];
        assert_eq!(lines(&differences(&old, &new)), expected);
    }

    #[test]
    fn creation_and_deletion_appear_leaf_by_leaf() {
        let object = json!({"spec": {"a": 1, "b": [true]}});
        assert_eq!(lines(&differences(&Value::Null, &object)), ["+ .spec.a: 1", "+ .spec.b[0]: true"]);
        assert_eq!(lines(&differences(&object, &Value::Null)), ["- .spec.a: 1", "- .spec.b[0]: true"]);
        assert_eq!(differences(&Value::Null, &Value::Null), []);
    }

    #[test]
    fn a_value_of_another_type_is_one_difference() {
        let found = differences(&json!({"a": {"b": 1}}), &json!({"a": [1]}));
        assert_eq!(lines(&found), [r#".a: {"b":1} -> [1]"#]);
    }

    #[test]
    fn whole_numbers_are_equal_with_and_without_a_fraction() {
        assert!(equal(&json!({"a": [1, 2.5]}), &json!({"a": [1.0, 2.5]})));
        assert!(!equal(&json!(1), &json!(1.5)));
        assert!(!equal(&json!(u64::MAX), &json!(u64::MAX - 1)));
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let line = differences(&json!({"a": 1}), &json!({"a": "ä".repeat(500)}))[0].to_string();
        assert!(line.ends_with("ä..."), "{line}");
        assert_eq!(line.chars().count(), ".a: 1 -> ".len() + MAX_SHOWN + "...".len());
    }

    #[test]
    fn what_the_server_keeps_is_not_shown() {
        let old =
            json!({"metadata": {"resourceVersion": "1", "generation": 1, "managedFields": [{"time": "a"}]}});
        let new =
            json!({"metadata": {"resourceVersion": "2", "generation": 2, "managedFields": [{"time": "b"}]}});
        assert_eq!(differences(&old, &new).len(), 3);
        assert_eq!(shown(&old, &new), []);
        assert_eq!(paths(&old, &new), Vec::<String>::new());
    }

    #[test]
    fn the_content_of_a_secret_is_never_shown() {
        let secret = |password: &str| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": password.to_lowercase(),
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": password},
                },
                "type": "Opaque",
                "data": {"password": password},
                "stringData": {"other": {"deep": [password]}},
            })
        };
        let states = [Value::Null, secret("HUNTER2"), secret("HUNTER3")];
        for (old, new) in states.iter().flat_map(|old| states.iter().map(move |new| (old, new))) {
            let text = format!("{:?} {:?}", shown(old, new), lines(&shown(old, new)));
            assert!(!text.contains("HUNTER"), "{text}");
        }
        let found = lines(&shown(&states[1], &states[2]));
        assert!(found.contains(&".data.password: (redacted) -> (redacted)".to_owned()), "{found:?}");
        assert!(found.contains(&r#".metadata.name: "hunter2" -> "hunter3""#.to_owned()), "{found:?}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!({})),
            Just(json!([])),
            any::<bool>().prop_map(Value::from),
            (0..3_i64).prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c./]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// Finds the value at a path by the text of the path.
    fn find(value: &Value, wanted: &str, path: &mut Vec<String>) -> Option<Value> {
        let at = if path.is_empty() { ".".to_owned() } else { path.concat() };
        if at == wanted {
            return Some(value.clone());
        }
        let inner: Vec<_> = match value {
            Value::Object(members) => {
                members.iter().map(|(name, value)| (Step::Name(name).to_string(), value)).collect()
            }
            Value::Array(items) => {
                items.iter().enumerate().map(|(i, value)| (Step::Index(i).to_string(), value)).collect()
            }
            _ => Vec::new(),
        };
        inner.into_iter().find_map(|(step, value)| {
            path.push(step);
            let found = find(value, wanted, path);
            path.pop();
            found
        })
    }

    proptest! {
        #[test]
        fn there_are_differences_exactly_if_the_values_differ(old in any_value(), new in any_value()) {
            prop_assert_eq!(differences(&old, &old), vec![]);
            prop_assert_eq!(differences(&old, &new).is_empty(), old == new);
        }

        #[test]
        fn each_difference_has_the_values_at_its_path(old in any_value(), new in any_value()) {
            let found = differences(&old, &new);
            for Difference { path, old: before, new: after } in &found {
                prop_assert_eq!(&find(&old, path, &mut Vec::new()), before);
                prop_assert_eq!(&find(&new, path, &mut Vec::new()), after);
                prop_assert_ne!(before, after);
            }
            let mut unique: Vec<_> = found.iter().map(|found| &found.path).collect();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(unique.len(), found.len());
        }

        #[test]
        fn the_way_back_has_the_same_paths(old in any_value(), new in any_value()) {
            let sorted = |mut paths: Vec<String>| { paths.sort(); paths };
            prop_assert_eq!(sorted(paths(&old, &new)), sorted(paths(&new, &old)));
        }
    }
}
