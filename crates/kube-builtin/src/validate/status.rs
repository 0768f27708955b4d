//! The validation of the numbers that controllers write into the status of workloads, autoscalers and disruption budgets:
//! `pkg/apis/{apps,autoscaling,policy}/validation`.

use serde_json::Value;

use super::conditions;
use super::errors::Errors;
use kube_validation::{FieldError, FieldPath};

/// The numbers in a kind's status, in the order in which they are checked.
struct Numbers {
    not_negative: &'static [&'static str],
    /// The fields that must not be greater than `replicas`.
    replicas: &'static [&'static str],
    /// The message for `availableReplicas` greater than `readyReplicas`.
    more_than_ready: &'static str,
}

/// Checks a status that replaces that of `old`.
pub(super) fn update(kind: &str, new: &Value, old: &Value, errors: &mut Errors) {
    let Some(numbers) = numbers(kind) else { return };
    let (status, path) = (&new["status"], FieldPath::Root("status"));
    if kind == "PodDisruptionBudget" {
        conditions::check(status, &path, errors);
    }
    for field in numbers.not_negative {
        errors.not_negative(status, field, &path);
    }
    let of = |field: &str| status[field].as_i64().unwrap_or(0);
    let mut at_most = |field: &str, limit: &str, why: &str| {
        if of(field) > of(limit) {
            errors.push(FieldError::invalid(path.child(field), &of(field).into(), why));
        }
    };
    for field in numbers.replicas {
        at_most(field, "replicas", "cannot be greater than status.replicas");
    }
    if !numbers.more_than_ready.is_empty() {
        at_most("availableReplicas", "readyReplicas", numbers.more_than_ready);
    }
    let count = |object: &Value| object["status"]["collisionCount"].as_i64();
    let decremented = count(old).is_some_and(|old| count(new).is_none_or(|new| new < old));
    if decremented && numbers.not_negative.contains(&"collisionCount") {
        let value = count(new).unwrap_or(0).into();
        errors.push(FieldError::invalid(path.child("collisionCount"), &value, "cannot be decremented"));
    }
}

fn numbers(kind: &str) -> Option<Numbers> {
    Some(match kind {
        "Deployment" => Numbers {
            not_negative: &[
                "observedGeneration",
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
                "terminatingReplicas",
                "collisionCount",
            ],
            replicas: &["updatedReplicas", "readyReplicas", "availableReplicas"],
            more_than_ready: "cannot be greater than readyReplicas",
        },
        // The latter has no terminatingReplicas.
        "ReplicaSet" | "ReplicationController" => Numbers {
            not_negative: &[
                "replicas",
                "fullyLabeledReplicas",
                "readyReplicas",
                "availableReplicas",
                "observedGeneration",
                "terminatingReplicas",
            ],
            replicas: &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
            more_than_ready: "cannot be greater than readyReplicas",
        },
        "StatefulSet" => Numbers {
            not_negative: &[
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
                "collisionCount",
            ],
            replicas: &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
            more_than_ready: "cannot be greater than status.readyReplicas",
        },
        "DaemonSet" => Numbers {
            not_negative: &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            replicas: &[],
            more_than_ready: "",
        },
        "HorizontalPodAutoscaler" => Numbers {
            not_negative: &["currentReplicas", "desiredReplicas"],
            replicas: &[],
            more_than_ready: "",
        },
        "PodDisruptionBudget" => Numbers {
            not_negative: &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"],
            replicas: &[],
            more_than_ready: "",
        },
        _ => return None,
    })
}
