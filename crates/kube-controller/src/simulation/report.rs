//! What a simulation found.

use std::fmt;

use super::schedule::Schedule;
use super::violation::Violation;

/// What a simulation found. Prints as what its user needs to see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many executions there were.
    pub executions: usize,
    /// How many writes the operator made without faults.
    pub writes: u32,
    /// How many events its watches had without faults.
    pub events: u32,
    /// What failed first, shortened.
    pub failure: Option<Failure>,
}

/// An execution that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The seed of the simulation.
    pub seed: u64,
    /// The fewest faults that were found to lead to a failure. None: it fails by itself.
    pub schedule: Schedule,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// How the final state differs from that of the execution without faults.
    pub differences: Vec<String>,
    /// What happened: the runs with their reasons, the writes, the faults. Of a long log the last 2,000 lines, after one that
    /// says how many are left out.
    pub log: Vec<String>,
}

impl Report {
    /// Whether nothing failed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, writes, events, failure } = self;
        write!(f, "{executions} executions, {writes} writes and {events} events without faults")?;
        match failure {
            Some(failure) => write!(f, "\n{failure}"),
            None => f.write_str(": nothing failed"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, schedule, violations, differences, log } = self;
        let faults = if schedule.faults().is_empty() { "none".to_owned() } else { schedule.to_string() };
        writeln!(f, "\nfaults: {faults} (seed {seed})")?;
        for violation in violations {
            writeln!(f, "violated: {violation}")?;
        }
        if !differences.is_empty() {
            writeln!(f, "\nthe final state differs from that without faults:")?;
            for difference in differences {
                writeln!(f, "  {difference}")?;
            }
        }
        writeln!(f, "\nwhat happened:")?;
        for line in log {
            writeln!(f, "  {line}")?;
        }
        writeln!(
            f,
            "\nto play it again, instead of `check()`:\n  .seed({seed}).replay({:?})",
            schedule.to_string()
        )
    }
}
