//! Waiting for the cache: for its first list, a version, or the state of an object.

use std::time::Duration;

use kube::Resource as _;
use tokio::time::{Instant, timeout};

use crate::{
    Cached, Error, Informer, ObjectKey, Quarantined, ResourceVersion, Status, Stopped, Synced,
    bounds::LONGEST, scope::one_namespace, uid::Uid, version::InvalidResourceVersion,
};

/// Why waiting for the cache failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The requested version cannot be compared.
    #[error(transparent)]
    Invalid(#[from] InvalidResourceVersion),
    /// The informer does not watch this namespace.
    #[error("namespace {0:?} is not watched")]
    NotWatched(String),
    /// The deadline passed first.
    #[error("the cache did not reach resource version {wanted} in time")]
    Deadline {
        /// The requested version.
        wanted: ResourceVersion,
        /// The version that the cache had reached.
        reached: Option<ResourceVersion>,
    },
    /// The time was over before the condition was met.
    #[error("{key} did not meet the condition in time")]
    NotMet {
        /// The namespace and name of the object.
        key: ObjectKey,
        /// The error of the informer's last attempt, if it was retrying at the end.
        #[source]
        source: Option<Error>,
    },
    /// The informer was stopped.
    #[error("the informer was stopped")]
    Stopped,
}

impl From<Stopped> for WaitError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl<K: Cached> Informer<K> {
    /// Waits until the first list is complete, through failures: the informer keeps retrying, and the server may be
    /// restarting, or permission may be granted a moment later. See [`synced`](Self::synced), which returns the first
    /// failure.
    ///
    /// # Errors
    /// After this time, fails with the error of the last attempt, or with [`Error::NotInTime`] if none had failed. Fails at
    /// once if the type cannot be watched, or the informer stops.
    pub async fn synced_within(&self, duration: Duration) -> Result<Synced, Error> {
        let (mut status, mut last) = (self.watch_status(), None);
        let settled = timeout(duration, async {
            loop {
                match self.synced().await {
                    Ok(synced) => return Ok(synced),
                    Err(
                        error @ (Error::Stopped | Error::NotWatchable { .. } | Error::NotNamespaced { .. }),
                    ) => {
                        return Err(error);
                    }
                    Err(error) => last = Some(error),
                }
                status.changed().await.map_err(|Stopped| Error::Stopped)?;
            }
        });
        match settled.await {
            Ok(settled) => settled,
            // A server that asks to come back later has not failed yet, but says why there is no list.
            Err(_) => Err(last
                .or_else(|| self.status().error().cloned())
                .unwrap_or(Error::NotInTime { waited: duration })),
        }
    }

