//! The needs of a test, which a cluster may or may not meet.

/// Something that a test does or relies on, and that not every cluster supports or allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Stops and starts the API server.
    Restart,
    /// Makes the server forget its history.
    Compaction,
    /// Relies on controllers: namespace deletion, default ServiceAccounts, garbage collection, quotas, storage in use,
    /// types of policies.
    Controllers,
    /// Relies on the absence of controllers that change the objects, and of admission that fills in ServiceAccounts.
    NoControllers,
    /// Changes state that the tests share: the test needs the cluster to itself.
    Alone,
    /// Runs servers that the API server has to reach on this machine.
    Callbacks,
    /// Runs kubectl, in the version whose messages the tests expect.
    Kubectl,
    /// Runs the program in `e2e/go`.
    Go,
    /// Runs pods with the image of crdctl.
    Nodes,
    /// Runs programs in a real terminal, tmux.
    Terminal,
    /// Uses the administrator's client certificate.
    Certificate,
    /// Is a front proxy, or a server that recognizes the API server as one.
    FrontProxy,
    /// Relies on watch-lists (KEP-3157), which are on by default from Kubernetes 1.34 on.
    WatchLists,
    /// Relies on a server that refuses watch-lists.
    NoWatchLists,
}

/// Whether an API server that we start supports watch-lists. It does by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchLists {
    On,
    Off,
}

/// The reason to skip a test: what the provider lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped(pub String);

impl WatchLists {
    pub(crate) fn of(needs: &[Need]) -> WatchLists {
        if needs.contains(&Need::NoWatchLists) { WatchLists::Off } else { WatchLists::On }
    }
}
