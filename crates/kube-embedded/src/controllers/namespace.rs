//! Namespaces: creates their `default` ServiceAccount, and removes them with their contents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::aggregated::{AggregatedResource, Discovery};
use super::calls::Outcome;
use crate::cluster::{CONTROLLER_MANAGER, Cluster, DeleteOptions, Propagation, Target};
use crate::resource::{NAMESPACES, PODS, Resource};
use crate::strategy::{conditions, is_deleted};
use crate::user::User;

/// How long the message of a condition may be, in bytes: the limit of apimachinery's `Condition`. What aggregated servers say may be
/// any text.
const MESSAGE_MAX: usize = 32_768;
/// The entry of a Namespace's `spec.finalizers` that this controller removes.
const FINALIZER: &str = "kubernetes";
/// The name of the controller's ServiceAccount.
const ACCOUNT: &str = "namespace-controller";
/// How long after a failure the contents are deleted again at most, as in kube-controller-manager.
const RETRY: Duration = Duration::from_secs(60);

/// What is left in a namespace.
#[derive(Debug, Default)]
struct Left {
    /// How many objects of each resource, named `RESOURCE.GROUP`.
    objects: BTreeMap<String, usize>,
    /// How many objects have each finalizer.
    finalizers: BTreeMap<String, usize>,
    /// Why objects could not be deleted, one reason for each resource.
    failures: Vec<String>,
    /// How many group versions of aggregated servers could not be discovered, and why.
    undiscovered: Option<(usize, String)>,
    /// Whether some of it is another server's, which does not say when it is gone.
    is_aggregated: bool,
}

/// Deletes the contents of a namespace that is being deleted, and then removes the namespace: first the pods, and the other
/// contents when no pod is left. The namespace's conditions say what it waits for, even if that is a pod.
///
/// Like kube-controller-manager, it only looks at resources that are served, also those of aggregated servers. As long as it is not
/// known what such a server has, the namespace stays.
pub(super) async fn finalize(cluster: Arc<Cluster>, name: String) -> Outcome {
    let (cluster, name) = (&*cluster, name.as_str());
    let namespace = cluster.store.get(NAMESPACES.collection(), name).filter(|it| it.deleted);
    let waits =
        |namespace: &Value| namespace["spec"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
    let Some(namespace) = namespace.map(|namespace| namespace.value()).filter(waits) else {
        return Outcome::Done;
    };
    let uid = namespace["metadata"]["uid"].clone();
    let is_same = |namespace: &Value| namespace["metadata"]["uid"] == uid && is_deleted(namespace);
    let scheme = cluster.scheme();
    let collections = cluster.store.collections(&format!("{name}/"));
    let resources = collections.iter().filter_map(|collection| scheme.by_collection(collection));
    let (pods, others): (Vec<_>, Vec<_>) = resources.partition(|resource| resource.stored_as() == PODS);
    let mut left = Left::default();
    for resources in [pods, others] {
        if left.objects.is_empty() {
            for resource in resources {
                left.delete(cluster, resource, name).await;
            }
        }
    }
    left.delete_aggregated(cluster, name).await;
    let Some(resource) = scheme.by_collection(NAMESPACES.collection()) else { return Outcome::Done };
    let target = Target { resource, namespace: "", name };
    let now = cluster.clock.seconds();
    // If it no longer exists, nothing is left to do. Another one of this name has contents of its own, also if it ends as well.
    let _ = cluster.modify_as(CONTROLLER_MANAGER, target, "status", |namespace| {
        if is_same(namespace) {
            left.conditions().into_iter().for_each(|condition| conditions::set(namespace, condition, &now));
        }
    });
    // Some objects wait for their finalizers. The namespace is looked at again when they are removed.
    if !left.failures.is_empty() || left.undiscovered.is_some() || left.is_aggregated {
        return Outcome::Failed { at_most: RETRY };
    }
    if !left.objects.is_empty() {
        return Outcome::Done;
    }
    let _ = cluster.modify_as(CONTROLLER_MANAGER, target, "finalize", |namespace| {
        if is_same(namespace)
            && let Some(finalizers) = namespace.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut)
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
            if finalizers.is_empty()
                && let Some(spec) = namespace["spec"].as_object_mut()
            {
                spec.remove("finalizers");
            }
        }
    });
    Outcome::Done
}

