//! Work that costs do not count.
//!
//! A call of cel-go costs what its arguments are on the outside: `==` of two lists of lists looks at their lengths, `format` at
//! its pattern. Such calls can take hours and all memory below any limit, where kube-apiserver has the deadline of its request.
//! An evaluation therefore also has an allowance of work, in proportion to the limit of its cost, and far above what an
//! expression needs that kube-apiserver answers in time.

use std::cell::Cell;

use super::Error;

/// The work for each unit of cost. A unit of work is about a nanosecond.
const PER_COST: u64 = 1_000;

/// An evaluation with a lower limit may still look at a whole object.
const COST_MIN: u64 = 1_000_000;

/// The work of a place in a list, which needs memory.
pub(crate) const ELEMENT: usize = 64;

/// The work of a value that is visited inside of others.
pub(crate) const VISIT: usize = 256;

thread_local! {
    /// What is left of the allowance of this thread's evaluation: functions of libraries are called with nothing but their
    /// arguments.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// The allowance of an evaluation, until it is dropped.
pub(crate) struct Allowance {
    outer: u64,
}

impl Allowance {
    pub(crate) fn for_cost(limit: u64) -> Self {
        Self { outer: LEFT.replace(limit.max(COST_MIN).saturating_mul(PER_COST)) }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        LEFT.set(self.outer);
    }
}

/// Does work.
///
/// # Errors
/// Ends the evaluation if nothing is left of its allowance.
pub(crate) fn work(amount: usize) -> Result<(), Error> {
    let left = LEFT.get().saturating_sub(u64::try_from(amount).unwrap_or(u64::MAX));
    LEFT.set(left);
    if left == 0 { Err(Error::Cancelled) } else { Ok(()) }
}
