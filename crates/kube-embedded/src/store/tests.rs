use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::collection::WatchEnd;
use super::*;
use crate::clock::Clock;

fn store() -> Arc<Store> {
    Arc::new(Store::new(Clock::default()))
}

fn things() -> Arc<str> {
    "example.com/things".into()
}

fn create(store: &Store, key: &str, value: &Value) -> Result<Arc<Object>, Error> {
    store.create(&things(), key, Content { value, mark: 0 }, &[])
}

fn update(store: &Store, key: &str, seen: u64, value: &Value) -> Result<Arc<Object>, Error> {
    store.update(&things(), key, seen, Content { value, mark: 0 })
}

/// A write to a key in the property tests.
#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..8u8).prop_map(Step::Put),
        3 => (0..8u8).prop_map(Step::Delete),
        1 => Just(Step::Compact),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Keys in two namespaces. The name of one is a prefix of the other's.
fn key_of(number: u8) -> String {
    let namespace = if number.is_multiple_of(2) { "ns" } else { "ns-2" };
    format!("{namespace}/{number}")
}

/// Performs a step, and returns whether it wrote.
fn perform(store: &Store, step: &Step) -> bool {
    let (things, value) = (things(), json!({"metadata": {"labels": {"a": "b"}}}));
    match step {
        Step::Put(key) => {
            let key = key_of(*key);
            match store.get(&things, &key) {
                Some(old) => update(store, &key, old.revision, &value).unwrap(),
                None => create(store, &key, &value).unwrap(),
            };
            true
        }
        Step::Delete(key) => {
            let key = key_of(*key);
            let Some(old) = store.get(&things, &key) else { return false };
            store.delete(&things, &key, old.revision).unwrap();
            true
        }
        Step::Compact => {
            store.compact();
            false
        }
    }
}

/// The revisions of the objects in a list, by key.
fn listed(page: &Page) -> BTreeMap<String, u64> {
    page.objects.iter().map(|object| (object.key.to_string(), object.revision)).collect()
}

proptest! {
    #[test]
    fn a_list_at_a_revision_is_the_list_that_was(steps in steps()) {
        let (store, things) = (store(), things());
        let mut lists = vec![(store.revision(), BTreeMap::new())];
        for step in &steps {
            if perform(&store, step) {
                let page = store.list(&things, Range::default(), None).unwrap();
                lists.push((page.revision, listed(&page)));
            }
        }
        let floor = store.floor(&things);
        for (revision, expected) in lists {
            let page = store.list(&things, Range::default(), Some(revision));
            if revision < floor {
                prop_assert_eq!(page.unwrap_err(), Error::Compacted);
            } else {
                prop_assert_eq!(listed(&page.unwrap()), expected);
            }
        }
    }

    #[test]
    fn pages_are_the_whole_list(steps in steps(), limit in 1..5usize) {
        let (store, things) = (store(), things());
        for step in &steps {
            perform(&store, step);
        }
        let whole = store.list(&things, Range::default(), None).unwrap();
        let (mut after, mut seen) = (None::<String>, Vec::new());
        loop {
            let range = Range { after: after.as_deref(), limit: Some(limit), ..Range::default() };
            let page = store.list(&things, range, Some(whole.revision)).unwrap();
            prop_assert_eq!(seen.len() + page.objects.len() + page.remaining, whole.objects.len());
            after = page.objects.last().map(|last| last.key.to_string());
            seen.extend(page.objects);
            if page.remaining == 0 {
                break;
            }
            // Writes between two pages do not affect the list.
            perform(&store, &Step::Put(7));
        }
        let keys = |objects: &[Arc<Object>]| objects.iter().map(|it| it.revision).collect::<Vec<_>>();
        prop_assert_eq!(keys(&seen), keys(&whole.objects));
    }

    #[test]
    fn a_page_at_a_revision_is_a_part_of_the_list_that_was(
        steps in steps(), at in 0..60usize, limit in prop::option::of(0..5usize),
        prefix in prop::sample::select(vec!["", "n", "ns/", "ns-2/", "ns/4", "o"]),
        after in prop::option::of(prop::sample::select(vec!["", "ns", "ns/2", "ns-2/3", "ns0", "zz"])),
    ) {
        let (store, things) = (store(), things());
        let (before, rest) = steps.split_at(at.min(steps.len()));
        before.iter().for_each(|step| _ = perform(&store, step));
        let whole = store.list(&things, Range::default(), None).unwrap();
        let writes = rest.iter().filter(|step| !matches!(step, Step::Compact));
        writes.for_each(|step| _ = perform(&store, step));
        let page = store.list(&things, Range { prefix, after, limit }, Some(whole.revision)).unwrap();
        let in_range = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let expected: Vec<_> = whole.objects.iter().filter(|object| in_range(&object.key)).collect();
        let shown = limit.unwrap_or(usize::MAX).min(expected.len());
        prop_assert!(page.objects.iter().map(|it| it.revision).eq(expected[..shown].iter().map(|it| it.revision)));
        let remaining = if limit.is_some() { expected.len() - shown } else { 0 };
        prop_assert_eq!(page.remaining, remaining);
    }

    #[test]
    fn a_watch_turns_any_list_into_the_current_one(steps in steps(), from in 0..60usize) {
        let (store, things) = (store(), things());
        let (before, after) = steps.split_at(from.min(steps.len()));
        for step in before {
            perform(&store, step);
        }
        let page = store.list(&things, Range::default(), None).unwrap();
        let mut watch = store.watch(&things, page.revision).unwrap();
        for step in after.iter().filter(|step| !matches!(step, Step::Compact)) {
            perform(&store, step);
        }
        let (mut state, mut last) = (listed(&page), page.revision);
        for event in watch.ready().unwrap() {
            prop_assert!(event.revision > last);
            last = event.revision;
            match &event.new {
                Some(new) => state.insert(event.key().to_owned(), new.revision),
                None => state.remove(event.key()),
            };
        }
        prop_assert_eq!(watch.revision(), store.revision());
        prop_assert_eq!(state, listed(&store.list(&things, Range::default(), None).unwrap()));
    }
}

