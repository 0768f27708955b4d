//! What a test needs of its cluster.

/// What a test does that not every cluster allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Stops and starts the API server.
    Restart,
    /// Makes the server forget its history.
    Compaction,
    /// Counts on controllers: namespaces that end, default ServiceAccounts, garbage collection.
    Controllers,
    /// Counts on none: no admission that fills in ServiceAccounts, and nobody who acts on the objects.
    NoControllers,
    /// Changes what the tests share: a cluster of its own.
    Alone,
    /// Runs kubectl, of the version whose words the tests expect.
    Kubectl,
    /// Runs the program in `e2e/go`.
    Go,
    /// Runs pods, with the image of crdctl.
    Nodes,
    /// Shows the administrator's client certificate.
    Certificate,
    /// Counts on watch-lists (KEP-3157), which are on by default from Kubernetes 1.34 on.
    WatchLists,
    /// Counts on a server that refuses them.
    NoWatchLists,
}

/// Whether the API server does watch-lists: a server of ours does unless it is told not to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchLists {
    On,
    Off,
}

/// What a provider lacks, in words: the reason to skip a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped(pub String);

impl WatchLists {
    pub(crate) fn of(needs: &[Need]) -> WatchLists {
        if needs.contains(&Need::NoWatchLists) { WatchLists::Off } else { WatchLists::On }
    }
}
