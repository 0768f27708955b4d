//! The options of an election.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// How many times [`Election::retry_period`] a wait may be longer by chance, as in client-go.
pub(super) const JITTER: f64 = 1.2;

/// How the replicas of a program elect the one that works. The defaults are those of client-go.
///
/// The user of each replica needs the verbs `get`, `create` and `update` on `leases.coordination.k8s.io`, and should
/// have `watch`: without it, a replica in standby notices only by polling that the leader has released the Lease.
///
/// The leader stops when it has not renewed the Lease for [`renew_deadline`](Self::renew_deadline). Others wait for
/// [`lease_duration`](Self::lease_duration) since they last saw a renewal. Both are measured by monotonic clocks that
/// need not agree, but the fastest must not run more than `lease_duration / renew_deadline` times as fast as the slowest.
/// On Linux these clocks stand still while the machine is suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is given to an operator"]
pub struct Election {
    pub(super) lease: String,
    pub(super) namespace: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) lease_duration: Duration,
    pub(super) renew_deadline: Duration,
    pub(super) retry_period: Duration,
    /// A label of the Lease, so that it is found by a selector.
    pub(super) label: Option<(&'static str, String)>,
}

/// An option of an election, or two of them together, cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidElection {
    /// The Lease has no name.
    #[error("the name of the Lease is empty")]
    Lease,
    /// The namespace is empty.
    #[error("the namespace of the Lease is empty")]
    Namespace,
    /// The identity is empty, which would mean that nobody holds the Lease.
    #[error("the identity is empty")]
    Identity,
    /// The retry period is zero.
    #[error("the retry period must be greater than zero")]
    RetryPeriod,
    /// The leader would give up before a second attempt.
    #[error(
        "the renew deadline ({renew_deadline:?}) must be greater than 1.2 times the retry period ({retry_period:?})"
    )]
    RenewDeadline {
        /// [`Election::renew_deadline`]
        renew_deadline: Duration,
        /// [`Election::retry_period`]
        retry_period: Duration,
    },
    /// The leader would still work when another may take over.
    #[error(
        "the lease duration ({lease_duration:?}) must be greater than the renew deadline ({renew_deadline:?})"
    )]
    LeaseDuration {
        /// [`Election::lease_duration`]
        lease_duration: Duration,
        /// [`Election::renew_deadline`]
        renew_deadline: Duration,
    },
    /// The lease duration does not fit into its field in the Lease.
    #[error("the lease duration ({lease_duration:?}) is more than 2147483647 s")]
    TooLong {
        /// [`Election::lease_duration`]
        lease_duration: Duration,
    },
}

impl Election {
    /// Returns the election on this Lease. Nobody needs to create the Lease.
    pub fn new(lease: impl Into<String>) -> Self {
        Self {
            lease: lease.into(),
            namespace: None,
            identity: None,
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
            label: None,
        }
    }

