//! A key does not run before the caches contain what its last run wrote (rule 14).
//!
//! A write is found in a cache when its event arrives, or, if the cache selects other objects, once the whole cache has
//! reached its version. The former is checked for the object of each event, the latter at intervals.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube_informer::ObjectKey;
use smol_str::SmolStr;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::ledger::{Write, Written};

/// How long a key waits at most: a watch that is dead is noticed later than that.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long the versions that a run wrote are remembered, to tell which changes are its own.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How often caches are asked whether they have reached a version.
const INTERVAL: Duration = Duration::from_millis(100);

/// The writes of a controller's last runs.
#[derive(Default)]
pub(crate) struct OwnWrites {
    /// The keys that wait, with what for.
    waiting: BTreeMap<ObjectKey, Wait>,
    /// The keys that wait for an object, by its name: which type it is of is looked up.
    by_object: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// The versions that the last run of a key wrote.
    last: HashMap<ObjectKey, Last>,
    purge_at: Option<Instant>,
    /// When the caches are asked again.
    check_at: Option<Instant>,
}

struct Wait {
    writes: Vec<(Arc<dyn Cache>, Write)>,
    until: Instant,
}

struct Last {
    at: Instant,
    versions: Vec<SmolStr>,
    /// The objects that it wrote.
    objects: Vec<ObjectKey>,
}

/// A key that need not wait any longer.
pub(crate) struct Released {
    pub(crate) key: ObjectKey,
    /// Whether its time was over: the caches are still older than its writes.
    pub(crate) timed_out: bool,
}

impl OwnWrites {
    /// Takes note of what a run wrote. Returns whether the key has to wait.
    pub(crate) fn wrote(
        &mut self,
        now: Instant,
        key: &ObjectKey,
        writes: Vec<Write>,
        caches: &[Arc<dyn Cache>],
    ) -> bool {
        self.purge(now);
        let versions = writes.iter().filter_map(|write| match &write.state {
            Written::Version(version) => Some(version.clone()),
            Written::Deleted => None,
        });
        let versions: Vec<_> = versions.collect();
        if versions.is_empty() {
            self.last.remove(key);
        } else {
            let objects = writes.iter().map(|write| write.key.clone()).collect();
            self.last.insert(key.clone(), Last { at: now, versions, objects });
        }
        let of =
            |write: &Write, cache: &dyn Cache| cache.group() == write.group && cache.plural() == write.plural;
        let unseen: Vec<_> = writes
            .into_iter()
            .flat_map(|write| {
                let caches = caches.iter().filter(|cache| of(&write, &***cache) && !cache.has(&write));
                caches.map(|cache| (Arc::clone(cache), write.clone())).collect::<Vec<_>>()
            })
            .collect();
        if unseen.is_empty() {
            return false;
        }
        for (_, write) in &unseen {
            self.by_object.entry(write.key.clone()).or_default().insert(key.clone());
        }
        self.waiting.insert(key.clone(), Wait { writes: unseen, until: now + LONGEST_WAIT });
        self.check_at.get_or_insert(now + INTERVAL);
        true
    }

    /// Whether the last run of a key wrote this version.
    pub(crate) fn is_own(&self, key: &ObjectKey, version: Option<&SmolStr>) -> bool {
        let written = |last: &Last| version.is_some_and(|version| last.versions.contains(version));
        self.last.get(key).is_some_and(written)
    }

    /// Whether the last run of a key wrote this object.
    pub(crate) fn has_written(&self, key: &ObjectKey, object: &ObjectKey) -> bool {
        self.last.get(key).is_some_and(|last| last.objects.contains(object))
    }

    /// Returns the keys that waited for this object and need not any longer.
    pub(crate) fn seen(&mut self, object: &ObjectKey) -> Vec<Released> {
        let Some(keys) = self.by_object.get(object) else { return Vec::new() };
        keys.clone().iter().filter_map(|key| self.check(key, None)).collect()
    }

    /// When [`check_all`](Self::check_all) is to be called.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.check_at
    }

    /// Returns the keys that need not wait any longer.
    pub(crate) fn check_all(&mut self, now: Instant) -> Vec<Released> {
        let keys: Vec<_> = self.waiting.keys().cloned().collect();
        let released = keys.iter().filter_map(|key| self.check(key, Some(now))).collect();
        self.check_at = (!self.waiting.is_empty()).then(|| now + INTERVAL);
        released
    }

    /// The key is gone, or another replica's.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn check(&mut self, key: &ObjectKey, now: Option<Instant>) -> Option<Released> {
        let wait = self.waiting.get_mut(key)?;
        let seen = wait.writes.extract_if(.., |(cache, write)| cache.has(write));
        let seen: Vec<_> = seen.map(|(_, write)| write.key).collect();
        let timed_out = now.is_some_and(|now| wait.until <= now) && !wait.writes.is_empty();
        let left: Vec<ObjectKey> = wait.writes.iter().map(|(_, write)| write.key.clone()).collect();
        if !left.is_empty() && !timed_out {
            for object in seen.iter().filter(|object| !left.contains(object)) {
                self.forget_object(object, key);
            }
            return None;
        }
        self.waiting.remove(key);
        for object in seen.iter().chain(&left) {
            self.forget_object(object, key);
        }
        Some(Released { key: key.clone(), timed_out })
    }

    fn forget_object(&mut self, object: &ObjectKey, key: &ObjectKey) {
        if let Some(keys) = self.by_object.get_mut(object) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_object.remove(object);
            }
        }
    }

    fn purge(&mut self, now: Instant) {
        if self.purge_at.is_none_or(|at| at <= now) {
            self.last.retain(|_, last| last.at + REMEMBERED > now);
            self.purge_at = Some(now + REMEMBERED);
        }
    }
}
