//! The only place that writes objects to the store. The hooks run after every write, whoever makes it.

use std::sync::Arc;
use std::time::Duration;

use kube_patch::Writer;
use serde_json::Value;

use super::converter::Converter;
use super::definitions::{Served, group_of};
use super::deletion::{FOREGROUND, ORPHAN};
use super::plugins::{protection, used_by};
use super::state::Cluster;
use super::target::Target;
use super::webhooks::SERVICE_NAME;
use super::work::{Gone, Work};
use crate::clock::Clock;
#[cfg(feature = "listen")]
use crate::resource::CONFIG_MAPS;
#[cfg(feature = "cel")]
use crate::resource::VALIDATING_ADMISSION_POLICIES;
use crate::resource::{
    API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, ENDPOINT_SLICES, NAMESPACES, PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES, PODS, RESOURCE_QUOTAS, Resource, SERVICE_ACCOUNTS, SERVICES,
};
use crate::status::Status;
use crate::store::{Content, Error, Event, Object};
use crate::strategy::{conditions, has_finalizer, is_deleted, is_finished, owner_references};

/// The manager of what kube-apiserver's own controllers write.
pub(crate) const API_SERVER: &str = "kube-apiserver";
/// The manager of what the other controllers write.
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// The result of a change.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The object as it is stored now.
    Stored(Arc<Object>),
    /// It was marked as deleted and nothing was left to do for it: the event of its removal.
    Removed(Arc<Event>),
}

/// How long watchers see that a Pod stops before they see that it is gone. About the time between kube-apiserver's two writes:
/// a controller that hears of the first looks into its cache, and has to find the Pod there. Not with a manual clock, whose
/// server does the same each time.
const STOP: Duration = Duration::from_millis(2);

/// An object that is stored with its last state. It is removed by [`end`](Self::end), or when nobody waits for that any more.
struct Stopping<'a> {
    cluster: &'a Cluster,
    target: Target<'a>,
    seen: u64,
    old: &'a Value,
}

impl Stopping<'_> {
    fn end(self) -> Result<Arc<Event>, Error> {
        std::mem::ManuallyDrop::new(self).remove()
    }

    fn remove(&self) -> Result<Arc<Event>, Error> {
        self.cluster.commit_delete(self.target, self.seen, self.old)
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        // If it has changed since, that is somebody else's matter.
        let _ = self.remove();
    }
}

impl Cluster {
    /// Stores a new object, provided that its namespace and its definition exist and are not being deleted.
    pub(super) fn commit_create(&self, target: Target<'_>, object: &Value) -> Result<Arc<Object>, Error> {
        let Target { resource, namespace, .. } = target;
        let of_namespace = (NAMESPACES.collection(), namespace);
        let definition = resource.custom.as_ref().map(|custom| custom.definition.as_str());
        let of_definition = definition.map(|name| (CUSTOM_RESOURCE_DEFINITIONS.collection(), name));
        let live: Vec<_> =
            self.needs_namespace(target).then_some(of_namespace).into_iter().chain(of_definition).collect();
        let content = Content { value: &resource.encode(object), mark: resource.mark(object) };
        let stored = self.store.create(&resource.collection, &target.key(), content, &live)?;
        self.after_write(target, None, object);
        Ok(stored)
    }

    /// Stores the next state of an object, or removes it if it is marked as deleted and nothing is left to wait for.
    /// `old` is the state at revision `seen`.
    pub(super) fn commit_update(
        &self,
        target: Target<'_>,
        seen: u64,
        old: &Value,
        new: &Value,
    ) -> Result<Committed, Error> {
        let resource = target.resource;
        if is_finished(resource, new) {
            return self.commit_delete(target, seen, old).map(Committed::Removed);
        }
        let content = Content { value: &resource.encode(new), mark: resource.mark(new) };
        let stored = self.store.update(&resource.collection, &target.key(), seen, content)?;
        self.after_write(target, Some(old), new);
        Ok(Committed::Stored(stored))
    }

    /// Removes an object. `old` is the state at revision `seen`.
    pub(super) fn commit_delete(
        &self,
        target: Target<'_>,
        seen: u64,
        old: &Value,
    ) -> Result<Arc<Event>, Error> {
        let event = self.store.delete(&target.resource.collection, &target.key(), seen)?;
        self.after_delete(target, old);
        Ok(event)
    }

    /// Stores the last state of a Pod, `marked`, and removes it. For a client, it is seen to stop for [a moment](STOP).
    pub(super) async fn commit_stop(
        &self,
        target: Target<'_>,
        seen: u64,
        old: &Value,
        marked: &Value,
        is_client: bool,
    ) -> Result<Committed, Error> {
        let resource = target.resource;
        let content = Content { value: &resource.encode(marked), mark: resource.mark(marked) };
        let stopped = self.store.update(&resource.collection, &target.key(), seen, content)?;
        let stopping = Stopping { cluster: self, target, seen: stopped.revision, old };
        if is_client && !matches!(self.clock, Clock::Manual(_)) {
            // Watchers see it once it is on disk. If it never is, the request fails later.
            let _ = self.store.settled().await;
            tokio::time::sleep(STOP).await;
        }
        match stopping.end() {
            Ok(event) => Ok(Committed::Removed(event)),
            Err(error) => {
                let now = self.store.get(&resource.collection, &target.key());
                let is_it = |now: &Arc<Object>| now.value()["metadata"]["uid"] == marked["metadata"]["uid"];
                // Somebody else's write may have removed it.
                if now.as_ref().is_some_and(is_it) { Err(error) } else { Ok(Committed::Stored(stopped)) }
            }
        }
    }