    /// Sets the namespace of the Lease. The default is the client's default namespace: in a pod its own.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the name of this replica in the election, which must differ from those of all others: whoever finds its own
    /// identity in the Lease leads. The default is the host's name and a random part.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets how long others wait after the last renewal that they saw before they take over, 15 s by default. It is
    /// rounded up to seconds.
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.lease_duration = duration;
        self
    }

    /// Sets how long after the start of its last successful renewal the leader stops, 10 s by default.
    pub fn renew_deadline(mut self, deadline: Duration) -> Self {
        self.renew_deadline = deadline;
        self
    }

    /// Sets the time between two renewals, 2 s by default. In standby, it is up to 2.2 times as long by chance.
    pub fn retry_period(mut self, period: Duration) -> Self {
        self.retry_period = period;
        self
    }

    /// Returns the name of the Lease.
    pub(crate) fn lease(&self) -> &str {
        &self.lease
    }

    /// Checks the options, as client-go does.
    ///
    /// # Errors
    /// Names the first option that cannot work.
    pub fn check(&self) -> Result<(), InvalidElection> {
        let &Self { lease_duration, renew_deadline, retry_period, .. } = self;
        let empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if self.lease.is_empty() {
            Err(InvalidElection::Lease)
        } else if empty(&self.namespace) {
            Err(InvalidElection::Namespace)
        } else if empty(&self.identity) {
            Err(InvalidElection::Identity)
        } else if retry_period.is_zero() {
            Err(InvalidElection::RetryPeriod)
        } else if renew_deadline.as_secs_f64() <= retry_period.as_secs_f64() * JITTER {
            Err(InvalidElection::RenewDeadline { renew_deadline, retry_period })
        } else if lease_duration <= renew_deadline {
            Err(InvalidElection::LeaseDuration { lease_duration, renew_deadline })
        } else if lease_duration.as_secs() >= i32::MAX as u64 {
            Err(InvalidElection::TooLong { lease_duration })
        } else {
            Ok(())
        }
    }

    /// Returns the same election, on another Lease with a label.
    pub(crate) fn on(&self, lease: String, label: (&'static str, String)) -> Self {
        Self { lease, label: Some(label), ..self.clone() }
    }

    /// Sets the identity to one that no other process has, unless it is set. Returns it, too.
    pub(crate) fn identified(mut self) -> (Self, String) {
        let identity = self.identity.take().unwrap_or_else(unique_identity);
        (self.identity(identity.clone()), identity)
    }

    /// Returns the namespace of the Lease, given the client's.
    pub(crate) fn namespace_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(default)
    }

    /// Returns how long a Lease is valid that another wrote with these options and without its duration.
    pub(crate) fn duration(&self) -> Duration {
        self.lease_duration
    }

    /// Returns the time between the last moment at which a leader works and the first at which another may.
    pub(crate) fn margin(&self) -> Duration {
        self.lease_duration.saturating_sub(self.renew_deadline)
    }

    /// Returns the time after which a request for the Lease is given up, as in controller-runtime.
    pub(crate) fn request_timeout(&self) -> Duration {
        (self.renew_deadline / 2).max(Duration::from_secs(1))
    }
}

/// Returns an identity that no other process has. The host's name, which is the pod's, is there for people.
fn unique_identity() -> String {
    let host = rustix::system::uname();
    // Each `RandomState` has a key of its own, which comes from the operating system.
    let random = RandomState::new().build_hasher().finish();
    format!("{}_{random:016x}", host.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_defaults_are_those_of_client_go() {
        let election = Election::new("a");
        assert_eq!(election.check(), Ok(()));
        assert_eq!(election.lease_duration, seconds(15));
        assert_eq!(election.renew_deadline, seconds(10));
        assert_eq!(election.retry_period, seconds(2));
    }

    #[test]
    fn options_that_cannot_work_are_named() {
        let election = || Election::new("a");
        for (election, error) in [
            (Election::new(""), "the name of the Lease is empty"),
            (election().namespace(""), "the namespace of the Lease is empty"),
            (election().identity(""), "the identity is empty"),
            (election().retry_period(Duration::ZERO), "the retry period must be greater than zero"),
            (
                election().renew_deadline(Duration::from_millis(2400)),
                "the renew deadline (2.4s) must be greater than 1.2 times the retry period (2s)",
            ),
            (
                election().renew_deadline(seconds(15)),
                "the lease duration (15s) must be greater than the renew deadline (15s)",
            ),
            (
                election().lease_duration(Duration::MAX),
                "the lease duration (18446744073709551615.999999999s) is more than 2147483647 s",
            ),
        ] {
            assert_eq!(election.check().unwrap_err().to_string(), error);
        }
    }

    // Rule 24
    #[test]
    fn lease_requests_time_out_at_half_the_deadline_or_a_second() {
        assert_eq!(Election::new("a").request_timeout(), seconds(5));
        assert_eq!(
            Election::new("a").renew_deadline(Duration::from_millis(300)).request_timeout(),
            seconds(1)
        );
    }

    #[test]
    fn each_identity_is_another() {
        assert_ne!(unique_identity(), unique_identity());
        assert!(unique_identity().contains('_'));
    }
}
