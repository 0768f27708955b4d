//! Starting a server: serves the stored resources, and creates the objects that every cluster has.

use std::sync::Arc;

use serde_json::{Value, json};

use super::commit::API_SERVER;
use super::state::Cluster;
use super::target::Target;
use super::write::{Identity, set_identity};
use crate::resource::{CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Resource};
use crate::store::Error;
use crate::strategy;

/// The namespaces that exist from the start.
const FIRST_NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Fields that kube-apiserver's strategies set, and that nobody owns: see [`Cluster::create_unless_there`], whose objects have them.
const SET_BY_STRATEGIES: &[&[&str]] =
    &[&["status"], &["spec", "finalizers"], &["spec", "clusterIPs"], &["spec", "ipFamilies"]];

impl Cluster {
    /// Serves the stored resources, gives the controllers the work that was left to do, and creates the objects that
    /// every cluster has.
    pub(crate) fn start(&self) {
        self.resume();
        FIRST_NAMESPACES.into_iter().for_each(|name| self.create_namespace(name));
        kube_builtin::objects::initial()
            .into_iter()
            .for_each(|object| self.create_unless_there(API_SERVER, object));
        self.make_builtin_api_services();
    }

    /// Creates a namespace, unless it exists.
    pub(super) fn create_namespace(&self, name: &str) {
        self.create_unless_there(
            API_SERVER,
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            }),
        );
    }

    /// Creates the `default` ServiceAccount of a namespace, unless it exists. Without controllers, a client has to.
    pub(crate) fn create_default_account(&self, namespace: &str) {
        let stored = self.store.get(NAMESPACES.collection(), namespace);
        if !self.options.no_controllers && stored.is_some_and(|namespace| !namespace.deleted) {
            self.create_unless_there(
                API_SERVER,
                json!({
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "metadata": {"name": "default", "namespace": namespace},
                }),
            );
        }
    }

    /// Creates an object of the server's own as it is, unless one of this name exists, from a client or an earlier
    /// start. `manager` manages its fields, if it does not say who does.
    pub(crate) fn create_unless_there(&self, manager: &str, mut object: Value) {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let Some(resource) = self.scheme().by_kind(&api_version, &kind).cloned() else { return };
        let (uid, created) = (self.random.uuid(), self.clock.seconds());
        let identity = Identity { namespace: &namespace, name: &name, uid, created: &created };
        set_identity(&resource, &mut object, &identity);
        if strategy::has_generation(&resource) {
            strategy::metadata(&mut object).insert("generation".to_owned(), 1.into());
        }
        match object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
            Some(entries) => entries.iter_mut().for_each(|entry| entry["time"] = created.as_str().into()),
            None => self.track_as(manager, &resource, "", SET_BY_STRATEGIES, None, &mut object),
        }
        let target = Target { resource: &resource, namespace: &namespace, name: &name };
        match self.commit_create(target, &object) {
            Ok(_) | Err(Error::Exists) => {}
            // Its namespace was deleted or is being deleted, so the object is not needed any more.
            Err(error) => tracing::debug!(%error, kind, namespace, name, "not created"),
        }
    }

    fn resume(&self) {
        // Definitions come first, so that the resources of all other objects are served.
        self.load_accepted_names();
        let definitions = CUSTOM_RESOURCE_DEFINITIONS.collection();
        let definition = self.scheme().by_collection(definitions).cloned();
        definition.into_iter().for_each(|resource| self.look_at_all(&resource));
        for collection in self.store.collections("") {
            if let Some(resource) = self.scheme().by_collection(&collection).cloned()
                && &*collection != definitions
            {
                self.look_at_all(&resource);
            }
        }
    }

    /// Runs the hooks for all objects of a resource, as if they had just been written.
    fn look_at_all(&self, resource: &Arc<Resource>) {
        let page = self.store.all(&resource.collection, "");
        for object in page {
            let (target, value) = (Target::of(resource, &object), object.value());
            // The last server ended between the two writes of a deletion.
            if strategy::is_finished(resource, &value) {
                let _ = self.commit_delete(target, object.revision, &value);
            } else {
                self.after_write(target, None, &value);
            }
        }
    }
}