    /// Waits until the cache contains everything in a namespace up to a version. A writer can thus read its own
    /// writes: pass the namespace of the object and the `metadata.resourceVersion` of the server's response. Without
    /// a namespace, or with an empty name, waits until all watched namespaces have reached the version.
    ///
    /// A write that the informer's selector does not match is only noticed with the next bookmark, up to a minute
    /// later.
    ///
    /// # Errors
    /// Fails if the version cannot be compared, if the namespace is not watched, if the deadline passes first, or if
    /// the informer stops.
    pub async fn wait_for<'a>(
        &self,
        namespace: impl Into<Option<&'a str>>,
        resource_version: &str,
        deadline: Instant,
    ) -> Result<(), WaitError> {
        let wanted: ResourceVersion = resource_version.parse()?;
        let namespace = namespace.into().and_then(one_namespace).filter(|_| self.is_by_namespace());
        // The version that was reached, or an error if the namespace is not watched.
        let progress = |status: &Status| match namespace {
            Some(namespace) => status
                .namespaces
                .get(namespace)
                .map(|status| status.resource_version)
                .ok_or_else(|| WaitError::NotWatched(namespace.to_owned())),
            None => Ok(status.resource_version),
        };
        let mut watch = self.watch_status();
        let settled =
            watch.wait_for(|status| progress(status).map_or(true, |reached| reached >= Some(wanted)));
        let status = match tokio::time::timeout_at(deadline, settled).await {
            Ok(Ok(status)) => status,
            Ok(Err(Stopped)) | Err(_) => self.status(),
        };
        match progress(&status)? {
            reached if reached >= Some(wanted) => Ok(()),
            _ if status.is_stopped() => Err(WaitError::Stopped),
            reached => Err(WaitError::Deadline { wanted, reached }),
        }
    }

    /// Waits until the cache contains an object in the state that a write returned, or in a later one. A writer can thus
    /// read its own writes. A duration of more than a year is taken for a year.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use k8s_openapi::api::core::v1::ConfigMap;
    /// # use kube::{Api, api::PostParams};
    /// # use kube_informer::Informer;
    /// # async fn example(
    /// #     api: Api<ConfigMap>, maps: &Informer<ConfigMap>, map: &ConfigMap
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let written = api.create(&PostParams::default(), map).await?;
    /// maps.wait_for_object(&written, Duration::from_secs(5)).await?;
    /// // The next snapshot contains it, unless it was deleted or the informer's selector does not match it.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for). An object that did not come from a server has no version, and is refused.
    pub async fn wait_for_object(&self, written: &K::Object, duration: Duration) -> Result<(), WaitError> {
        let meta = written.meta();
        let version = meta.resource_version.as_deref().unwrap_or_default();
        self.wait_for(meta.namespace.as_deref(), version, Instant::now() + duration.min(LONGEST)).await
    }

    /// Waits until the cached object of this name meets a condition, and returns it. Waits, too, while there is no such
    /// object, and through failures of the informer.
    ///
    /// The condition is checked when the cache has changed, whatever changed in it: O(log n). It sees the present state,
    /// and may miss states in between. It may use the informer.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use k8s_openapi::api::apps::v1::Deployment;
    /// # use kube_informer::{Informer, WaitError};
    /// # async fn example(deployments: &Informer<Deployment>) -> Result<(), WaitError> {
    /// let is_available = |deployment: &std::sync::Arc<Deployment>| {
    ///     let status = deployment.status.as_ref();
    ///     status.is_some_and(|status| status.available_replicas >= Some(1))
    /// };
    /// deployments.wait_until("default", "web", is_available, Duration::from_secs(60)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails with [`WaitError::NotMet`] after this time, or if the informer stops.
    pub async fn wait_until<'a>(
        &self,
        namespace: impl Into<Option<&'a str>>,
        name: &str,
        mut condition: impl FnMut(&K::Stored) -> bool,
        duration: Duration,
    ) -> Result<K::Stored, WaitError> {
        let key = ObjectKey::new(namespace, name);
        let found = || {
            let snapshot = self.snapshot().ok()?;
            snapshot.get_key(&key).filter(|object| condition(object)).cloned()
        };
        self.eventually(&key, found, duration).await
    }

    /// Waits until this object is gone: the cache has seen this state of it or a later one, and contains no object of its
    /// name, or another one, with another uid. An object that fails to decode is not gone, although no snapshot may
    /// contain it: it is [quarantined](Status::quarantined).
    ///
    /// # Errors
    /// Fails with [`WaitError::NotMet`] after this time, if the object has no version, or if the informer stops.
    pub async fn wait_until_gone(&self, object: &K::Object, duration: Duration) -> Result<(), WaitError> {
        let (key, meta) = (ObjectKey::from(object), object.meta());
        let seen: ResourceVersion = meta.resource_version.as_deref().unwrap_or_default().parse()?;
        let wanted = meta.uid.as_deref().map(Uid::Text);
        // Without a uid, the name decides: some aggregated APIs set none.
        let is_it = |uid: Option<Uid<'_>>| uid.is_none() || wanted.is_none() || uid == wanted;
        let gone = || {
            // Both at one moment. The status lists a quarantined object a moment later.
            let (snapshot, quarantined) = self.state().change(|store| {
                let is_held = |held: &Quarantined| is_it(held.uid.as_deref().map(Uid::Text));
                (store.snapshot(), store.quarantined().get(&key).is_some_and(is_held))
            });
            let snapshot = snapshot?;
            // A cache that lags behind may not contain it yet.
            let reached = snapshot.resource_version_of(meta.namespace.as_deref().unwrap_or_default());
            let cached = snapshot.get_key(&key).is_some_and(|held| is_it(K::uid(held)));
            (reached >= Some(seen) && !cached && !quarantined).then_some(())
        };
        self.eventually(&key, gone, duration).await
    }

    /// Waits until a look at the cache finds something.
    async fn eventually<T>(
        &self,
        key: &ObjectKey,
        mut look: impl FnMut() -> Option<T>,
        duration: Duration,
    ) -> Result<T, WaitError> {
        let state = self.state();
        let (mut status, mut changes) = (state.watch_status(), state.watch_changes());
        let looking = async {
            loop {
                // Before the look, so that no later change is missed.
                changes.mark_unchanged();
                if let Some(found) = look() {
                    return Ok(found);
                }
                // A list that is not the first changes objects long before it changes the version.
                tokio::select! {
                    changed = status.changed() => drop(changed?),
                    Ok(()) = changes.changed() => {}
                }
            }
        };
        match timeout(duration, looking).await {
            Ok(found) => found.map_err(|Stopped| WaitError::Stopped),
            // What comes at the same moment as the end of the time counts.
            Err(_) => look().ok_or_else(|| WaitError::NotMet {
                key: key.clone(),
                source: self.status().error().cloned(),
            }),
        }
    }
}
