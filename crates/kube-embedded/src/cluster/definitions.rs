//! From CustomResourceDefinitions to the resources that are served.

use std::sync::{Arc, PoisonError};

use kube_patch::Writer;
use serde_json::Value;

use super::state::Cluster;
use super::work::Work;
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, Resource};
use crate::scheme::{Scheme, custom_resources};
use crate::store::Object;
use crate::strategy::definition;

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
        let _one_at_a_time = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = self.store.get(CUSTOM_RESOURCE_DEFINITIONS.collection(), name) else {
            return Served { status: None, names_changed: self.serve(name, Vec::new()) };
        };
        let old = stored.value();
        let mut new = old.clone();
        let scheme = self.scheme();
        definition::set_names_accepted(&mut new, conflict(&scheme, name, &old), &self.clock.seconds());
        let names_changed = self.serve(
            name,
            match definition::is_established(&new) {
                true => custom_resources(&new, scheme.versions(name)),
                false => Vec::new(),
            },
        );
        if new == old {
            return Served { status: None, names_changed };
        }
        let writer = Writer {
            manager: "kube-apiserver",
            subresource: "status",
            api_version: "apiextensions.k8s.io/v1",
            time: self.clock.now(),
            reset: &[],
        };
        kube_patch::track(resource.merge_type(), Some(&old), &mut new, &writer);
        Served { status: Some((stored, new)), names_changed }
    }

    /// Replaces the served resources of a definition. Returns whether their names have changed.
    fn serve(&self, name: &str, resources: Vec<Arc<Resource>>) -> bool {
        let scheme = self.scheme();
        let before = scheme.defined(name);
        if before.is_empty() && resources.is_empty() {
            return false;
        }
        let versions =
            |resources: &[Arc<Resource>]| Some(Arc::clone(&resources.first()?.custom.as_ref()?.versions));
        let same = match (versions(before), versions(&resources)) {
            (Some(before), Some(after)) => Arc::ptr_eq(&before, &after),
            _ => false,
        };
        let names = |resources: &[Arc<Resource>]| {
            let names =
                resources.first().map(|it| (it.kind.clone(), it.list_kind.clone(), it.singular.clone()));
            (names, resources.first().map(|it| it.short_names.clone()))
        };
        let names_changed = names(before) != names(&resources);
        let collection =
            resources.first().or(before.first()).map(|resource| Arc::clone(&resource.collection));
        self.set_scheme(scheme.with(name, resources));
        // The watches of the previous resources end, and their clients open new ones, starting from now.
        if let Some(collection) = collection.filter(|_| !same) {
            self.store.renew(&collection);
        }
        self.work.push(Work::SchemeChanged);
        names_changed
    }

    /// The definitions of a group whose names have not been accepted.
    pub(super) fn unaccepted_definitions(&self, group: &str) -> Vec<String> {
        let page = self.store.list(CUSTOM_RESOURCE_DEFINITIONS.collection(), Default::default(), None);
        let definitions = page.unwrap_or_default().objects.into_iter().map(|object| (object.value(), object));
        let unaccepted = definitions.filter(|(definition, _)| {
            definition["spec"]["group"] == group
                && !crate::strategy::conditions::is(definition, "NamesAccepted", "True")
        });
        unaccepted.map(|(_, object)| object.name().to_owned()).collect()
    }
}

/// The name of a definition that another definition of its group already has: the condition's reason and message.
fn conflict(scheme: &Scheme, definition: &str, object: &Value) -> Option<(&'static str, String)> {
    let spec = &object["spec"];
    let group = spec["group"].as_str().unwrap_or_default();
    let others = || scheme.custom_of_group(group, definition);
    let names = &spec["names"];
    let taken = |name: &str| {
        others()
            .any(|it| it.plural == name || it.singular == name || it.short_names.iter().any(|it| it == name))
    };
    let kind_taken = |name: &str| others().any(|it| it.kind == name || it.list_kind == name);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let in_use = |name: &str| format!("{name:?} is already in use");
    for (field, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
        if taken(&text(&names[field])) {
            return Some((reason, in_use(&text(&names[field]))));
        }
    }
    for short in names["shortNames"].as_array().into_iter().flatten() {
        if taken(&text(short)) {
            return Some(("ShortNamesConflict", in_use(&text(short))));
        }
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        if kind_taken(&text(&names[field])) {
            return Some((reason, in_use(&text(&names[field]))));
        }
    }
    None
}
