//! Conditions of a status, merged by type.

use std::fmt;
use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::lock::lock;

/// The conditions that a run sets. They are merged by type into `.status.conditions` by the one status write after the
/// run: conditions of other types stay as they are, and `lastTransitionTime` changes only with the status.
#[derive(Debug, Default)]
pub struct Conditions {
    changes: Mutex<ConditionChanges>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// The controller cannot tell.
    Unknown,
}

/// What is to become of conditions, in the order in which they were first named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConditionChanges(Vec<(String, Change)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set { status: ConditionStatus, reason: String, message: String },
    Remove,
}

/// A condition that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the condition {condition:?} cannot be written: {problem}")]
pub(crate) struct InvalidCondition {
    condition: String,
    problem: &'static str,
}

/// The bounds of apimachinery's `metav1.Condition`, in characters.
const MAX_TYPE: usize = 316;
const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32_768;

impl Conditions {
    /// Sets a condition, by its type. The last call for a type wins.
    ///
    /// `reason` is a word in CamelCase for programs, of at most 1024 characters; `message` is for people, of at most
    /// 32768 characters. If one of them, or the type, is not what the API server takes, then the status write of this
    /// run fails with an error that says so.
    pub fn set(
        &self,
        type_: &str,
        status: impl Into<ConditionStatus>,
        reason: &str,
        message: impl Into<String>,
    ) {
        let change =
            Change::Set { status: status.into(), reason: reason.to_owned(), message: message.into() };
        lock(&self.changes).put(type_, change);
    }

    /// Removes a condition, by its type. The last call for a type wins.
    pub fn remove(&self, type_: &str) {
        lock(&self.changes).put(type_, Change::Remove);
    }