    /// [`modify`](Self::modify), as a controller does by a subresource (`""` for the whole object): `manager` becomes the manager of
    /// the fields that it sets.
    pub(crate) fn modify_as(
        &self,
        manager: &str,
        target: Target<'_>,
        subresource: &str,
        mut change: impl FnMut(&mut Value),
    ) -> Result<(), Status> {
        self.modify_from(target, |old, object| {
            change(object);
            if object != old {
                self.track_as(manager, target.resource, subresource, &[], Some(old), object);
            }
            Ok(())
        })
    }

    /// Makes somebody the manager of the fields in which an object differs from `old`.
    pub(super) fn track_as(
        &self,
        manager: &str,
        resource: &Resource,
        subresource: &str,
        reset: &[&[&str]],
        old: Option<&Value>,
        object: &mut Value,
    ) {
        let converter = Converter::new(resource);
        let writer = Writer {
            manager,
            subresource,
            api_version: &resource.api_version(),
            time: self.clock.now(),
            reset,
            versions: &resource.merge_versions(),
            convert: converter.convert(),
            is_convertible: old.is_none_or(|old| resource.gone_version(old).is_none()),
        };
        kube_patch::track(resource.merge_type(), old, object, &writer);
    }

    /// Changes an object for the server's own purposes, without admission, validation and managed fields. `change` is
    /// called again if the object was changed concurrently. If it changes nothing, nothing is written.
    ///
    /// # Errors
    /// Fails with the errors of `change`, with 404 if the object does not exist, and with 500 if it becomes too large.
    pub(crate) fn modify(
        &self,
        target: Target<'_>,
        mut change: impl FnMut(&mut Value) -> Result<(), Status>,
    ) -> Result<(), Status> {
        self.modify_from(target, |_, object| change(object))
    }

    /// [`modify`](Self::modify), with what the object was before.
    fn modify_from(
        &self,
        target: Target<'_>,
        mut change: impl FnMut(&Value, &mut Value) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let Target { resource, namespace, name } = target;
        loop {
            let stored = self.object(resource, namespace, name)?;
            let old = resource.value(&stored);
            let mut new = old.clone();
            change(&old, &mut new)?;
            if new == old {
                return Ok(());
            }
            match self.commit_update(target, stored.revision, &old, &new) {
                Ok(_) => return Ok(()),
                Err(Error::TooLarge) => return Err(Status::too_large_to_store()),
                Err(_) => {}
            }
        }
    }

    /// The hooks that run after an object was created, or changed from `old`.
    pub(super) fn after_write(&self, target: Target<'_>, old: Option<&Value>, new: &Value) {
        let Target { resource, namespace, name } = target;
        match resource.stored_as() {
            CUSTOM_RESOURCE_DEFINITIONS => {
                self.serve_stored(resource, name);
                self.follow_definition(name, old, new);
                if is_deleted(new) {
                    self.work.push(Work::Definition(name.to_owned()));
                }
            }
            NAMESPACES if is_deleted(new) => {
                // Not for the conditions, which say what it waits for.
                let same = |old: &Value| {
                    is_deleted(old)
                        && old["spec"] == new["spec"]
                        && old["metadata"]["finalizers"] == new["metadata"]["finalizers"]
                };
                if !old.is_some_and(same) {
                    self.work.push(Work::Namespace(name.to_owned()));
                }
            }
            NAMESPACES => self.work.push(Work::ServiceAccount(name.to_owned())),
            API_SERVICES => {
                self.follow_api_service(name);
                let is_local = |it: &Value| it["spec"]["service"].is_null();
                if !(is_local(new) && old.is_none_or(is_local) && conditions::is(new, "Available", "True")) {
                    self.work.push(Work::ApiService(name.to_owned()));
                }
            }
            SERVICES | ENDPOINT_SLICES => self.check_api_services(target, new),
            RESOURCE_QUOTAS if old.is_none_or(|old| old["spec"] != new["spec"]) => {
                self.work.push(Work::Quotas(namespace.to_owned()));
            }
            #[cfg(feature = "cel")]
            VALIDATING_ADMISSION_POLICIES => self.work.push(Work::Policy(name.to_owned())),
            _ => {}
        }
        if let Some(old) = old
            && self.changes_usage(target, new, old)
        {
            self.work.push(Work::Quotas(namespace.to_owned()));
        }
        if let Some(old) = old
            && matches!(resource.stored_as(), PERSISTENT_VOLUMES | PERSISTENT_VOLUME_CLAIMS)
        {
            let kept: Vec<_> = used_by(resource, namespace, new).collect();
            let left = used_by(resource, namespace, old).filter(|used| !kept.contains(used));
            left.for_each(|used| self.work.push(Work::Protected(used)));
        }
        if is_deleted(new)
            && protection(resource.stored_as()).is_some_and(|finalizer| has_finalizer(new, finalizer))
        {
            self.work.push(Work::Protected(target.location()));
        }
        let (before, owners) = (old.map_or(&[][..], owner_references), owner_references(new));
        if owners != before {
            self.work.push(Work::Collect(target.location()));
            self.push_disowned(before.iter().filter(|owner| !owners.contains(owner)));
        }
        if is_deleted(new) && [FOREGROUND, ORPHAN].iter().any(|finalizer| has_finalizer(new, finalizer)) {
            self.work.push(Work::Finalize(target.location()));
        }
    }

