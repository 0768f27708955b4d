//! The reasons for a run, of which only the first few are kept.

use crate::reason::Reason;

/// How many reasons of a run are kept.
const KEPT: usize = 16;

/// Why a key runs: the first reasons since its last run, and how many more there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons {
    list: Vec<Reason>,
    omitted: u32,
}

impl Reasons {
    /// Adds a reason.
    pub(crate) fn push(&mut self, reason: Reason) {
        if self.list.len() < KEPT {
            self.list.push(reason);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds a reason before the others.
    pub(crate) fn push_front(&mut self, reason: Reason) {
        self.list.insert(0, reason);
        if self.list.len() > KEPT {
            self.list.truncate(KEPT);
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Returns the reasons that are kept: the first 16.
    pub(crate) fn list(&self) -> &[Reason] {
        &self.list
    }

    /// Returns how many more there were.
    pub(crate) const fn omitted(&self) -> u32 {
        self.omitted
    }
}
