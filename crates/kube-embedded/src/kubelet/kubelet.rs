//! What was put into Pods.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::log::Log;
use super::process::{Process, Runs};
use crate::clock::Clock;

/// What the kubelets of a server answer. Nothing at first. Clones share it.
#[derive(Clone, Debug)]
pub struct Kubelet {
    contents: Arc<Mutex<Contents>>,
    clock: Clock,
}

/// What a Pod answers, or one of its containers. What was put last answers: a process for any command hides those for some
/// command that were put before.
#[derive(Clone, Debug)]
pub struct PodContent {
    kubelet: Kubelet,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// `None`: any.
    pub(crate) container: Option<String>,
}

/// Something that was put.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) id: u64,
    pub(crate) place: Place,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Log {
        previous: bool,
        log: Log,
    },
    Exec {
        /// `None`: any.
        command: Option<Vec<String>>,
        process: Process,
        runs: Runs,
    },
    Attach {
        process: Process,
        runs: Runs,
    },
    Forward {
        port: u16,
        to: SocketAddr,
    },
}

#[derive(Debug, Default)]
struct Contents {
    next: u64,
    /// In the order in which they were put.
    all: Vec<Content>,
}

impl Kubelet {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { contents: Arc::default(), clock }
    }

    /// Selects a Pod with all its containers. It need not exist yet, and whatever is put stays when it is deleted.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> PodContent {
        let place = Place { namespace: namespace.to_owned(), pod: name.to_owned(), container: None };
        PodContent { kubelet: self.clone(), place }
    }

    /// Removes all that was put. Logs end; processes and connections that clients have already go on.
    pub fn clear(&self) {
        self.lock().remove(|_| true);
    }

    /// The time of the server's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// All that was put, in this order.
    pub(crate) fn all(&self) -> Vec<Content> {
        self.lock().all.clone()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Content> {
        self.lock().all.iter().find(|it| it.id == id).cloned()
    }

    pub(crate) fn remove(&self, id: u64) -> Option<Content> {
        let mut contents = self.lock();
        let found = contents.all.iter().find(|it| it.id == id).cloned();
        contents.remove(|it| it.id == id);
        found
    }

    /// The latest for a container (`None`: for any) in which `find` finds something.
    pub(crate) fn latest<T>(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        find: impl Fn(&What) -> Option<T>,
    ) -> Option<T> {
        let contents = self.lock();
        let all = contents.all.iter().rev();
        all.filter(|it| it.place.contains(namespace, pod, container)).find_map(|it| find(&it.what))
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn remove(&mut self, is_unwanted: impl Fn(&Content) -> bool) {
        self.all.retain(|it| {
            let is_unwanted = is_unwanted(it);
            // Also if the test still has the log: what it appends is no longer what the container writes.
            if let What::Log { log, .. } = &it.what
                && is_unwanted
            {
                log.end();
            }
            !is_unwanted
        });
    }
}

impl PodContent {
    /// Selects one container of the Pod: also an init container or an ephemeral one.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.place.container = Some(name.to_owned());
        self
    }

    /// Puts an empty log, in place of the one before, which ends, as when a container restarts.
    pub fn log(&self) -> Log {
        self.put_log(false, [], false).0
    }

    /// Puts an empty log of the container's previous instance (`kubectl logs --previous`), which has ended.
    pub fn previous_log(&self) -> Log {
        self.put_log(true, [], true).0
    }

    /// Puts a process that clients run with any command.
    pub fn exec(&self, process: Process) -> Runs {
        self.put_exec(None, process).0
    }

    /// Puts a process that clients run with this command.
    pub fn exec_command(&self, command: &[&str], process: Process) -> Runs {
        let command = command.iter().map(|&part| part.to_owned()).collect();
        self.put_exec(Some(command), process).0
    }

    /// Puts a process to which clients attach.
    pub fn attach(&self, process: Process) -> Runs {
        self.put_attach(process).0
    }

    /// Connects clients that forward a port of the Pod with an address, on which the test listens. A connection ends if the test
    /// reads nothing for half a minute while the client waits to send more.
    ///
    /// Containers of a Pod share their ports, so [`container`](Self::container) makes no difference.
    pub fn port_forward(&self, port: u16, to: SocketAddr) {
        self.put(What::Forward { port, to });
    }

    /// Puts a log that already has lines, and with `ended` its end.
    pub(crate) fn put_log<'a>(
        &self,
        previous: bool,
        lines: impl IntoIterator<Item = (Timestamp, &'a str)>,
        ended: bool,
    ) -> (Log, u64) {
        let log = Log::new(self.kubelet.clock.clone());
        log.extend(lines, ended || previous);
        let id = self.put(What::Log { previous, log: log.clone() });
        (log, id)
    }

    pub(crate) fn put_exec(&self, command: Option<Vec<String>>, process: Process) -> (Runs, u64) {
        let runs = Runs::default();
        let id = self.put(What::Exec { command, process, runs: runs.clone() });
        (runs, id)
    }

    pub(crate) fn put_attach(&self, process: Process) -> (Runs, u64) {
        let runs = Runs::default();
        let id = self.put(What::Attach { process, runs: runs.clone() });
        (runs, id)
    }

    /// Puts something, in place of what it hides completely. Returns its id.
    pub(crate) fn put(&self, what: What) -> u64 {
        let mut contents = self.kubelet.lock();
        contents.remove(|it| it.place == self.place && what.hides(&it.what));
        let id = contents.next;
        contents.next += 1;
        contents.all.push(Content { id, place: self.place.clone(), what });
        id
    }
}

impl Place {
    fn contains(&self, namespace: &str, pod: &str, container: Option<&str>) -> bool {
        self.namespace == namespace
            && self.pod == pod
            && self.container.as_deref().is_none_or(|own| container.is_none_or(|container| own == container))
    }
}

impl What {
    /// Whether nothing is left of another one for the same containers.
    fn hides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Log { previous, .. }, Self::Log { previous: other, .. }) => previous == other,
            (Self::Exec { command, .. }, Self::Exec { command: other, .. }) => {
                command.is_none() || command == other
            }
            (Self::Attach { .. }, Self::Attach { .. }) => true,
            (Self::Forward { port, .. }, Self::Forward { port: other, .. }) => port == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_for_a_container_answers() {
        let kubelet = Kubelet::new(Clock::default());
        let pod = kubelet.pod("default", "web");
        let find = |container: &str, ran: &str| {
            kubelet.latest("default", "web", Some(container), |what| match what {
                What::Exec { command, process, .. }
                    if command.as_ref().is_none_or(|command| *command == [ran]) =>
                {
                    Some(process.exit_code)
                }
                _ => None,
            })
        };
        assert_eq!(find("app", "ls"), None);
        pod.exec(Process::new().exit_code(1));
        pod.exec_command(&["ls"], Process::new().exit_code(2));
        pod.clone().container("app").exec_command(&["ls"], Process::new().exit_code(3));
        assert_eq!((find("app", "ls"), find("proxy", "ls"), find("app", "cat")), (Some(3), Some(2), Some(1)));
        pod.exec(Process::new());
        assert_eq!((find("app", "ls"), kubelet.all().len()), (Some(0), 2), "it hides what is in its way");
        kubelet.clear();
        assert_eq!(find("app", "ls"), None);
    }
}
