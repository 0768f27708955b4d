//! The decisions of a candidate: what to ask the server next, and until when it leads. It does no I/O and has no clock.
//!
//! It is safe for these reasons:
//! - Writes carry the `resourceVersion` last seen, so that of two candidates only one gets the Lease.
//! - A leader counts from the *start* of its last successful write, which is before the server did it.
//! - Others count from when they *learned* of that write, which is after the server did it, and wait longer.
//!
//! A request that seems to have failed may still be done later. It changes nothing that matters: it fails if any other
//! write was done before, and else names a holder who does not lead, or who finds that out when it reads the Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::options::{Election, JITTER};
use super::record;

pub(super) struct Candidate {
    lease: String,
    label: Option<(&'static str, String)>,
    identity: String,
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
    rng: fastrand::Rng,
    /// The Lease as last read or written. `None`: there is none.
    seen: Option<Lease>,
    /// When a Lease that another holds may be taken. `None`: at any time.
    taken_until: Option<Instant>,
    /// Whether `seen` is good enough to write. If not, it is read first.
    fresh: bool,
    /// Whether a conflict was just followed by another attempt without a wait.
    retried: bool,
    /// The time of the next request.
    at: Instant,
    term: Option<Term>,
    terms: u64,
}

/// A time of leadership without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// Counts the terms of this candidate.
    pub(super) number: u64,
    pub(super) since: Instant,
    /// The first instant at which it does not lead, unless it renews the Lease before.
    pub(super) until: Instant,
}

/// A Lease that was observed before there was a candidate.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) lease: Lease,
    /// When it may be taken if it has not changed by then.
    pub(crate) taken_until: Instant,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Get,
    Create(Box<Lease>),
    Update(Box<Lease>),
    /// Nothing until then, or until something is observed.
    Wait(Instant),
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The Lease that was read or written.
    Lease(Box<Lease>),
    /// There is no Lease.
    Missing,
    /// The Lease was changed or created by another in the meantime.
    Conflict,
    /// It failed, or nobody knows: it timed out.
    Failed,
}

impl Candidate {
    pub(super) fn new(election: &Election, identity: String, rng: fastrand::Rng, now: Instant) -> Self {
        Self {
            lease: election.lease.clone(),
            label: election.label.clone(),
            identity,
            lease_duration: election.lease_duration,
            renew_deadline: election.renew_deadline,
            retry_period: election.retry_period,
            rng,
            seen: None,
            taken_until: None,
            fresh: false,
            retried: false,
            at: now,
            term: None,
            terms: 0,
        }
    }

    /// Begins with what was observed before: a Lease, and when it will have been unchanged for its duration. It is read
    /// again before it is taken.
    pub(super) fn knowing(mut self, known: Known) -> Self {
        self.seen = Some(known.lease);
        self.taken_until = Some(known.taken_until);
        self
    }

    /// Returns the term if it leads now.
    pub(super) fn term(&self, now: Instant) -> Option<Term> {
        self.term.filter(|term| now < term.until)
    }

    /// Returns who holds the Lease, as far as it knows.
    pub(super) fn holder(&self) -> Option<&str> {
        self.seen.as_ref().and_then(record::holder)
    }

    /// Returns the version of the Lease that it has seen last.
    pub(super) fn version(&self) -> Option<&str> {
        self.seen.as_ref()?.metadata.resource_version.as_deref()
    }

    /// Returns what to do now. `wall` is the time to write into the Lease; nothing depends on it.
    pub(super) fn next(&mut self, now: Instant, wall: Timestamp) -> Step {
        self.term = self.term(now);
        let free = self.taken_until.is_none_or(|taken| taken <= now);
        let takes = self.term.is_none() && self.fresh;
        let due = match self.taken_until {
            _ if !takes => self.at,
            Some(taken) => self.at.min(taken),
            None => now,
        };
        if now < due {
            Step::Wait(due)
        } else if !self.fresh || !free {
            Step::Get
        } else {
            let mut lease =
                record::held(self.seen.as_ref(), &self.lease, &self.identity, self.lease_duration, wall);
            if let Some((label, value)) = &self.label {
                lease.metadata.labels.get_or_insert_default().insert((*label).to_owned(), value.clone());
            }
            let lease = Box::new(lease);
            if self.seen.is_some() { Step::Update(lease) } else { Step::Create(lease) }
        }
    }

