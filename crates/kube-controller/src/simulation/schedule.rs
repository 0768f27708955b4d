//! Which faults strike, and when.

use std::fmt;
use std::str::FromStr;

/// Where a fault strikes: at a request or an event of the operator, counted from 1 over all its restarts. Requests for
/// Leases and Events do not count, nor do bookmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// At a write.
    Write(u32, WriteFault),
    /// At an event of a watch.
    Event(u32, EventFault),
}

/// What happens at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WriteFault {
    /// The operator ends before the server gets the request, and starts again a second later.
    CrashBefore,
    /// The operator ends after the server has performed the request.
    CrashAfter,
    /// The server performs the request, but its answer is lost.
    AnswerLost,
    /// The server refuses the request with 409.
    Conflict,
    /// The server refuses the request with 403.
    Forbidden,
    /// An admission webhook refuses the request, with 400.
    Denied,
    /// The server takes half a minute.
    Slow,
    /// The lease cannot be renewed any more, and becomes another's. The request is under way for longer than that.
    LeadershipLost,
    /// An hour passes after the request.
    ClockJump,
}

/// What happens at an event of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EventFault {
    /// It and what follows on this watch come half a minute later, longer than a controller waits for its own writes.
    Held,
    /// It and what follows on this watch for five seconds come as one event per object: states in between are never seen.
    Merged,
    /// The watch ends with 410 instead, and a list follows.
    Relist,
}

pub(crate) const WRITE_FAULTS: [WriteFault; 9] = [
    WriteFault::CrashBefore,
    WriteFault::CrashAfter,
    WriteFault::AnswerLost,
    WriteFault::Conflict,
    WriteFault::Forbidden,
    WriteFault::Denied,
    WriteFault::Slow,
    WriteFault::LeadershipLost,
    WriteFault::ClockJump,
];

pub(crate) const EVENT_FAULTS: [EventFault; 3] = [EventFault::Held, EventFault::Merged, EventFault::Relist];

/// The faults of one execution. As text, for [`Simulation::replay`](super::Simulation::replay), for example
/// `write 3: crash after, event 7: held`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schedule {
    pub(crate) faults: Vec<Fault>,
}

/// The text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a fault, such as `write 3: crash after` or `event 7: held`")]
pub struct InvalidSchedule(String);

impl Schedule {
    pub(crate) fn of(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { faults: faults.into_iter().collect() }
    }

    /// Returns the faults.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(crate) fn at_write(&self, number: u32) -> Option<WriteFault> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Write(at, fault) if *at == number => Some(*fault),
            _ => None,
        })
    }

    pub(crate) fn at_event(&self, number: u32) -> Option<EventFault> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Event(at, fault) if *at == number => Some(*fault),
            _ => None,
        })
    }

    pub(crate) fn without(&self, index: usize) -> Self {
        let mut faults = self.faults.clone();
        faults.remove(index);
        Self { faults }
    }
}

impl Fault {
    /// Where it strikes: whether at a write, and its number.
    pub(crate) fn place(self) -> (bool, u32) {
        match self {
            Self::Write(at, _) => (true, at),
            Self::Event(at, _) => (false, at),
        }
    }
}

impl fmt::Display for WriteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrashBefore => "crash before",
            Self::CrashAfter => "crash after",
            Self::AnswerLost => "answer lost",
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
            Self::Denied => "denied",
            Self::Slow => "slow",
            Self::LeadershipLost => "leadership lost",
            Self::ClockJump => "clock jump",
        })
    }
}

impl fmt::Display for EventFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Merged => "merged",
            Self::Relist => "relist",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(at, fault) => write!(f, "write {at}: {fault}"),
            Self::Event(at, fault) => write!(f, "event {at}: {fault}"),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let parse = || {
            let (place, fault) = text.split_once(": ")?;
            let (kind, number) = place.split_once(' ')?;
            let number = number.parse().ok()?;
            let write = || WRITE_FAULTS.into_iter().find(|known| known.to_string() == fault);
            let event = || EVENT_FAULTS.into_iter().find(|known| known.to_string() == fault);
            match kind {
                "write" => Some(Self::Write(number, write()?)),
                "event" => Some(Self::Event(number, event()?)),
                _ => None,
            }
        };
        parse().ok_or_else(|| InvalidSchedule(text.to_owned()))
    }
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let faults = text.split(',').map(str::trim).filter(|fault| !fault.is_empty());
        Ok(Self { faults: faults.map(str::parse).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_is_printed() {
        let writes = WRITE_FAULTS.into_iter().zip(1..).map(|(fault, at)| Fault::Write(at, fault));
        let events = EVENT_FAULTS.into_iter().zip(1..).map(|(fault, at)| Fault::Event(at, fault));
        let schedule = Schedule::of(writes.chain(events));
        assert_eq!(schedule.to_string().parse(), Ok(schedule));
        assert_eq!("".parse(), Ok(Schedule::default()));
        assert!("write x: slow".parse::<Schedule>().is_err());
        assert!("event 1: slow".parse::<Schedule>().is_err());
    }
}
