//! What a ResourceQuota counts of an object: the evaluators of kubernetes' `pkg/quota/v1`.

use jiff::{SignedDuration, Timestamp};
use kube_validation::Quantity;
use serde_json::Value;

use super::resources::{self, ResourceList};
use super::storage::{class_of, classes_of_attributes};
use crate::resource::{PERSISTENT_VOLUME_CLAIMS, PODS, Resource, SERVICES};

/// Whose objects are counted by their class of storage: `gold.storageclass.storage.k8s.io/requests.storage`.
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
/// The prefix of amounts of huge pages.
const HUGE_PAGES: &str = "hugepages-";
/// The amounts of Pods, apart from huge pages and extended resources.
const OF_PODS: [&str; 10] = [
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
const OF_SERVICES: [&str; 3] = ["services", "services.nodeports", "services.loadbalancers"];
const OF_CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// If a quota limits one of these, each container has to say how much it needs.
const REQUIRED: [&str; 6] =
    ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// How objects of a resource are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pod,
    Service,
    Claim,
    Other,
}

/// What quotas count of the objects of a resource.
#[derive(Debug)]
pub(super) struct Usage<'a> {
    kind: Kind,
    resource: &'a Resource,
    /// `count/` and the resource.
    count: String,
}

/// One of a quota's scopes: a `ScopedResourceSelectorRequirement`.
#[derive(Debug)]
pub(super) struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

impl Scope {
    /// Reads the scopes of a quota's `spec`.
    pub(super) fn parse_all(spec: &Value) -> Vec<Self> {
        let named = crate::strategy::texts(&spec["scopes"]).into_iter();
        let named = named.map(|name| Self { name, operator: "Exists".to_owned(), values: Vec::new() });
        let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        let selected = selected.map(|it| Self {
            name: it["scopeName"].as_str().unwrap_or_default().to_owned(),
            operator: it["operator"].as_str().unwrap_or_default().to_owned(),
            values: crate::strategy::texts(&it["values"]),
        });
        named.chain(selected).collect()
    }

    /// Whether one of some values is selected, or the absence of any.
    fn selects(&self, values: &[&str]) -> bool {
        let is_listed = |value: &&str| self.values.iter().any(|it| it == value);
        match self.operator.as_str() {
            "Exists" => !values.is_empty(),
            "DoesNotExist" => values.is_empty(),
            "In" => values.iter().any(is_listed),
            "NotIn" => values.is_empty() || !values.iter().all(is_listed),
            _ => false,
        }
    }
}

impl<'a> Usage<'a> {
    /// `None` for what is not counted: Events, and what is not stored.
    pub(super) fn of(resource: &'a Resource) -> Option<Self> {
        let is_stored = resource.verbs.iter().any(|verb| verb == "list");
        if !resource.namespaced || resource.plural == "events" && resource.custom.is_none() || !is_stored {
            return None;
        }
        let kind = match resource.stored_as() {
            PODS => Kind::Pod,
            SERVICES => Kind::Service,
            PERSISTENT_VOLUME_CLAIMS => Kind::Claim,
            _ => Kind::Other,
        };
        Some(Self { kind, resource, count: format!("count/{}", resource.qualified()) })
    }

    /// Whether a request may change what is counted. `old`: what the object replaces.
    pub(super) fn is_changed_by(&self, subresource: &str, new: &Value, old: Option<&Value>) -> bool {
        match (self.kind, subresource, old) {
            (_, "", None) | (Kind::Service | Kind::Claim, "", Some(_)) | (Kind::Claim, "status", Some(_)) => {
                true
            }
            (Kind::Pod, "", Some(old)) => is_terminating(new) != is_terminating(old),
            _ => false,
        }
    }

    /// Whether an update may bring an object into the scope of other quotas.
    pub(super) fn is_moved(&self, new: &Value, old: &Value) -> bool {
        match self.kind {
            Kind::Pod => is_terminating(new) != is_terminating(old),
            Kind::Claim => classes_of_attributes(new).ne(&classes_of_attributes(old)),
            _ => false,
        }
    }

    /// Whether each object counts as one and is in no scope.
    pub(super) fn is_plain(&self) -> bool {
        self.kind == Kind::Other
    }