impl Left {
    /// Deletes the objects of a resource, and counts those that are left.
    async fn delete(&mut self, cluster: &Cluster, resource: &Arc<Resource>, namespace: &str) {
        let prefix = format!("{namespace}/");
        let objects = || cluster.store.all(&resource.collection, &prefix);
        let options = DeleteOptions { propagation: Propagation::Background, ..DeleteOptions::default() };
        for object in objects() {
            match cluster.delete_as(ACCOUNT, Target::of(resource, &object), &options, true).await {
                Ok(_) => {}
                // An object that no longer exists counts as deleted.
                Err(status) if status.code == 404 => {}
                Err(status) => return self.failures.push(status.message),
            }
        }
        for object in objects() {
            *self.objects.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
            let value = object.value();
            let finalizers = value["metadata"]["finalizers"].as_array().into_iter().flatten();
            for finalizer in finalizers.filter_map(Value::as_str) {
                *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
            }
        }
    }

    /// Deletes what aggregated servers have, unless pods are left, and counts what is left of it.
    async fn delete_aggregated(&mut self, cluster: &Cluster, namespace: &str) {
        let discovery = Discovery::of(cluster);
        self.undiscovered = discovery.failure().map(|why| (discovery.failed.len(), why));
        if self.objects.keys().any(|resource| resource == "pods.") {
            return;
        }
        let user = User::service_account("kube-system", ACCOUNT);
        for resource in &discovery.resources {
            let deleted = resource.delete_all(cluster, &user, namespace).await;
            let left = match deleted {
                Ok(()) => resource.left(cluster, &user, namespace).await,
                Err(why) => Err(why),
            };
            let left = match left {
                Ok(left) if left.is_empty() => continue,
                Ok(left) => left,
                Err(why) => {
                    self.failures.push(why);
                    continue;
                }
            };
            self.is_aggregated = true;
            let AggregatedResource { group, version, plural, .. } = resource;
            if left.iter().all(Vec::is_empty) {
                self.failures.push(format!(
                    "unexpected items still remain in namespace: {namespace} for gvr: {group}/{version}, Resource={plural}"
                ));
            }
            *self.objects.entry(format!("{plural}.{group}")).or_default() += left.len();
            for finalizer in left.into_iter().flatten() {
                *self.finalizers.entry(finalizer).or_default() += 1;
            }
        }
    }

    /// The conditions of the namespace. They are those of kube-controller-manager, in its order; the second cannot be true here.
    fn conditions(&self) -> [Value; 5] {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| {
            let end = message.floor_char_boundary(MESSAGE_MAX);
            json!({"type": kind, "status": status, "reason": reason, "message": &message[..end]})
        };
        let fine = |kind: &str, reason: &str, message: &str| condition(kind, "False", reason, message);
        let joined = |counts: &BTreeMap<String, usize>, what: &str| {
            let counts: Vec<String> =
                counts.iter().map(|(name, count)| format!("{name} {what} {count}")).collect();
            format!("{} resource instances", counts.join(" resource instances, "))
        };
        let mut failures = self.failures.clone();
        failures.sort_unstable();
        [
            match &self.undiscovered {
                None => fine(
                    "NamespaceDeletionDiscoveryFailure",
                    "ResourcesDiscovered",
                    "All resources successfully discovered",
                ),
                Some((count, why)) => condition(
                    "NamespaceDeletionDiscoveryFailure",
                    "True",
                    "DiscoveryFailed",
                    &format!("Discovery failed for some groups, {count} failing: {why}"),
                ),
            },
            fine(
                "NamespaceDeletionGroupVersionParsingFailure",
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            match self.failures.is_empty() {
                true => fine(
                    "NamespaceDeletionContentFailure",
                    "ContentDeleted",
                    "All content successfully deleted, may be waiting on finalization",
                ),
                false => condition(
                    "NamespaceDeletionContentFailure",
                    "True",
                    "ContentDeletionFailed",
                    &format!(
                        "Failed to delete all resource types, {} remaining: {}",
                        failures.len(),
                        failures.join(", ")
                    ),
                ),
            },
            match self.objects.is_empty() {
                true => {
                    fine("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed")
                }
                false => condition(
                    "NamespaceContentRemaining",
                    "True",
                    "SomeResourcesRemain",
                    &format!("Some resources are remaining: {}", joined(&self.objects, "has")),
                ),
            },
            match self.finalizers.is_empty() {
                true => fine(
                    "NamespaceFinalizersRemaining",
                    "ContentHasNoFinalizers",
                    "All content-preserving finalizers finished",
                ),
                false => condition(
                    "NamespaceFinalizersRemaining",
                    "True",
                    "SomeFinalizersRemain",
                    &format!(
                        "Some content in the namespace has finalizers remaining: {}",
                        joined(&self.finalizers, "in")
                    ),
                ),
            },
        ]
    }
}