#[test]
fn an_object_carries_the_revision_of_its_write() {
    let (store, things) = (store(), things());
    let one = create(&store, "one", &json!({"metadata": {"name": "one"}})).unwrap();
    assert_eq!(one.value()["metadata"]["resourceVersion"], one.revision.to_string());
    let two = update(&store, "one", one.revision, &one.value()).unwrap();
    assert!(two.revision > one.revision);
    let gone = store.delete(&things, "one", two.revision).unwrap();
    let last: Value = serde_json::from_slice(gone.last()).unwrap();
    assert_eq!(last["metadata"]["resourceVersion"], gone.revision.to_string());
    assert_eq!(last["metadata"]["name"], "one");
}

#[test]
fn a_write_needs_the_state_that_it_has_seen() {
    let (store, things) = (store(), things());
    let one = create(&store, "one", &json!({})).unwrap();
    assert_eq!(create(&store, "one", &json!({})).unwrap_err(), Error::Exists);
    update(&store, "one", one.revision, &json!({})).unwrap();
    assert_eq!(update(&store, "one", one.revision, &json!({})).unwrap_err(), Error::Changed);
    assert_eq!(store.delete(&things, "one", one.revision).unwrap_err(), Error::Changed);
    assert_eq!(store.delete(&things, "two", one.revision).unwrap_err(), Error::Changed);
}

#[test]
fn a_create_needs_others_that_live() {
    let (store, things) = (store(), things());
    let within = |value: &Value| {
        let live = [(&*things, "owner"), (&*things, "other")];
        store.create(&things, "one", Content { value, mark: 0 }, &live)
    };
    create(&store, "other", &json!({})).unwrap();
    assert_eq!(within(&json!({})).unwrap_err(), Error::NotLive);
    let owner = create(&store, "owner", &json!({})).unwrap();
    let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let owner = update(&store, "owner", owner.revision, &ending).unwrap();
    assert_eq!(within(&json!({})).unwrap_err(), Error::NotLive);
    update(&store, "owner", owner.revision, &json!({})).unwrap();
    within(&json!({})).unwrap();
}

#[test]
fn a_watch_that_falls_behind_ends() {
    let (store, things) = (store(), things());
    create(&store, "one", &json!({})).unwrap();
    let mut watch = store.watch(&things, 1).unwrap();
    store.compact();
    assert_eq!(watch.ready().unwrap_err(), WatchEnd::TooSlow);
    assert_eq!(store.watch(&things, 1).unwrap_err(), Error::Compacted);
}

#[tokio::test]
async fn a_watch_of_a_renewed_collection_gets_its_last_events() {
    let (store, things) = (store(), things());
    let one = create(&store, "one", &json!({})).unwrap();
    let mut watch = store.watch(&things, one.revision).unwrap();
    store.delete(&things, "one", one.revision).unwrap();
    store.renew(&things);
    let events = watch.next().await.unwrap();
    assert!(events.len() == 1 && events[0].new.is_none());
    assert_eq!(watch.next().await.unwrap_err(), WatchEnd::Removed);
}

/// The end of a collection is only visible once it is on disk. A watch that looks at it in between misses nothing.
#[cfg(feature = "disk")]
#[tokio::test]
async fn a_watch_of_a_renewed_collection_on_disk_gets_its_last_events() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(Clock::default(), folder.path()).unwrap());
    let things = things();
    for _ in 0..50 {
        let one = create(&store, "one", &json!({})).unwrap();
        let mut watch = store.watch(&things, one.revision).unwrap();
        let two = update(&store, "one", one.revision, &json!({"a": 1})).unwrap();
        store.settled().await.unwrap();
        store.delete(&things, "one", two.revision).unwrap();
        store.renew(&things);
        // As if the signal of an earlier write had woken it.
        let mut events = watch.ready().unwrap();
        while events.len() < 2 {
            events.extend(watch.next().await.unwrap());
        }
        assert!(events[0].new.is_some() && events[1].new.is_none());
        assert_eq!(watch.next().await.unwrap_err(), WatchEnd::Removed);
    }
}

#[test]
fn dependents_are_found_by_their_owners() {
    let (store, things) = (store(), things());
    let owned = json!({"metadata": {"ownerReferences": [{"uid": "u"}]}});
    let one = create(&store, "one", &owned).unwrap();
    let two = create(&store, "two", &owned).unwrap();
    assert_eq!(store.dependents("u").len(), 2);
    update(&store, "one", one.revision, &json!({})).unwrap();
    store.delete(&things, "two", two.revision).unwrap();
    assert!(!store.has_dependents("u"));
}