    /// Whether it counts something that a quota has this name for.
    pub(super) fn counts(&self, name: &str) -> bool {
        if name == self.count {
            return true;
        }
        match self.kind {
            Kind::Pod => {
                let requested = name.strip_prefix("requests.");
                OF_PODS.contains(&name)
                    || requested.unwrap_or(name).starts_with(HUGE_PAGES)
                    || requested.is_some_and(is_extended)
            }
            Kind::Service => OF_SERVICES.contains(&name),
            Kind::Claim => OF_CLAIMS.contains(&name.split_once(BY_CLASS).map_or(name, |(_, name)| name)),
            Kind::Other => self.has_short_name() && name == self.resource.plural,
        }
    }

    /// Whether quotas may name it as they did before `count/`.
    fn has_short_name(&self) -> bool {
        let plural = self.resource.plural.as_str();
        self.resource.group.is_empty()
            && matches!(plural, "configmaps" | "resourcequotas" | "replicationcontrollers" | "secrets")
    }

    /// Whether an object is in the scope of a quota.
    pub(super) fn is_in(&self, scope: &Scope, object: &Value) -> bool {
        match self.kind {
            Kind::Pod => is_pod_in(scope, object),
            Kind::Claim if scope.name == "VolumeAttributesClass" => {
                let classes = classes_of_attributes(object).into_iter().filter_map(Value::as_str);
                let classes = classes.filter(|class| !class.is_empty());
                scope.selects(&classes.collect::<Vec<_>>())
            }
            _ => false,
        }
    }

    /// What an object has to say and does not, if a quota limits what `is_limited` is about.
    pub(super) fn missing(&self, object: &Value, is_limited: impl Fn(&str) -> bool) -> Option<String> {
        if self.kind != Kind::Pod || of_whole_pod(object).next().is_some() {
            return None;
        }
        let missing = REQUIRED.into_iter().filter(|name| is_limited(name)).filter_map(|name| {
            let (field, name_of_amount) = match name.split_once('.') {
                Some((field, amount)) => (field, amount),
                None => ("requests", name),
            };
            let all =
                ["containers", "initContainers"].into_iter().flat_map(|it| resources::items(object, it));
            let silent = all.filter(|it| it["resources"][field][name_of_amount].is_null());
            let mut names: Vec<_> = silent.filter_map(|it| it["name"].as_str()).collect();
            names.sort_unstable();
            names.dedup();
            (!names.is_empty()).then(|| format!("{name} for: {}", names.join(",")))
        });
        let missing: Vec<_> = missing.collect();
        (!missing.is_empty()).then(|| format!("must specify {}", missing.join("; ")))
    }

    /// What an object counts for.
    pub(super) fn of_object(&self, object: &Value, now: Timestamp) -> ResourceList {
        let one = Quantity::from(1);
        let mut used = ResourceList::from([(self.count.clone(), one)]);
        let mut set = |name: &str, amount: Quantity| _ = used.insert(name.to_owned(), amount);
        match self.kind {
            Kind::Other if self.has_short_name() => set(&self.resource.plural, one),
            Kind::Other => {}
            Kind::Service => {
                let spec = &object["spec"];
                let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
                let given = ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0).count();
                let (node_ports, balancers) = match spec["type"].as_str() {
                    Some("NodePort") => (ports.len(), 0),
                    Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => (given, 1),
                    Some("LoadBalancer") => (ports.len(), 1),
                    _ => (0, 0),
                };
                set("services", one);
                set("services.nodeports", Quantity::from(i64::try_from(node_ports).unwrap_or(i64::MAX)));
                set("services.loadbalancers", Quantity::from(balancers));
            }
            Kind::Claim => {
                let amount = |of: &Value| Quantity::parse_or_huge(of["storage"].as_str()?);
                let class = class_of(object);
                let storage = amount(&object["spec"]["resources"]["requests"]);
                // A volume that could not shrink yet counts as it is.
                let allocated = amount(&object["status"]["allocatedResources"]);
                let storage = storage.map(|storage| storage.max(allocated.unwrap_or(storage)).rounded_up(0));
                for (name, amount) in [("persistentvolumeclaims", Some(one)), ("requests.storage", storage)] {
                    let Some(amount) = amount else { continue };
                    set(name, amount);
                    if !class.is_empty() {
                        set(&format!("{class}{BY_CLASS}{name}"), amount);
                    }
                }
            }
            Kind::Pod if has_ended(object, now) => {}
            Kind::Pod => {
                set("pods", one);
                for (name, amount) in of_pod(object, "requests") {
                    match name.as_str() {
                        "cpu" | "memory" | "ephemeral-storage" => set(&name, amount),
                        name if name.starts_with(HUGE_PAGES) => set(name, amount),
                        name if is_extended(name) => {}
                        _ => continue,
                    }
                    set(&format!("requests.{name}"), amount);
                }
                for (name, amount) in of_pod(object, "limits") {
                    if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                        set(&format!("limits.{name}"), amount);
                    }
                }
            }
        }
        used
    }
}

