//! Garbage collection: an object is deleted when its owners are gone, and an owner may be deleted before, after or
//! without its dependents.
//!
//! The rules are those of kube-controller-manager's `pkg/controller/garbagecollector`. An owner counts as gone only if
//! that is known: an object whose owner's type cannot be resolved stays, and is looked at again when other types are
//! served.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use serde_json::{Value, json};

use super::calls::{Calls, Outcome};
use crate::cluster::{
    CONTROLLER_MANAGER, Cluster, DeleteOptions, FOREGROUND, Gone, ORPHAN, Propagation, Target, Work,
};
use crate::resource::Resource;
use crate::scheme::Scheme;
use crate::store::{Location, Object};
use crate::strategy::{has_finalizer, is_deleted, metadata, owner_references, remove_finalizer};

/// The name of the collector in its Events.
const COMPONENT: &str = "garbage-collector-controller";

/// The name of its ServiceAccount.
const ACCOUNT: &str = "generic-garbage-collector";
/// What becomes of an object that could not be deleted, as in the queues of kube-controller-manager.
const RETRY: Outcome = Outcome::Failed { at_most: Duration::from_secs(1000) };

/// What the collector remembers between two pieces of work.
#[derive(Debug, Default)]
pub(super) struct GarbageCollector {
    /// Owners that are known to be gone but still named by objects: this distinguishes them from owners whose type is
    /// no longer served. By uid.
    gone: HashMap<Box<str>, Gone>,
    /// Owners that are deleted after their dependents and still blocked by some of them, by uid.
    waiting: HashMap<Box<str>, Location>,
    /// Objects that are not served, or have an owner whose type is not served.
    parked: BTreeSet<Location>,
    /// How many objects may be parked before those that no longer exist are forgotten.
    parking: usize,
}

/// The state of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Present,
    /// It exists, and will be removed once its dependents are gone.
    Waiting,
    /// It was removed while this server ran.
    Gone,
    /// There is none where its dependent must have it.
    Absent,
}

/// Why the state of an owner is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// Its type is not served.
    Type,
    /// A cluster-scoped object names a namespaced owner, without its namespace.
    Namespace,
    /// Its name has a character that the server refuses in a path, so that nobody can look it up.
    Name,
}

impl GarbageCollector {
    /// Looks at an object that names owners. It is deleted if none of them is left. If some are left, references to the
    /// others are removed.
    pub(super) async fn collect(&mut self, cluster: &Arc<Cluster>, calls: &mut Calls, location: &Location) {
        let is_asking = self.collect_or_ask(cluster, calls, location).await;
        if !is_asking && !calls.is_empty() {
            calls.forget(&Work::Collect(location.clone()));
        }
    }

