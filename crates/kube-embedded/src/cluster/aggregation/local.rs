//! The APIServices of what this server serves itself: kube-aggregator's `autoregister`.
//!
//! Those of built-in group versions are made when the server starts. Those of definitions follow the definitions: they come and go
//! with them, and are restored if somebody else changes or deletes them.

use serde_json::{Value, json};

use super::super::commit::API_SERVER;
use super::super::definitions::group_of;
use super::super::deletion::{DeleteOptions, before_delete};
use super::super::state::Cluster;
use super::super::target::Target;
use crate::resource::{API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS};
use crate::scheme::{CUSTOM_GROUP, CUSTOM_VERSION};
use crate::store::Store;
use crate::strategy::{aggregation, conditions, metadata};

/// The label of APIServices that are not a user's.
const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Its value for those that are looked at when the server starts.
const ON_START: &str = "onstart";
/// Its value for those that follow definitions.
const ALWAYS: &str = "true";

impl Cluster {
    /// Makes the APIServices of built-in group versions, and restores their `spec`.
    pub(in super::super) fn make_builtin_api_services(&self) {
        let scheme = self.scheme();
        for group in scheme.builtin() {
            for version in group.versions.iter().filter(|it| it.priority > 0) {
                let spec = spec(&group.name, &version.name, group.priority, version.priority);
                self.make_api_service(&format!("{}.{}", version.name, group.name), &spec, ON_START);
            }
        }
    }

    /// Looks at the APIServices of the versions of a definition that was written or removed (`new` is null).
    pub(in super::super) fn follow_definition(&self, name: &str, old: Option<&Value>, new: &Value) {
        if old.is_some_and(|old| old["spec"]["versions"] == new["spec"]["versions"]) {
            return;
        }
        let group = group_of(name);
        for version in served(new) {
            self.make_defined_api_service(group, version);
        }
        let kept: Vec<_> = served(new).collect();
        for version in old.into_iter().flat_map(served).filter(|version| !kept.contains(version)) {
            self.follow_api_service(&format!("{version}.{group}"));
        }
    }

    /// Makes, restores or removes an APIService as definitions want it.
    pub(in super::super) fn follow_api_service(&self, name: &str) {
        let Some((version, group)) = name.split_once('.') else { return };
        let builtin =
            self.scheme().builtin().iter().any(|it| {
                it.name == group && it.versions.iter().any(|it| it.name == version && it.priority > 0)
            });
        if is_defined(&self.store, group, version) {
            self.make_defined_api_service(group, version);
        } else if !builtin {
            self.remove_api_service(name);
        }
    }

    fn make_defined_api_service(&self, group: &str, version: &str) {
        let spec = spec(group, version, CUSTOM_GROUP, CUSTOM_VERSION);
        self.make_api_service(&format!("{version}.{group}"), &spec, ALWAYS);
    }

    /// Makes an APIService, or gives it this `spec` if it is not a user's.
    fn make_api_service(&self, name: &str, spec: &Value, sync: &str) {
        let Some(resource) = self.scheme().by_collection(API_SERVICES.collection()).cloned() else { return };
        let target = Target { resource: &resource, namespace: "", name };
        if self.object(&resource, "", name).is_ok() {
            // If it no longer exists, the hook of its deletion makes it again.
            let _ = self.modify(target, |object| {
                if object["metadata"]["labels"][AUTOMANAGED] == sync {
                    object["spec"] = spec.clone();
                }
                Ok(())
            });
            return;
        }
        let mut object = json!({
            "apiVersion": resource.api_version(), "kind": resource.kind,
            "metadata": {"name": name, "labels": {AUTOMANAGED: sync}},
            "spec": spec,
        });
        conditions::set(&mut object, aggregation::local(), &self.clock.seconds());
        self.create_unless_there(API_SERVER, object);
    }

    /// Removes an APIService that was made for a definition.
    fn remove_api_service(&self, name: &str) {
        let Some(resource) = self.scheme().by_collection(API_SERVICES.collection()).cloned() else { return };
        // If it no longer exists, nothing is left to do.
        let _ = self.modify(Target { resource: &resource, namespace: "", name }, |object| {
            if metadata(object).get("labels").is_some_and(|labels| labels[AUTOMANAGED] == ALWAYS) {
                before_delete(&resource, object, &DeleteOptions::default(), self.clock.now());
            }
            Ok(())
        });
    }
}

fn spec(group: &str, version: &str, group_priority: i32, version_priority: i32) -> Value {
    let mut spec = json!({
        "version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
    });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    spec
}

/// The names of the versions that a definition serves.
fn served(definition: &Value) -> impl Iterator<Item = &str> {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    versions.filter(|version| version["served"] == true).filter_map(|version| version["name"].as_str())
}

/// Whether any definition serves a group version.
fn is_defined(store: &Store, group: &str, version: &str) -> bool {
    let definitions = store.all(CUSTOM_RESOURCE_DEFINITIONS.collection(), "");
    let mut of_group = definitions.iter().filter(|it| group_of(it.name()) == group);
    of_group.any(|it| served(&it.value()).any(|served| served == version))
}