/// Whether it is a resource that is not Kubernetes' own, such as `example.com/gpu`.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
        || name.starts_with("deviceclass.resource.kubernetes.io/")
}

fn is_pod_in(scope: &Scope, pod: &Value) -> bool {
    let is_best_effort = pod["status"]["qosClass"] == "BestEffort";
    match scope.name.as_str() {
        "Terminating" => is_terminating(pod),
        "NotTerminating" => !is_terminating(pod),
        "BestEffort" => is_best_effort,
        "NotBestEffort" => !is_best_effort,
        "PriorityClass" => {
            let class = pod["spec"]["priorityClassName"].as_str().filter(|class| !class.is_empty());
            scope.selects(class.as_slice())
        }
        "CrossNamespacePodAffinity" => names_other_namespaces(&pod["spec"]["affinity"]),
        _ => false,
    }
}

fn is_terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

fn names_other_namespaces(affinity: &Value) -> bool {
    let kinds = ["podAffinity", "podAntiAffinity"].into_iter().map(|kind| &affinity[kind]);
    let terms = |list: &'static str| {
        move |kind: &'_ Value| kind[list].as_array().into_iter().flatten().cloned().collect::<Vec<_>>()
    };
    let required = kinds.clone().flat_map(terms("requiredDuringSchedulingIgnoredDuringExecution"));
    let preferred = kinds.flat_map(terms("preferredDuringSchedulingIgnoredDuringExecution"));
    let preferred = preferred.map(|mut term| term["podAffinityTerm"].take());
    required.chain(preferred).any(|term| {
        term["namespaces"].as_array().is_some_and(|all| !all.is_empty())
            || !term["namespaceSelector"].is_null()
    })
}

/// Whether a Pod runs nothing any more, or its time to stop is over.
fn has_ended(pod: &Value, now: Timestamp) -> bool {
    if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return true;
    }
    let metadata = &pod["metadata"];
    let end = metadata["deletionTimestamp"].as_str().and_then(|end| end.parse::<Timestamp>().ok());
    let grace = metadata["deletionGracePeriodSeconds"].as_i64();
    end.zip(grace).is_some_and(|(end, grace)| now.duration_since(end) > SignedDuration::from_secs(grace))
}

/// What a whole Pod requests, or is limited to.
fn of_pod(pod: &Value, field: &str) -> ResourceList {
    let mut total = resources::of_containers(pod, field);
    total.extend(of_whole_pod(pod).filter(|(of, _, _)| *of == field).map(|(_, name, amount)| (name, amount)));
    let mut overhead = resources::parse(&pod["spec"]["overhead"]);
    if field == "limits" {
        overhead.retain(|name, _| total.get(name).is_some_and(|limit| !limit.is_zero()));
    }
    resources::add(&mut total, overhead);
    total
}

/// The amounts that a Pod gives for itself rather than for its containers.
fn of_whole_pod(pod: &Value) -> impl Iterator<Item = (&'static str, String, Quantity)> {
    let is_own = |name: &String| matches!(name.as_str(), "cpu" | "memory") || name.starts_with(HUGE_PAGES);
    let all = ["requests", "limits"].into_iter().flat_map(|field| {
        let list = resources::parse(&pod["spec"]["resources"][field]);
        list.into_iter().map(move |(name, amount)| (field, name, amount))
    });
    all.filter(move |(_, name, _)| is_own(name))
}
