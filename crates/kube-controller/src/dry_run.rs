//! What would have been written.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use kube_informer::ObjectKey;
use serde_json::Value;

use crate::differences::{Difference, shown};
use crate::lock::lock;

/// A write that a run in a dry run would have made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WouldWrite {
    /// The controller's name.
    pub controller: String,
    /// The object that the run was for.
    pub object: ObjectKey,
    /// The request's verb: `create`, `update`, `patch`, `apply`, `delete`.
    pub verb: String,
    /// The kind of the object that would be written.
    pub kind: String,
    /// The key of the object that would be written. The name ends with `*` if the server would complete it.
    pub key: ObjectKey,
    /// The subresource that would be written: `status`, `scale`.
    pub subresource: Option<String>,
    /// What would differ. Contents of Secrets are `(redacted)`. Empty for a deletion.
    pub differences: Vec<Difference>,
}

/// A request of a dry run and its effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) controller: &'a str,
    pub(crate) object: &'a ObjectKey,
    pub(crate) verb: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) key: &'a ObjectKey,
    pub(crate) subresource: Option<&'a str>,
    /// The object as it is on the server. `None` if it does not exist.
    pub(crate) old: Option<&'a Value>,
    /// The object as the server would have stored it. `None` if it would be gone.
    pub(crate) new: Option<&'a Value>,
}

/// Reports each write of a dry run once. Clones share what was reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct DryRun {
    /// The last report about each target, as a hash: nothing is written, so that every run attempts the same again.
    reported: Arc<Mutex<HashMap<Target, u64>>>,
}

/// Controller, verb, kind, key and subresource of a write.
type Target = (String, String, String, ObjectKey, Option<String>);

impl DryRun {
    /// Logs what a request would have written, and returns it. `None` if it would change nothing, or if the last report
    /// about the same target said the same.
    pub(crate) fn record(&self, attempt: &Attempt<'_>) -> Option<WouldWrite> {
        let write = WouldWrite::new(attempt)?;
        let target = (
            write.controller.clone(),
            write.verb.clone(),
            write.kind.clone(),
            write.key.clone(),
            write.subresource.clone(),
        );
        let hash = hash(&write.differences);
        if lock(&self.reported).insert(target, hash) == Some(hash) {
            return None;
        }
        tracing::info!(controller = write.controller, "{write}");
        Some(write)
    }
}

impl WouldWrite {
    fn new(attempt: &Attempt<'_>) -> Option<Self> {
        let mut key = attempt.key.clone();
        let mut differences = Vec::new();
        if let Some(new) = attempt.new {
            differences = shown(attempt.old.unwrap_or(&Value::Null), new);
            // The server makes up another name each time that it is asked.
            if attempt.old.is_none()
                && let Some(prefix) = new.pointer("/metadata/generateName").and_then(Value::as_str)
            {
                key = ObjectKey::new(key.namespace(), &format!("{prefix}*"));
                differences.retain(|difference| difference.path != ".metadata.name");
            }
            if differences.is_empty() {
                return None;
            }
        }
        Some(Self {
            controller: attempt.controller.to_owned(),
            object: attempt.object.clone(),
            verb: attempt.verb.to_owned(),
            kind: attempt.kind.to_owned(),
            key,
            subresource: attempt.subresource.map(str::to_owned),
            differences,
        })
    }
}

/// For example `default/a would patch ConfigMap default/a-page`, then a line for each difference.
impl fmt::Display for WouldWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} would {} ", self.object, self.verb)?;
        if let Some(subresource) = &self.subresource {
            write!(f, "the {subresource} of ")?;
        }
        write!(f, "{} {}", self.kind, self.key)?;
        self.differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))
    }
}

