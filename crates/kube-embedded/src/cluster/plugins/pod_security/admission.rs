//! Refuses and warns by the labels of a namespace: `k8s.io/pod-security-admission/admission`.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::super::super::admission_request::AdmissionRequest;
use super::super::super::state::Cluster;
use super::super::resources::items;
use super::checks::{Violation, details, violations};
use super::policy::{Level, Policy, Standard};
use crate::resource::{NAMESPACES, PODS};
use crate::status::Status;
use crate::strategy::owner_references;

/// How many Pods of a namespace are checked when its labels change.
const MAX_CHECKED: usize = 3000;

impl Cluster {
    /// Refuses Pods that do what their namespace forbids, and namespaces with wrong labels; warns of Pods, and of what creates
    /// them.
    pub(in super::super) fn check_pod_security(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let stored_as = request.resource.stored_as();
        match (stored_as, request.subresource) {
            (NAMESPACES, "") => return self.check_labels(request, new, old),
            (PODS, "status") => return Ok(()),
            (PODS, _) if old.is_some_and(|old| !changes_images(new, old)) => return Ok(()),
            (PODS, _) | (_, "") => {}
            _ => return Ok(()),
        }
        let is_pod = stored_as == PODS;
        let Some(pod) = (if is_pod { Some(new) } else { template(stored_as.collection(), new) }) else {
            return Ok(());
        };
        let Some(namespace) = self.store.get(NAMESPACES.collection(), request.namespace) else {
            let why = format!("failed to lookup namespace {:?}", request.namespace);
            return if is_pod { Err(Status::internal_error(why)) } else { Ok(()) };
        };
        let (policy, _) = Policy::of(&namespace.value());
        if is_pod {
            let refused = violations(policy.enforce, pod);
            if !refused.is_empty() {
                let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&refused));
                return Err(request.forbidden(new, &why));
            }
        }
        let warned = violations(policy.warn, pod);
        if !warned.is_empty() {
            let warning = format!("would violate PodSecurity \"{}\": {}", policy.warn, details(&warned));
            request.warnings.extend([warning]);
        }
        Ok(())
    }

    /// Refuses a namespace whose labels are newly wrong, and warns of its Pods if it becomes stricter.
    fn check_labels(
        &self,
        request: &AdmissionRequest<'_>,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let (policy, errors) = Policy::of(new);
        let before = old.map(Policy::of);
        if !errors.is_empty() && before.as_ref().is_none_or(|(_, before)| *before != errors) {
            return Err(Status::invalid("", "Namespace", request.name, errors));
        }
        let Some((before, _)) = before else { return Ok(()) };
        let (now, before) = (policy.enforce, before.enforce);
        let is_weaker = now.version == before.version && now.level <= before.level;
        if now != before && now.level != Level::Privileged && !is_weaker {
            request.warnings.extend(self.warnings_of_pods(request.name, now));
        }
        Ok(())
    }

    /// Which Pods of a namespace do what a standard forbids.
    fn warnings_of_pods(&self, namespace: &str, standard: Standard) -> Vec<String> {
        let prefix = format!("{namespace}/");
        let page = self.store.all(PODS.collection(), &prefix);
        let pods = page.iter().map(|pod| pod.value());
        // One Pod of each controller comes before the others, which are like it.
        let mut seen = HashSet::new();
        let (mut pods, others): (Vec<_>, Vec<_>) = pods.partition(|pod| {
            let controller = owner_references(pod).iter().find(|owner| owner["controller"] == true);
            controller.is_none_or(|owner| seen.insert(owner["uid"].to_string()))
        });
        pods.extend(others);
        let mut warnings = Vec::new();
        if pods.len() > MAX_CHECKED {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {MAX_CHECKED} of {} existing pods",
                pods.len()
            ));
        }
        // The names of the Pods, by what they do.
        let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for pod in pods.iter().take(MAX_CHECKED) {
            let found = violations(standard, pod);
            if !found.is_empty() {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                names.entry(reasons(&found)).or_default().push(name);
            }
        }
        if !names.is_empty() {
            warnings.push(format!(
                "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\""
            ));
        }
        let mut of_pods: Vec<_> = names
            .into_iter()
            .map(|(reasons, names)| {
                let first = names.iter().min().copied().unwrap_or_default();
                match names.len() {
                    1 => format!("{first}: {reasons}"),
                    2 => format!("{first} (and 1 other pod): {reasons}"),
                    several => format!("{first} (and {} other pods): {reasons}", several - 1),
                }
            })
            .collect();
        of_pods.sort_unstable();
        warnings.append(&mut of_pods);
        warnings
    }
}

fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
}

/// The template of the Pods that an object creates.
fn template<'a>(collection: &str, object: &'a Value) -> Option<&'a Value> {
    let template = match collection {
        "/podtemplates" => &object["template"],
        "/replicationcontrollers"
        | "apps/replicasets"
        | "apps/deployments"
        | "apps/daemonsets"
        | "apps/statefulsets"
        | "batch/jobs" => &object["spec"]["template"],
        "batch/cronjobs" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    template.is_object().then_some(template)
}

/// Whether an update gives a Pod other containers or other images, which is all that can change of what is checked.
fn changes_images(new: &Value, old: &Value) -> bool {
    let is_other = |new: &Value, old: &Value| new["image"] != old["image"];
    let in_place = ["containers", "initContainers"].into_iter().any(|list| {
        let (new, old) = (items(new, list), items(old, list));
        new.len() != old.len() || new.iter().zip(old).any(|(new, old)| is_other(new, old))
    });
    let old = items(old, "ephemeralContainers");
    in_place
        || items(new, "ephemeralContainers").iter().any(|container| {
            let same = old.iter().find(|old| old["name"] == container["name"]);
            same.is_none_or(|old| is_other(container, old))
        })
}
