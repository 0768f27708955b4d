//! The clock of the state machines.

use std::time::Duration;

/// Time since the [`Informers`](crate::Informers) were created.
pub(crate) type Time = Duration;