    /// Returns whether admission is asked about the deletion, which is then done beside the other work.
    async fn collect_or_ask(
        &mut self,
        cluster: &Arc<Cluster>,
        calls: &mut Calls,
        location: &Location,
    ) -> bool {
        self.parked.remove(location);
        let scheme = cluster.scheme();
        let Some(object) = cluster.store.get(&location.collection, &location.key) else { return false };
        let Some(resource) = scheme.by_collection(&location.collection) else {
            self.park(cluster, location.clone());
            return false;
        };
        let value = object.value();
        let owners = owner_references(&value);
        if owners.is_empty() || is_deleted(&value) {
            return false;
        }
        let mut present = false;
        let (mut going, mut blocked) = (Vec::new(), false);
        for owner in owners {
            match self.owner(cluster, &scheme, resource, &object, owner) {
                Ok(Owner::Present) => present = true,
                Ok(gone) => {
                    if gone == Owner::Absent {
                        report_if_elsewhere(cluster, &scheme, resource, &value, owner);
                    }
                    blocked |= gone == Owner::Waiting;
                    going.push(owner["uid"].as_str().unwrap_or_default());
                }
                Err(Unknown::Type) => {
                    self.park(cluster, location.clone());
                    return false;
                }
                Err(Unknown::Namespace) => {
                    report_if_elsewhere(cluster, &scheme, resource, &value, owner);
                    return false;
                }
                Err(Unknown::Name) => return false,
            }
        }
        let target = Target::of(resource, &object);
        if present {
            if !going.is_empty() {
                disown(cluster, target, &going);
            }
            return false;
        }
        let uid = value["metadata"]["uid"].as_str().unwrap_or_default();
        let mut propagation = if has_finalizer(&value, ORPHAN) {
            Propagation::Orphan
        } else if has_finalizer(&value, FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        if blocked && cluster.store.has_dependents(uid) {
            // Objects that wait for one another in a circle would wait forever.
            if any_dependent_waits(cluster, uid) && unblock(cluster, target) {
                // It is looked at again, like any object whose owner references have changed.
                return false;
            }
            propagation = Propagation::Foreground;
        }
        let options = DeleteOptions {
            propagation,
            uid: Some(uid.to_owned()),
            resource_version: Some(object.revision.to_string()),
            ..DeleteOptions::default()
        };
        if cluster.asks_about_deletions() {
            let (cluster, location) = (Arc::clone(cluster), location.clone());
            let work = Work::Collect(location.clone());
            calls.start(work, || Box::pin(delete(cluster, location, options)));
            return true;
        }
        match cluster.delete(target, &options, None).await {
            // It has changed, and may have another owner now.
            Err(status) if status.code == 409 => cluster.work.push(Work::Collect(location.clone())),
            // An object that no longer exists counts as deleted.
            _ => {}
        }
        false
    }

    /// Continues the deletion of an object that is deleted after its dependents, or orphans them.
    pub(super) async fn finalize(&mut self, cluster: &Arc<Cluster>, calls: &mut Calls, location: &Location) {
        let scheme = cluster.scheme();
        let Some(object) = cluster.store.get(&location.collection, &location.key) else { return };
        let Some(resource) = scheme.by_collection(&location.collection) else {
            return self.park(cluster, location.clone());
        };
        let value = object.value();
        let uid = value["metadata"]["uid"].as_str().unwrap_or_default();
        let target = Target::of(resource, &object);
        if is_deleted(&value) && has_finalizer(&value, ORPHAN) {
            self.orphan(cluster, &scheme, target, uid);
        } else if is_deleted(&value) && has_finalizer(&value, FOREGROUND) {
            self.waiting.insert(uid.into(), location.clone());
            for dependent in cluster.store.dependents(uid) {
                self.collect(cluster, calls, &dependent).await;
            }
            self.end_unless_blocked(cluster, &scheme, target, uid);
        }
    }

    /// Looks at the dependents of an owner that was removed.
    pub(super) async fn owner_gone(&mut self, cluster: &Arc<Cluster>, calls: &mut Calls, gone: Gone) {
        let uid = gone.uid.clone();
        self.waiting.remove(&uid);
        self.gone.insert(uid.clone(), gone);
        for dependent in cluster.store.dependents(&uid) {
            self.collect(cluster, calls, &dependent).await;
        }
        self.forget(cluster, &uid);
    }

    /// Looks at an owner that may have waited for a dependent.
    pub(super) fn disowned(&mut self, cluster: &Cluster, uid: &str) {
        self.forget(cluster, uid);
        let scheme = cluster.scheme();
        if let Some(location) = self.waiting.get(uid)
            && let Some(owner) = cluster.store.get(&location.collection, &location.key)
            && let Some(resource) = scheme.by_collection(&location.collection)
        {
            self.end_unless_blocked(cluster, &scheme, Target::of(resource, &owner), uid);
        }
    }

    /// Other types are served: looks again at the objects that could not be decided.
    pub(super) fn scheme_changed(&mut self, cluster: &Cluster) {
        for location in std::mem::take(&mut self.parked) {
            cluster.work.push(Work::Collect(location.clone()));
            cluster.work.push(Work::Finalize(location));
        }
    }

    /// Keeps an object that cannot be decided until other types are served.
    fn park(&mut self, cluster: &Cluster, location: Location) {
        self.parked.insert(location);
        if self.parked.len() > self.parking {
            self.parked.retain(|it| cluster.store.get(&it.collection, &it.key).is_some());
            self.parking = 1000.max(2 * self.parked.len());
        }
    }

    fn forget(&mut self, cluster: &Cluster, uid: &str) {
        if !cluster.store.has_dependents(uid) {
            self.gone.remove(uid);
        }
    }

    /// The state of an object's owner.
    fn owner(
        &self,
        cluster: &Cluster,
        scheme: &Scheme,
        resource: &Resource,
        object: &Object,
        owner: &Value,
    ) -> Result<Owner, Unknown> {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let gone = self.gone.get(text("uid")).is_some_and(|gone| {
            (gone.namespace.is_empty() || *gone.namespace == *object.namespace())
                && *gone.kind == *text("kind")
                && gone.api_versions.iter().any(|it| it == text("apiVersion"))
        });
        if gone {
            return Ok(Owner::Gone);
        }
        let kind = scheme.by_kind(text("apiVersion"), text("kind")).ok_or(Unknown::Type)?;
        if kind.namespaced && !resource.namespaced {
            return Err(Unknown::Namespace);
        }
        if text("name").contains('%') {
            return Err(Unknown::Name);
        }
        let found = cluster.store.get(&kind.collection, &kind.key(object.namespace(), text("name")));
        // Another object of that name is not the owner.
        let found = found.map(|found| (found.deleted, found.value()));
        Ok(match found.filter(|(_, found)| found["metadata"]["uid"] == owner["uid"]) {
            None => Owner::Absent,
            Some((true, found)) if has_finalizer(&found, FOREGROUND) => Owner::Waiting,
            Some(_) => Owner::Present,
        })
    }

    /// Removes an owner that no dependent blocks any more.
    fn end_unless_blocked(&mut self, cluster: &Cluster, scheme: &Scheme, target: Target<'_>, uid: &str) {
        if !is_blocked(cluster, scheme, uid) {
            self.waiting.remove(uid);
            end(cluster, target, uid, FOREGROUND);
        }
    }

    /// Orphans the dependents of an object, and removes it.
    fn orphan(&mut self, cluster: &Cluster, scheme: &Scheme, target: Target<'_>, uid: &str) {
        for dependent in cluster.store.dependents(uid) {
            let Some(object) = cluster.store.get(&dependent.collection, &dependent.key) else { continue };
            let Some(resource) = scheme.by_collection(&dependent.collection) else {
                // This dependent cannot be written until it is served, and would be collected then. Its owner waits for
                // that.
                return self.park(cluster, target.location());
            };
            disown(cluster, Target::of(resource, &object), &[uid]);
        }
        end(cluster, target, uid, ORPHAN);
    }
}

/// Deletes an object, if admission lets it. Otherwise it is looked at again later.
async fn delete(cluster: Arc<Cluster>, location: Location, options: DeleteOptions) -> Outcome {
    let scheme = cluster.scheme();
    let Some(object) = cluster.store.get(&location.collection, &location.key) else { return Outcome::Done };
    let Some(resource) = scheme.by_collection(&location.collection) else { return RETRY };
    match cluster.delete_as(ACCOUNT, Target::of(resource, &object), &options, false).await {
        Ok(_) => Outcome::Done,
        Err(status) if status.code == 404 => Outcome::Done,
        // It has changed, and may have another owner now.
        Err(_) if has_changed(&cluster, &location, &options) => {
            cluster.work.push(Work::Collect(location));
            Outcome::Done
        }
        Err(status) => {
            let name = &location.key;
            tracing::info!(collection = &*location.collection, %name, why = status.message, "not collected yet");
            RETRY
        }
    }
}

/// Whether an object is another than the one that was to be deleted.
fn has_changed(cluster: &Cluster, location: &Location, options: &DeleteOptions) -> bool {
    let object = cluster.store.get(&location.collection, &location.key);
    let revision = object.map(|object| object.revision.to_string());
    revision.is_none() || revision != options.resource_version
}

/// Warns with an Event if an object names an owner that is in another namespace, where it cannot own it.
fn report_if_elsewhere(
    cluster: &Cluster,
    scheme: &Scheme,
    resource: &Resource,
    object: &Value,
    owner: &Value,
) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (uid, api_version) = (text(&owner["uid"]), text(&owner["apiVersion"]));
    let kind = scheme.by_kind(&api_version, &text(&owner["kind"])).filter(|kind| kind.namespaced);
    let Some(kind) = kind.filter(|_| !uid.is_empty()) else { return };
    let all = cluster.store.all(&kind.collection, "");
    // Nearly all objects have another uid: those are not parsed.
    let with_uid = memmem::Finder::new(&uid);
    let mut named = all.iter().filter(|it| with_uid.find(&it.bytes).is_some());
    if !named.any(|it| it.value()["metadata"]["uid"] == uid) {
        return;
    }
    let metadata = &object["metadata"];
    let namespace = text(&metadata["namespace"]);
    let message = format!(
        "ownerRef [{api_version}/{}, namespace: {namespace}, name: {}, uid: {uid}] does not exist in namespace {namespace:?}",
        kind.kind,
        text(&owner["name"]),
    );
    let now = cluster.clock.seconds();
    let place = if namespace.is_empty() { "default" } else { &namespace };
    // The same Event if the object is looked at again.
    let mut involved = json!({
        "apiVersion": resource.api_version(), "kind": resource.kind, "name": metadata["name"], "uid": metadata["uid"],
    });
    if !namespace.is_empty() {
        involved["namespace"] = namespace.clone().into();
    }
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{}.{uid}", text(&metadata["uid"])), "namespace": place},
        "involvedObject": involved,
        "type": "Warning", "reason": "OwnerRefInvalidNamespace", "message": message,
        "source": {"component": COMPONENT}, "reportingComponent": COMPONENT, "reportingInstance": "",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1, "eventTime": null,
    });
    cluster.create_unless_there(CONTROLLER_MANAGER, event);
}