    /// The hooks that run after an object was removed.
    fn after_delete(&self, target: Target<'_>, last: &Value) {
        let Target { resource, namespace, name } = target;
        match resource.stored_as() {
            CUSTOM_RESOURCE_DEFINITIONS => {
                self.serve_stored(resource, name);
                self.follow_definition(name, Some(last), &Value::Null);
            }
            API_SERVICES => {
                self.follow_api_service(name);
                self.work.push(Work::ApiService(name.to_owned()));
            }
            SERVICES => {
                self.allocations().release(last);
                self.check_api_services(target, last);
            }
            ENDPOINT_SLICES => self.check_api_services(target, last),
            SERVICE_ACCOUNTS if name == "default" => {
                self.work.push(Work::ServiceAccount(namespace.to_owned()));
            }
            #[cfg(feature = "listen")]
            CONFIG_MAPS => self.follow_trusted(namespace, name),
            PODS | PERSISTENT_VOLUMES | PERSISTENT_VOLUME_CLAIMS => {
                used_by(resource, namespace, last).for_each(|used| self.work.push(Work::Protected(used)));
            }
            _ => {}
        }
        if self.is_counted(resource, namespace) {
            self.work.push(Work::Quotas(namespace.to_owned()));
        }
        if let Some(custom) = &resource.custom
            && self.is_ending(CUSTOM_RESOURCE_DEFINITIONS.collection(), &custom.definition)
        {
            self.work.push(Work::Definition(custom.definition.clone()));
        }
        if !namespace.is_empty() && self.is_ending(NAMESPACES.collection(), namespace) {
            self.work.push(Work::Namespace(namespace.to_owned()));
        }
        let uid = last["metadata"]["uid"].as_str().unwrap_or_default();
        if self.store.has_dependents(uid) {
            self.work.push(Work::OwnerGone(Gone {
                uid: uid.into(),
                namespace: namespace.into(),
                kind: resource.kind.as_str().into(),
                api_versions: self.scheme().api_versions(resource).into(),
            }));
        }
        self.push_disowned(owner_references(last).iter());
    }

    /// Looks again at the servers that are reached through a Service, or a slice of it, that was written or removed.
    fn check_api_services(&self, target: Target<'_>, object: &Value) {
        let service = match target.resource.stored_as() {
            SERVICES => target.name,
            _ => object["metadata"]["labels"][SERVICE_NAME].as_str().unwrap_or_default(),
        };
        let registered = self.api_services.current(&self.store);
        let behind = registered.remote().filter(|(_, remote)| remote.is_behind(target.namespace, service));
        behind.for_each(|(it, _)| self.work.push(Work::ApiService(it.name.clone())));
    }

    fn push_disowned<'a>(&self, owners: impl Iterator<Item = &'a Value>) {
        for uid in owners.filter_map(|owner| owner["uid"].as_str()) {
            self.work.push(Work::Disowned(uid.into()));
        }
    }

    fn is_ending(&self, collection: &str, key: &str) -> bool {
        self.store.get(collection, key).is_some_and(|it| it.deleted)
    }

    /// Serves the stored state of a definition, and other definitions of its group that waited for its names.
    fn serve_stored(&self, resource: &Arc<Resource>, name: &str) {
        let mut changed = self.serve_and_record(resource, name);
        // A definition that gets its names may give up others that a third one waits for.
        while changed {
            let waiting = self.unaccepted_definitions(group_of(name));
            changed =
                waiting.iter().fold(false, |changed, other| self.serve_and_record(resource, other) | changed);
        }
    }

    /// Serves a definition until its status describes how it is served. Returns whether its names have changed.
    fn serve_and_record(&self, resource: &Arc<Resource>, name: &str) -> bool {
        let mut names_changed = false;
        loop {
            let served = self.serve_definition(resource, name);
            names_changed |= served.names_changed;
            let Served { status: Some((seen, new)), .. } = served else { return names_changed };
            let content = Content { value: &new, mark: resource.mark(&new) };
            let stored = self.store.update(&resource.collection, name, seen.revision, content);
            // If it has changed in the meantime, it is served again.
            if matches!(stored, Err(Error::TooLarge)) {
                return names_changed;
            }
        }
    }
}
