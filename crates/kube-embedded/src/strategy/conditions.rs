//! `status.conditions`

use serde_json::{Value, json};

/// Whether an object has a condition of this type and status.
pub(crate) fn is(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|it| it["type"] == kind && it["status"] == status)
}

/// Sets a condition, in place of the existing one of its type. `lastTransitionTime` is `now`, or is kept if the status
/// does not change.
pub(crate) fn set(object: &mut Value, mut condition: Value, now: &str) {
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let old = conditions.iter_mut().find(|it| it["type"] == condition["type"]);
    condition["lastTransitionTime"] = match &old {
        Some(old) if old["status"] == condition["status"] => old["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    match old {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_a_change_of_the_status() {
        let mut object = json!({});
        let condition =
            |status: &str, reason: &str| json!({"type": "Ready", "status": status, "reason": reason});
        for (status, reason, now, since) in [
            ("False", "A", "1", "1"),
            ("False", "B", "2", "1"),
            ("True", "B", "3", "3"),
            ("True", "C", "4", "3"),
        ] {
            set(&mut object, condition(status, reason), now);
            let mut expected = condition(status, reason);
            expected["lastTransitionTime"] = since.into();
            assert_eq!(object["status"]["conditions"], json!([expected]));
            assert!(is(&object, "Ready", status));
        }
    }
}
