//! PodDisruptionBudgets: `pkg/apis/policy/validation`.

use serde_json::Value;

use super::errors::{Errors, int_or_percent, not_more_than_all};
use kube_validation::{FieldError, FieldPath, go};

pub(super) fn check(object: &Value, errors: &mut Errors) {
    let (spec, root) = (&object["spec"], FieldPath::Root(""));
    let path = root.child("spec");
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let part = |field: &str| go::json(&spec[field]);
        let shown = format!(
            r#"{{"MinAvailable":{},"Selector":{},"MaxUnavailable":{},"UnhealthyPodEvictionPolicy":{}}}"#,
            part("minAvailable"),
            part("selector"),
            part("maxUnavailable"),
            part("unhealthyPodEvictionPolicy")
        );
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid_shown(path, &shown, detail));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        int_or_percent(&spec[field], path.child(field), errors);
        not_more_than_all(&spec[field], path.child(field), errors);
    }
    errors.selector(&spec["selector"], path.child("selector"));
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    errors.one_of(&spec["unhealthyPodEvictionPolicy"], &policies, path.child("unhealthyPodEvictionPolicy"));
}
