//! What makes keys run: the changes of caches, mapped to the keys of a controller.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_informer::{Change, Event, Informer, Object, ObjectKey, Subscription};
use serde_json::Value;
use smol_str::SmolStr;

use crate::differences;
use crate::kind::{Kind, is_namespaced};
use crate::owners;
use crate::reason::{Reason, Subject, Trigger};

/// A stream of changes, without its type.
pub(crate) trait Source: Send {
    /// `None`: the cache has ended.
    fn poll_next(&mut self, context: &mut Context<'_>, suspects: &HashSet<ObjectKey>) -> Poll<Option<Seen>>;
}

/// A change, and the keys that are to run because of it.
pub(crate) struct Seen {
    /// The object that changed.
    pub(crate) object: ObjectKey,
    pub(crate) targets: Vec<Target>,
    pub(crate) reason: Reason,
    /// The fields that changed, if one of the keys is suspected to run because of its own writes.
    pub(crate) fields: Option<Vec<String>>,
}

/// A key that is to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: ObjectKey,
    /// What it is to the object that changed.
    pub(crate) role: Role,
}

/// What a changed object is to the key that runs because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The object of the key itself.
    Primary {
        /// Whether it became another one, in a sense in which earlier failures do not count: a new generation, a
        /// deletion, a new uid (rule 9).
        resets: bool,
    },
    /// The object of the key is gone.
    Gone,
    /// An object that it owns or refers to.
    Other,
}

/// Returns the keys that a change concerns.
type Targets<K> = Box<dyn Fn(&Change<K>) -> Vec<Target> + Send + Sync>;

struct Changes<K: Object> {
    subscription: Subscription<K>,
    kind: SmolStr,
    targets: Targets<K>,
}

/// The changes of the objects that a controller is for.
pub(crate) fn primary<K: Kind>(informer: &Informer<K>) -> Box<dyn Source> {
    source(
        informer,
        Box::new(|change| match change {
            Change::Added { key, .. } => vec![target(key, Role::Primary { resets: true })],
            Change::Updated { key, old, new } => {
                let role = relevant(old.meta(), new.meta());
                role.map(|role| target(key, role)).into_iter().collect()
            }
            Change::Deleted { key, .. } => vec![target(key, Role::Gone)],
            _ => Vec::new(),
        }),
    )
}

/// The changes of the objects that are owned by those of type `K`.
pub(crate) fn owned<K, C>(informer: &Informer<C>) -> Box<dyn Source>
where
    K: Kind,
    C: Kind,
{
    let (group, kind) = (K::group(&()).into_owned(), K::kind(&()).into_owned());
    source(
        informer,
        mapped(move |child: &C| {
            let owners = owners::owner_keys(child.meta(), &group, &kind, is_namespaced::<K>());
            owners.into_iter().map(|(key, _)| key).collect()
        }),
    )
}

/// The changes of any other objects. The function is called with the old and the new state (rule 17).
pub(crate) fn watched<C, I>(
    informer: &Informer<C>,
    keys: impl Fn(&C) -> I + Send + Sync + 'static,
) -> Box<dyn Source>
where
    C: Kind,
    I: IntoIterator<Item = ObjectKey>,
{
    source(informer, mapped(move |object: &C| keys(object).into_iter().collect()))
}

fn mapped<C: Object>(keys: impl Fn(&C) -> Vec<ObjectKey> + Send + Sync + 'static) -> Targets<C> {
    Box::new(move |change| {
        let mut all = keys(change.object());
        if let Change::Updated { old, .. } = change {
            for key in keys(old) {
                if !all.contains(&key) {
                    all.push(key);
                }
            }
        }
        all.iter().map(|key| target(key, Role::Other)).collect()
    })
}

fn target(key: &ObjectKey, role: Role) -> Target {
    Target { key: key.clone(), role }
}

fn source<K: Kind>(informer: &Informer<K>, targets: Targets<K>) -> Box<dyn Source> {
    let kind = SmolStr::new(K::kind(&()));
    Box::new(Changes { subscription: informer.subscribe(), kind, targets })
}