    /// Returns what was set and removed until now.
    pub(crate) fn changes(&self) -> ConditionChanges {
        lock(&self.changes).clone()
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What is not known is `Unknown`.
impl From<Option<bool>> for ConditionStatus {
    fn from(holds: Option<bool>) -> Self {
        holds.map_or(Self::Unknown, Self::from)
    }
}

/// As in the API: `True`, `False`, `Unknown`.
impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

impl ConditionChanges {
    fn put(&mut self, type_: &str, change: Change) {
        match self.0.iter_mut().find(|(name, _)| name == type_) {
            Some((_, previous)) => *previous = change,
            None => self.0.push((type_.to_owned(), change)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks what the API server checks. Conditions in a status without such a schema are checked as well, because
    /// tools rely on the form.
    pub(crate) fn check(&self) -> Result<(), InvalidCondition> {
        for (name, change) in &self.0 {
            let Change::Set { reason, message, .. } = change else { continue };
            let problem = if !is_type(name) {
                "its type must be a qualified name such as Ready or example.com/Ready"
            } else if !is_reason(reason) {
                "its reason must be a word in CamelCase of at most 1024 characters"
            } else if message.chars().count() > MAX_MESSAGE {
                "its message must have at most 32768 characters"
            } else {
                continue;
            };
            return Err(InvalidCondition { condition: name.clone(), problem });
        }
        Ok(())
    }
}

/// Merges changes into the conditions of an object. `generation` is the object's generation that the run saw, which is
/// not necessarily that of the object that is written to. What the changes do not name stays as it is, in its place;
/// new conditions come last.
pub(crate) fn merged(
    existing: &[Value],
    changes: &ConditionChanges,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Value> {
    let mut conditions = existing.to_vec();
    for (name, change) in &changes.0 {
        let is_it = |condition: &Value| condition.get("type").is_some_and(|type_| type_ == name.as_str());
        let Change::Set { status, reason, message } = change else {
            conditions.retain(|condition| !is_it(condition));
            continue;
        };
        let index = conditions.iter().position(is_it).unwrap_or_else(|| {
            conditions.push(json!({"type": name}));
            conditions.len() - 1
        });
        // `is_it` found an object.
        if let Some(condition) = conditions.get_mut(index).and_then(Value::as_object_mut) {
            put(condition, *status, reason, message, generation, now);
        }
    }
    conditions
}

fn put(
    condition: &mut Map<String, Value>,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let is_new = !condition.contains_key("status");
    let status = status.to_string();
    let same_status = condition.get("status").is_some_and(|previous| *previous == status.as_str());
    let has_time = condition.get("lastTransitionTime").is_some_and(|time| !time.is_null());
    if !same_status || !has_time {
        condition.insert("lastTransitionTime".to_owned(), time(now).into());
    }
    condition.insert("status".to_owned(), status.into());
    condition.insert("reason".to_owned(), reason.into());
    // Conditions of built-in kinds lose an empty message, which must not seem to be a change.
    if is_new || condition.get("message").and_then(Value::as_str).unwrap_or_default() != message {
        condition.insert("message".to_owned(), message.into());
    }
    if let Some(generation) = generation {
        condition.insert("observedGeneration".to_owned(), generation.into());
    }
}

/// Formats a time as apimachinery's `Time`: RFC 3339 in whole seconds.
fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`
fn is_reason(text: &str) -> bool {
    let bytes = text.as_bytes();
    let last = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes.len() <= MAX_REASON
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(last)
        && bytes.iter().all(|byte| last(byte) || *byte == b',' || *byte == b':')
}

/// An optional DNS subdomain and a slash, then a name of letters, digits, `-`, `_` and `.` that begins and ends with a
/// letter or digit.
fn is_type(text: &str) -> bool {
    let (domain, name) = text.split_once('/').map_or((None, text), |(domain, name)| (Some(domain), name));
    let label = |label: &str| {
        is_enclosed(label, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), |byte| byte == b'-')
    };
    text.len() <= MAX_TYPE
        && domain.is_none_or(|domain| domain.split('.').all(label))
        && is_enclosed(name, |byte| byte.is_ascii_alphanumeric(), |byte| matches!(byte, b'-' | b'_' | b'.'))
}

/// Returns whether a text is not empty, begins and ends with an `outer` byte, and has only `outer` and `inner` ones.
fn is_enclosed(text: &str, outer: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| outer(*byte))
        && bytes.last().is_some_and(|byte| outer(*byte))
        && bytes.iter().all(|byte| outer(*byte) || inner(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THEN: &str = "2026-01-01T00:00:00Z";

    fn now() -> Timestamp {
        "2026-02-02T10:20:30.456Z".parse().unwrap()
    }

    fn existing() -> Vec<Value> {
        vec![
            json!({"type": "Other", "status": "True", "reason": "A", "message": "", "lastTransitionTime": THEN,
                   "unknown": {"kept": [1]}}),
            json!({"type": "Ready", "status": "True", "reason": "A", "message": "a", "lastTransitionTime": THEN,
                   "observedGeneration": 1, "severity": "Info"}),
            json!("malformed"),
        ]
    }

    fn set(type_: &str, status: bool, reason: &str, message: &str) -> ConditionChanges {
        let conditions = Conditions::default();
        conditions.set(type_, status, reason, message);
        conditions.changes()
    }

    // Rule 19
    #[test]
    fn the_time_is_unchanged_where_the_status_is() {
        let conditions = merged(&existing(), &set("Ready", true, "B", "b"), Some(2), now());
        let ready = json!({"type": "Ready", "status": "True", "reason": "B", "message": "b", "lastTransitionTime": THEN,
                           "observedGeneration": 2, "severity": "Info"});
        assert_eq!(conditions, [existing()[0].clone(), ready, existing()[2].clone()]);
    }

    // Rule 19
    #[test]
    fn the_time_changes_with_the_status_in_whole_seconds() {
        let conditions = merged(&existing(), &set("Ready", false, "B", "b"), Some(2), now());
        assert_eq!(conditions[1]["lastTransitionTime"], "2026-02-02T10:20:30Z");
        assert_eq!(conditions[1]["status"], "False");
    }

    #[test]
    fn a_condition_without_a_time_gets_one() {
        let before = [json!({"type": "Ready", "status": "True"})];
        let conditions = merged(&before, &set("Ready", true, "B", ""), None, now());
        assert_eq!(conditions[0]["lastTransitionTime"], "2026-02-02T10:20:30Z");
    }

    #[test]
    fn an_empty_message_that_the_server_dropped_is_no_change() {
        let before = [json!({"type": "Ready", "status": "True", "reason": "A", "lastTransitionTime": THEN})];
        assert_eq!(merged(&before, &set("Ready", true, "A", ""), None, now()), before);
        assert_eq!(merged(&[], &set("Ready", true, "A", ""), None, now())[0]["message"], "");
    }

    #[test]
    fn new_conditions_come_last_in_the_order_in_which_they_were_set() {
        let changes = Conditions::default();
        changes.set("Z", true, "A", "");
        changes.set("A", ConditionStatus::Unknown, "A", "");
        changes.set("Z", false, "A", "");
        let conditions = merged(&existing(), &changes.changes(), None, now());
        assert_eq!(conditions[..3], existing());
        assert_eq!((&conditions[3]["type"], &conditions[3]["status"]), (&json!("Z"), &json!("False")));
        assert_eq!((&conditions[4]["type"], &conditions[4]["status"]), (&json!("A"), &json!("Unknown")));
        assert_eq!(conditions[4].get("observedGeneration"), None);
    }

    #[test]
    fn the_last_call_for_a_type_wins() {
        let changes = Conditions::default();
        changes.set("Ready", true, "A", "");
        changes.remove("Ready");
        changes.remove("Other");
        changes.set("Other", false, "A", "");
        let conditions = merged(&existing(), &changes.changes(), None, now());
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[0]["status"], "False");
        assert_eq!(conditions[1], existing()[2]);
    }

    #[test]
    fn what_the_server_refuses_is_an_error_with_a_clear_text() {
        let check = |type_: &str, reason: &str, message: &str| {
            set(type_, true, reason, message).check().map_err(|error| error.to_string())
        };
        for type_ in ["Ready", "example.com/Ready", "a-b_c.D", "1"] {
            assert_eq!(check(type_, "A", ""), Ok(()), "{type_}");
        }
        for type_ in ["", "-a", "a b", "Example.com/a", "a//b", "/a", "a..b/c", &"a".repeat(317)] {
            assert!(check(type_, "A", "").is_err(), "{type_}");
        }
        for reason in ["A", "AsExpected", "a_b,c:d1", "Err_"] {
            assert_eq!(check("Ready", reason, ""), Ok(()), "{reason}");
        }
        for reason in ["", "1", "not a word", "A:", "A-b", "Ä", &"a".repeat(1025)] {
            assert!(check("Ready", reason, "").is_err(), "{reason}");
        }
        assert_eq!(check("Ready", "A", &"ä".repeat(MAX_MESSAGE)), Ok(()));
        assert!(check("Ready", "A", &"a".repeat(MAX_MESSAGE + 1)).is_err());
        assert_eq!(
            check("Ready", "not a word", ""),
            Err("the condition \"Ready\" cannot be written: its reason must be a word in CamelCase of at most 1024 characters"
                .to_owned())
        );
    }

    fn any_condition() -> impl Strategy<Value = Value> {
        ("[A-D]", prop_oneof![Just("True"), Just("False"), Just("Unknown")], any::<bool>()).prop_map(
            |(type_, status, time)| {
                let mut condition = json!({"type": type_, "status": status, "reason": "A", "message": ""});
                if time {
                    condition["lastTransitionTime"] = THEN.into();
                }
                condition
            },
        )
    }

    fn any_changes() -> impl Strategy<Value = ConditionChanges> {
        prop::collection::vec(("[A-D]", prop::option::of(any::<bool>()), "[A-B]"), 0..5).prop_map(|calls| {
            let conditions = Conditions::default();
            for (type_, status, reason) in calls {
                match status {
                    Some(status) => conditions.set(&type_, status, &reason, ""),
                    None => conditions.remove(&type_),
                }
            }
            conditions.changes()
        })
    }

    proptest! {
        #[test]
        fn merging_twice_is_merging_once(
            existing in prop::collection::vec(any_condition(), 0..4), changes in any_changes(),
        ) {
            let once = merged(&existing, &changes, Some(3), now());
            let later = now() + jiff::SignedDuration::from_secs(60);
            prop_assert_eq!(merged(&once, &changes, Some(3), later), once);
        }

        #[test]
        fn conditions_of_others_are_untouched_and_in_order(
            existing in prop::collection::vec(any_condition(), 0..4), changes in any_changes(),
        ) {
            let named = |condition: &&Value| changes.0.iter().any(|(name, _)| condition["type"] == name.as_str());
            let after = merged(&existing, &changes, Some(3), now());
            let others = |conditions: &[Value]| {
                conditions.iter().filter(|condition| !named(condition)).cloned().collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&after), others(&existing));
        }
    }
}