/// Hashes differences. All times are the same: that of a condition, say, would be another in each run.
fn hash(differences: &[Difference]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for difference in differences {
        difference.path.hash(&mut hasher);
        for value in [&difference.old, &difference.new] {
            let is_time =
                value.as_ref().and_then(Value::as_str).is_some_and(|text| text.parse::<Timestamp>().is_ok());
            is_time.hash(&mut hasher);
            if !is_time {
                value.as_ref().map(Value::to_string).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attempt<'a>(keys: &'a [ObjectKey; 2], old: Option<&'a Value>, new: Option<&'a Value>) -> Attempt<'a> {
        Attempt {
            controller: "blog",
            object: &keys[0],
            verb: "patch",
            kind: "ConfigMap",
            key: &keys[1],
            subresource: None,
            old,
            new,
        }
    }

    fn keys() -> [ObjectKey; 2] {
        [ObjectKey::new("default", "a"), ObjectKey::new("default", "a-page")]
    }

    #[test]
    fn a_report_is_a_diff_of_one_object() {
        let (old, new) = (json!({"data": {"url": "a", "b": "1"}}), json!({"data": {"url": "c"}}));
        let keys = keys();
        let write = DryRun::default().record(&attempt(&keys, Some(&old), Some(&new))).unwrap();
        let expected =
            "default/a would patch ConfigMap default/a-page\n  .data.url: \"a\" -> \"c\"\n  - .data.b: \"1\"";
        assert_eq!(write.to_string(), expected);
        let status = Attempt { subresource: Some("status"), ..attempt(&keys, None, Some(&new)) };
        let write = DryRun::default().record(&status).unwrap();
        let expected = "default/a would patch the status of ConfigMap default/a-page\n  + .data.url: \"c\"";
        assert_eq!(write.to_string(), expected);
    }

    #[test]
    fn a_deletion_is_reported_without_the_content() {
        let old = json!({"data": {"url": "a"}});
        let keys = keys();
        let attempt = Attempt { verb: "delete", ..attempt(&keys, Some(&old), None) };
        let write = DryRun::default().record(&attempt).unwrap();
        assert_eq!(write.to_string(), "default/a would delete ConfigMap default/a-page");
    }

    #[test]
    fn the_same_write_is_reported_once() {
        let (dry_run, keys) = (DryRun::default(), keys());
        let (old, new, other) = (json!({"a": 1}), json!({"a": 2}), json!({"a": 3}));
        assert!(dry_run.record(&attempt(&keys, Some(&old), Some(&new))).is_some());
        assert_eq!(dry_run.clone().record(&attempt(&keys, Some(&old), Some(&new))), None);
        assert!(dry_run.record(&attempt(&keys, Some(&old), Some(&other))).is_some());
        let elsewhere = Attempt { kind: "Secret", ..attempt(&keys, Some(&old), Some(&other)) };
        assert!(dry_run.record(&elsewhere).is_some());
    }

    #[test]
    fn times_and_generated_names_make_no_new_write() {
        let (dry_run, keys) = (DryRun::default(), keys());
        let status =
            |time: &str| json!({"status": {"conditions": [{"type": "A", "lastTransitionTime": time}]}});
        let first = status("2026-01-01T00:00:00Z");
        assert!(dry_run.record(&attempt(&keys, None, Some(&first))).is_some());
        let second = status("2026-01-01T00:01:00Z");
        assert_eq!(dry_run.record(&attempt(&keys, None, Some(&second))), None);

        let created = |name: &str| json!({"metadata": {"generateName": "a-", "name": name}});
        let (first, second) = (created("a-1"), created("a-2"));
        let write = dry_run.record(&attempt(&keys, None, Some(&first))).unwrap();
        assert_eq!(write.key, ObjectKey::new("default", "a-*"));
        let keys = [keys[0].clone(), ObjectKey::new("default", "a-2")];
        assert_eq!(dry_run.record(&attempt(&keys, None, Some(&second))), None);
    }

    #[test]
    fn what_would_change_nothing_is_not_reported() {
        let (old, new) =
            (json!({"metadata": {"resourceVersion": "1"}}), json!({"metadata": {"resourceVersion": "2"}}));
        assert_eq!(DryRun::default().record(&attempt(&keys(), Some(&old), Some(&new))), None);
    }

    #[test]
    fn contents_of_secrets_are_not_reported() {
        let secret = json!({"kind": "Secret", "data": {"password": "aHVudGVyMg=="}});
        let write = DryRun::default().record(&attempt(&keys(), None, Some(&secret))).unwrap();
        assert!(!format!("{write} {write:?}").contains("aHVudGVyMg=="));
    }
}