/// Whether a change of the primary is one (rule 16). Types that count no generations change with each version.
fn relevant(old: &ObjectMeta, new: &ObjectMeta) -> Option<Role> {
    let deleted = old.deletion_timestamp != new.deletion_timestamp;
    let resets = old.generation != new.generation || deleted || old.uid != new.uid;
    let changed = resets
        || new.generation.is_none()
        || old.labels != new.labels
        || old.annotations != new.annotations
        || old.finalizers != new.finalizers;
    changed.then_some(Role::Primary { resets })
}

impl<K: Kind> Source for Changes<K> {
    fn poll_next(&mut self, context: &mut Context<'_>, suspects: &HashSet<ObjectKey>) -> Poll<Option<Seen>> {
        loop {
            // The first state is read from a snapshot: it is the same for each term of leadership.
            let change = match ready!(self.subscription.poll_next_unpin(context)) {
                Some(Event::Change(Change::Added { initial: true, .. }) | Event::Synced { .. }) => continue,
                Some(Event::Change(change)) => change,
                Some(_) => continue,
                None => return Poll::Ready(None),
            };
            let targets = (self.targets)(&change);
            let suspected = targets.iter().any(|target| suspects.contains(&target.key));
            let (reason, fields) = (reason(&self.kind, &change), suspected.then(|| fields(&change)));
            return Poll::Ready(Some(Seen { object: change.key().clone(), targets, reason, fields }));
        }
    }
}

fn reason<K: Object>(kind: &SmolStr, change: &Change<K>) -> Reason {
    let version = |object: &Arc<K>| object.meta().resource_version.as_deref().map(SmolStr::new);
    let (trigger, old_version, new_version) = match change {
        Change::Updated { old, new, .. } => (Trigger::Changed, version(old), version(new)),
        Change::Deleted { last, .. } => (Trigger::Deleted, version(last), None),
        other => (Trigger::Created, None, version(other.object())),
    };
    let object =
        Subject { kind: kind.clone(), key: change.key().clone(), old_version, new_version, own_write: false };
    Reason { trigger, object: Some(object) }
}

/// The fields in which two states of an object differ.
fn fields<K: Kind>(change: &Change<K>) -> Vec<String> {
    let Change::Updated { old, new, .. } = change else { return Vec::new() };
    let value = |object: &Arc<K>| serde_json::to_value(&**object).unwrap_or(Value::Null);
    differences::paths(&value(old), &value(new))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    /// The metadata of an object of a type that counts generations, and of one that does not.
    fn metas() -> [ObjectMeta; 2] {
        let meta = ObjectMeta {
            uid: Some("1".to_owned()),
            resource_version: Some("7".to_owned()),
            ..ObjectMeta::default()
        };
        [ObjectMeta { generation: Some(1), ..meta.clone() }, meta]
    }

    /// What a change is, of an object of a type that counts generations and of one that does not.
    fn changed(change: impl Fn(&mut ObjectMeta)) -> [Option<Role>; 2] {
        metas().map(|old| {
            let mut new = ObjectMeta { resource_version: Some("8".to_owned()), ..old.clone() };
            change(&mut new);
            relevant(&old, &new)
        })
    }

    #[test]
    fn labels_annotations_and_finalizers_count_and_do_not_reset_failures() {
        let map = || Some([("a".to_owned(), "b".to_owned())].into());
        let counts = [Some(Role::Primary { resets: false }); 2];
        assert_eq!(changed(|new| new.labels = map()), counts);
        assert_eq!(changed(|new| new.annotations = map()), counts);
        assert_eq!(changed(|new| new.finalizers = Some(vec!["example.com/a".to_owned()])), counts);
    }

    #[test]
    fn generation_deletion_and_uid_count_and_reset_failures() {
        let resets = [Some(Role::Primary { resets: true }); 2];
        assert_eq!(changed(|new| new.generation = Some(2)), resets);
        assert_eq!(changed(|new| new.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH))), resets);
        assert_eq!(changed(|new| new.uid = Some("2".to_owned())), resets);
    }

    #[test]
    fn what_else_changes_counts_only_for_types_without_generations() {
        assert_eq!(changed(|_| {}), [None, Some(Role::Primary { resets: false })]);
    }
}