/// Whether an owner still has a dependent that blocks its deletion. Dependents that are not served do not block it.
fn is_blocked(cluster: &Cluster, scheme: &Scheme, uid: &str) -> bool {
    cluster.store.dependents(uid).iter().any(|dependent| {
        let served = scheme.by_collection(&dependent.collection).is_some();
        let object = cluster.store.get(&dependent.collection, &dependent.key).filter(|_| served);
        object.is_some_and(|object| {
            let value = object.value();
            owner_references(&value)
                .iter()
                .any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true)
        })
    })
}

/// Whether a dependent of an owner waits for dependents of its own.
fn any_dependent_waits(cluster: &Cluster, uid: &str) -> bool {
    cluster.store.dependents(uid).iter().any(|dependent| {
        let object = cluster.store.get(&dependent.collection, &dependent.key);
        object.is_some_and(|object| object.deleted && has_finalizer(&object.value(), FOREGROUND))
    })
}

/// Stops an object from blocking the deletion of its owners. Returns false if it did not block any.
fn unblock(cluster: &Cluster, target: Target<'_>) -> bool {
    let mut changed = false;
    let done = cluster.modify_as(CONTROLLER_MANAGER, target, "", |object| {
        let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
        let blocking = owners.into_iter().flatten().filter(|owner| owner["blockOwnerDeletion"] == true);
        changed = false;
        blocking.for_each(|owner| {
            owner["blockOwnerDeletion"] = false.into();
            changed = true;
        });
    });
    done.is_ok() && changed
}

/// Removes references to some owners from an object.
fn disown(cluster: &Cluster, target: Target<'_>, uids: &[&str]) {
    // If it no longer exists, nothing is left to do.
    let _ = cluster.modify_as(CONTROLLER_MANAGER, target, "", |object| {
        let Some(owners) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut)
        else {
            return;
        };
        owners.retain(|owner| !owner["uid"].as_str().is_some_and(|uid| uids.contains(&uid)));
        if owners.is_empty() {
            metadata(object).remove("ownerReferences");
        }
    });
}

/// Removes a finalizer from an object that is being deleted.
fn end(cluster: &Cluster, target: Target<'_>, uid: &str, finalizer: &str) {
    // If it no longer exists, nothing is left to do.
    let _ = cluster.modify_as(CONTROLLER_MANAGER, target, "", |object| {
        // A new object of the same name is not touched.
        if is_deleted(object) && object["metadata"]["uid"] == uid {
            remove_finalizer(object, finalizer);
        }
    });
}
