//! The record of an election in the `spec` of a Lease, as client-go writes and reads it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;

/// Returns who holds a Lease. `None`: it was released, or nobody has held it yet.
pub(crate) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Returns how long others must see a Lease unchanged before they take it, if it says so.
pub(crate) fn duration(lease: &Lease) -> Option<Duration> {
    let seconds = lease.spec.as_ref()?.lease_duration_seconds?;
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// Returns the Lease to write in order to hold it from now on. Whatever else is in the Lease stays, such as its labels
/// and its `resourceVersion`, which makes the write fail if it was changed in between.
pub(crate) fn held(
    seen: Option<&Lease>,
    name: &str,
    identity: &str,
    duration: Duration,
    now: Timestamp,
) -> Lease {
    let mut lease = seen.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: None,
    });
    let renewal = holder(&lease) == Some(identity);
    let spec = lease.spec.get_or_insert_default();
    if !renewal || spec.acquire_time.is_none() {
        spec.acquire_time = Some(MicroTime(now));
    }
    // The first holder is no transition, as in client-go.
    let transitions = spec.lease_transitions.unwrap_or(0);
    spec.lease_transitions = Some(transitions.saturating_add(i32::from(!renewal && seen.is_some())));
    spec.holder_identity = Some(identity.to_owned());
    // Rounded up: rounded down, it could be less than the leader's own deadline.
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
    spec.renew_time = Some(MicroTime(now));
    lease
}

/// Returns the Lease to write in order to release it, as client-go does: without a holder, for a second.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.acquire_time = Some(MicroTime(now));
    spec.renew_time = Some(MicroTime(now));
    lease
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DURATION: Duration = Duration::from_millis(14_001);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn spec(lease: &Lease) -> serde_json::Value {
        serde_json::to_value(&lease.spec).unwrap()
    }

    #[test]
    fn the_fields_are_those_of_client_go() {
        let first = held(None, "a", "me", DURATION, at(1));
        assert_eq!(first.metadata.name.as_deref(), Some("a"));
        assert_eq!(
            spec(&first),
            json!({
                "holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 0,
                "acquireTime": "1970-01-01T00:00:01.000000Z", "renewTime": "1970-01-01T00:00:01.000000Z",
            })
        );
        let renewed = held(Some(&first), "a", "me", DURATION, at(2));
        assert_eq!(
            spec(&renewed),
            json!({
                "holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 0,
                "acquireTime": "1970-01-01T00:00:01.000000Z", "renewTime": "1970-01-01T00:00:02.000000Z",
            })
        );
        let taken = held(Some(&renewed), "a", "you", DURATION, at(3));
        assert_eq!(
            spec(&taken),
            json!({
                "holderIdentity": "you", "leaseDurationSeconds": 15, "leaseTransitions": 1,
                "acquireTime": "1970-01-01T00:00:03.000000Z", "renewTime": "1970-01-01T00:00:03.000000Z",
            })
        );
        let free = released(taken, at(4));
        assert_eq!(
            spec(&free),
            json!({
                "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 1,
                "acquireTime": "1970-01-01T00:00:04.000000Z", "renewTime": "1970-01-01T00:00:04.000000Z",
            })
        );
        assert_eq!(holder(&free), None);
    }

    #[test]
    fn what_else_is_in_the_lease_stays() {
        let seen: Lease = serde_json::from_value(json!({
            "metadata": {"name": "a", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"strategy": "OldestEmulationVersion"},
        }))
        .unwrap();
        let lease = held(Some(&seen), "a", "me", DURATION, at(1));
        assert_eq!(lease.metadata, seen.metadata);
        assert_eq!(lease.spec.unwrap().strategy.as_deref(), Some("OldestEmulationVersion"));
        assert_eq!(holder(&seen), None);
        assert_eq!(duration(&seen), None);
    }
}
