//! From CustomResourceDefinitions to the resources that are served.

use std::sync::{Arc, MutexGuard, PoisonError};

use kube_patch::Writer;
use serde_json::Value;

use super::state::{AcceptedNames, Cluster};
use super::work::Work;
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, Resource};
use crate::scheme::{self, Defined};
use crate::store::Object;
use crate::strategy::{conditions, definition};

/// What is left to do after a definition was served.
pub(super) struct Served {
    /// The definition as it was read, and with its new status. `None`: the status does not change.
    pub(super) status: Option<(Arc<Object>, Value)>,
    /// Other definitions of its group may have waited for names that this one has given up.
    pub(super) names_changed: bool,
}

impl Cluster {
    /// Serves what a definition defines, according to the store's current state, or stops serving it if the definition
    /// was deleted.
    ///
    /// The last state stored is the last one served, even if this runs concurrently.
    pub(super) fn serve_definition(&self, resource: &Resource, name: &str) -> Served {
        let mut names = self.accepted_names();
        let Some(stored) = self.store.get(CUSTOM_RESOURCE_DEFINITIONS.collection(), name) else {
            self.serve(name, None);
            return Served { status: None, names_changed: names.remove(name).is_some() };
        };
        let mut new = stored.value();
        // A whole definition is expensive to copy and to compare.
        let status = new["status"].clone();
        let others = names.iter().filter(|(other, _)| *other != name && group_of(other) == group_of(name));
        let others: Vec<_> = others.map(|(_, names)| names).collect();
        definition::accept_names(&mut new, &others, &self.clock.seconds());
        definition::report_approval(&mut new, &self.clock.seconds());
        let accepted = new["status"]["acceptedNames"].clone();
        let names_changed = names.insert(name.to_owned(), accepted.clone()) != Some(accepted);
        let scheme = self.scheme();
        let plural = new["spec"]["names"]["plural"].as_str().unwrap_or_default();
        // A built-in resource stays what it is: kube-apiserver routes its requests first.
        let serves = definition::is_established(&new) && !scheme.has_builtin(group_of(name), plural);
        let defined = || scheme::defined(&new, scheme.versions(name), &self.schemas);
        self.serve(name, serves.then(defined).flatten());
        if new["status"] == status {
            return Served { status: None, names_changed };
        }
        let writer = Writer {
            manager: "kube-apiserver",
            subresource: "status",
            api_version: "apiextensions.k8s.io/v1",
            time: self.clock.now(),
            reset: &[],
            versions: &[],
            convert: None,
            is_convertible: true,
        };
        kube_patch::track(resource.merge_type(), Some(&stored.value()), &mut new, &writer);
        Served { status: Some((stored, new)), names_changed }
    }

    /// Replaces the resources of a definition.
    fn serve(&self, name: &str, resources: Option<Defined>) {
        let scheme = self.scheme();
        let before = scheme.defined(name);
        if before.is_none() && resources.is_none() {
            return;
        }
        let versions = |it: &Defined| Some(Arc::clone(&it.storage.custom.as_ref()?.versions));
        let same = match (before.and_then(versions), resources.as_ref().and_then(versions)) {
            (Some(before), Some(after)) => Arc::ptr_eq(&before, &after),
            _ => false,
        };
        let collection = resources.as_ref().or(before).map(|it| Arc::clone(&it.storage.collection));
        self.set_scheme(scheme.with(name, resources));
        // The watches of the previous resources end, and their clients open new ones, starting from now.
        if let Some(collection) = collection.filter(|_| !same) {
            self.store.renew(&collection);
        }
        self.work.push(Work::SchemeChanged);
    }

    /// Learns the accepted names of all stored definitions, which must be known before any of them is served.
    pub(super) fn load_accepted_names(&self) {
        let names = self.store.all(CUSTOM_RESOURCE_DEFINITIONS.collection(), "").into_iter();
        let names = names.map(|it| (it.name().to_owned(), it.value()["status"]["acceptedNames"].take()));
        self.accepted_names().extend(names);
    }

    /// Held while a definition is served, so that the last state stored is the last one served.
    fn accepted_names(&self) -> MutexGuard<'_, AcceptedNames> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The definitions of a group whose names have not been accepted.
    pub(super) fn unaccepted_definitions(&self, group: &str) -> Vec<String> {
        let definitions = self.store.all(CUSTOM_RESOURCE_DEFINITIONS.collection(), "").into_iter();
        let unaccepted = definitions.filter(|object| {
            group_of(object.name()) == group && !conditions::is(&object.value(), "NamesAccepted", "True")
        });
        unaccepted.map(|object| object.name().to_owned()).collect()
    }
}

/// The group of a definition, whose name is `plural.group`.
pub(super) fn group_of(definition: &str) -> &str {
    definition.split_once('.').map_or("", |(_, group)| group)
}