    /// Takes the answer of a [`Step::Get`].
    pub(super) fn read(&mut self, started: Instant, now: Instant, answer: Answer) {
        self.term = self.term(now);
        match answer {
            Answer::Lease(lease) => self.observed(now, Some(*lease)),
            Answer::Missing => self.observed(now, None),
            Answer::Conflict | Answer::Failed => self.fresh = false,
        }
        // A leader that has read its own Lease renews it without a wait.
        let wait = if self.term.is_some() && self.fresh { Duration::ZERO } else { self.jittered() };
        self.at = now.max(started + wait);
    }

    /// Takes the answer of a [`Step::Create`] or [`Step::Update`].
    pub(super) fn wrote(&mut self, started: Instant, now: Instant, answer: Answer) {
        self.term = self.term(now);
        match answer {
            Answer::Lease(lease) => {
                self.seen = Some(*lease);
                self.taken_until = None;
                self.fresh = true;
                self.retried = false;
                self.renewed(now, started + self.renew_deadline);
                self.at = now.max(started + self.retry_period);
            }
            Answer::Missing => {
                self.observed(now, None);
                self.again(started, now);
            }
            Answer::Conflict => {
                self.fresh = false;
                self.again(started, now);
            }
            Answer::Failed => {
                // A leader writes again with the version it knows: a read before costs time that it may not have.
                self.fresh = self.term.is_some();
                let wait = if self.fresh { self.retry_period } else { self.jittered() };
                self.at = now.max(started + wait);
            }
        }
    }

    /// Takes the Lease as it is now, or that there is none.
    pub(super) fn observed(&mut self, now: Instant, lease: Option<Lease>) {
        if !lease.as_ref().is_some_and(|lease| self.is_held(lease)) {
            // Whoever reads this may take the Lease now.
            self.term = None;
        }
        match &lease {
            // Gone. Its holder does not know yet, so it counts until it would have expired.
            None => {}
            Some(lease) if self.seen.as_ref().is_some_and(|seen| seen.spec == lease.spec) => {}
            Some(lease) => {
                let other = record::holder(lease).is_some() && !self.is_held(lease);
                self.taken_until =
                    other.then(|| now + record::duration(lease).unwrap_or(self.lease_duration));
            }
        }
        self.seen = lease;
        self.fresh = true;
    }

    /// Whether a Lease names this candidate as its holder.
    pub(super) fn is_held(&self, lease: &Lease) -> bool {
        record::holder(lease) == Some(self.identity.as_str())
    }

    /// Stops leading, and returns the Lease that says so, if it led.
    pub(super) fn release(&mut self, now: Instant, wall: Timestamp) -> Option<Lease> {
        self.term(now)?;
        self.term = None;
        Some(record::released(self.seen.clone()?, wall))
    }

    fn renewed(&mut self, now: Instant, until: Instant) {
        let (number, since) = match self.term {
            Some(term) => (term.number, term.since),
            // The write took so long that it is of no use.
            None if until <= now => return,
            None => {
                self.terms += 1;
                (self.terms, now)
            }
        };
        self.term = Some(Term { number, since, until });
    }

    /// Tries again at once, but only once in a row.
    fn again(&mut self, started: Instant, now: Instant) {
        let wait = if self.retried { self.jittered() } else { Duration::ZERO };
        self.fresh &= !self.retried;
        self.at = now.max(started + wait);
        self.retried = !self.retried;
    }

    fn jittered(&mut self) -> Duration {
        self.retry_period.mul_f64(1.0 + JITTER * self.rng.f64())
    }
}

#[cfg(test)]
mod tests;
