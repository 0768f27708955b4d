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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kube_informer::{Shard, Status, StatusWatch};

    use super::*;
    use crate::lock::lock;

    const SECOND: Duration = Duration::from_secs(1);

    /// A cache of ConfigMaps that has what the test says.
    #[derive(Default)]
    struct Fake(Mutex<Vec<Write>>);

    impl Cache for Fake {
        fn kind(&self) -> &'static str {
            "ConfigMap"
        }

        fn group(&self) -> &'static str {
            ""
        }

        fn plural(&self) -> &'static str {
            "configmaps"
        }

        fn status(&self) -> Arc<Status> {
            unreachable!("nobody asks")
        }

        fn watch_status(&self) -> StatusWatch {
            unreachable!("nobody asks")
        }

        fn shard(&self) -> Option<&Shard> {
            None
        }

        fn has(&self, write: &Write) -> bool {
            lock(&self.0).contains(write)
        }
    }

    impl Fake {
        fn receive(&self, write: &Write) {
            lock(&self.0).push(write.clone());
        }
    }

    fn caches(caches: &[&Arc<Fake>]) -> Vec<Arc<dyn Cache>> {
        caches.iter().map(|cache| Arc::clone(cache) as _).collect()
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    fn write(name: &str, state: Written) -> Write {
        Write { group: "".into(), plural: "configmaps".into(), key: key(name), uid: None, state }
    }

    fn version(name: &str, version: &str) -> Write {
        write(name, Written::Version(version.into()))
    }

    /// The keys that wait no longer, and whether their time was over.
    fn names(released: Vec<Released>) -> Vec<(String, bool)> {
        released.into_iter().map(|released| (released.key.name().to_owned(), released.timed_out)).collect()
    }

    #[test]
    fn a_key_waits_until_every_cache_of_the_type_has_all_that_it_wrote() {
        let (now, first, second) = (Instant::now(), Arc::new(Fake::default()), Arc::new(Fake::default()));
        let (one, two) = (version("one", "1"), version("two", "2"));
        let mut own = OwnWrites::default();
        assert!(own.wrote(now, &key("page"), vec![one.clone(), two.clone()], &caches(&[&first, &second])));
        first.receive(&one);
        first.receive(&two);
        assert_eq!(names(own.seen(&key("one"))), []);
        assert_eq!(names(own.seen(&key("two"))), []);
        second.receive(&one);
        assert_eq!(names(own.seen(&key("one"))), []);
        second.receive(&two);
        assert_eq!(names(own.seen(&key("another"))), [], "that says nothing");
        assert_eq!(names(own.seen(&key("two"))), [("page".to_owned(), false)]);
        assert_eq!(names(own.seen(&key("two"))), [], "only once");
        assert!(own.by_object.is_empty());
    }

    #[test]
    fn a_key_waits_until_the_cache_has_seen_a_delete() {
        let (now, cache) = (Instant::now(), Arc::new(Fake::default()));
        let gone = write("gone", Written::Deleted);
        let mut own = OwnWrites::default();
        assert!(own.wrote(now, &key("page"), vec![gone.clone()], &caches(&[&cache])));
        assert_eq!(names(own.seen(&key("gone"))), []);
        cache.receive(&gone);
        assert_eq!(names(own.seen(&key("gone"))), [("page".to_owned(), false)]);
    }

    #[test]
    fn caches_are_asked_at_intervals_and_a_key_waits_for_ten_seconds_at_most() {
        let (now, cache) = (Instant::now(), Arc::new(Fake::default()));
        let (seen, unseen) = (version("seen", "1"), version("unseen", "2"));
        let mut own = OwnWrites::default();
        assert_eq!(own.next_check(), None);
        assert!(own.wrote(now, &key("page"), vec![seen.clone()], &caches(&[&cache])));
        assert!(own.wrote(now, &key("other"), vec![unseen], &caches(&[&cache])));
        let check = own.next_check().unwrap();
        assert!(check <= now + SECOND, "soon");
        assert_eq!(names(own.check_all(check)), []);
        // The version of the whole cache shows it: no event does.
        cache.receive(&seen);
        assert_eq!(names(own.check_all(check)), [("page".to_owned(), false)]);
        assert_eq!(names(own.check_all(now + 10 * SECOND - Duration::from_millis(1))), []);
        assert_eq!(names(own.check_all(now + 10 * SECOND)), [("other".to_owned(), true)]);
        assert_eq!(own.next_check(), None);
        assert!(own.by_object.is_empty());
    }

    #[test]
    fn what_is_in_the_cache_already_or_in_none_is_not_waited_for() {
        let (now, cache) = (Instant::now(), Arc::new(Fake::default()));
        let mut own = OwnWrites::default();
        let there = version("there", "1");
        cache.receive(&there);
        assert!(!own.wrote(now, &key("page"), vec![there], &caches(&[&cache])));
        let secret = Write { plural: "secrets".into(), ..version("a", "2") };
        let foreign = Write { group: "example.com".into(), ..version("a", "3") };
        assert!(!own.wrote(now, &key("page"), vec![secret, foreign], &caches(&[&cache])));
        assert_eq!(own.next_check(), None);
    }

    #[test]
    fn the_versions_of_the_last_run_are_its_own_for_a_minute() {
        let (now, mut own) = (Instant::now(), OwnWrites::default());
        let is_own = |own: &OwnWrites, version: &str| own.is_own(&key("page"), Some(&version.into()));
        own.wrote(now, &key("page"), vec![version("a", "1"), write("b", Written::Deleted)], &[]);
        assert!(is_own(&own, "1") && !is_own(&own, "2"));
        assert!(!own.is_own(&key("other"), Some(&"1".into())) && !own.is_own(&key("page"), None));
        assert!(own.has_written(&key("page"), &key("b")) && !own.has_written(&key("page"), &key("c")));
        own.wrote(now, &key("page"), vec![version("a", "2")], &[]);
        assert!(!is_own(&own, "1") && is_own(&own, "2"), "that of the run before is not");
        own.wrote(now + 61 * SECOND, &key("other"), vec![], &[]);
        assert!(!is_own(&own, "2"));
    }
}
