//! Authorization: evaluates the Roles, ClusterRoles and their bindings in the store as RBAC does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube_selectors::LabelSelector;
use serde_json::Value;

use super::request_info::RequestInfo;
use crate::status::Status;
use crate::store::{Range, Store};
use crate::user::{User, service_account_of};

const ROLES: &str = "rbac.authorization.k8s.io/roles";
const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";
const ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/rolebindings";
const CLUSTER_ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/clusterrolebindings";
/// How deep ClusterRoles may aggregate one another: admin aggregates edit, which aggregates view.
const AGGREGATIONS: usize = 8;

/// What a user wants to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// The path of a non-resource request; the fields about resources are then empty.
    pub(crate) path: &'a str,
}

/// The policy in a store. It is read again after a role or a binding was written.
#[derive(Debug, Default)]
pub(crate) struct Rbac(Mutex<Option<Arc<Policy>>>);

/// All bindings with their rules, as of the last writes to their collections.
#[derive(Debug)]
struct Policy {
    written: [u64; 4],
    cluster: Bindings,
    /// By namespace.
    namespaced: HashMap<String, Bindings>,
}

/// The rules that subjects are bound to.
type Bindings = HashMap<Subject, Vec<Value>>;

#[derive(Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl Rbac {
    /// Refuses a request for a resource that its user is not authorized to make.
    pub(crate) fn authorize(&self, store: &Store, user: &User, request: &RequestInfo) -> Result<(), Status> {
        // Permissions for the contents of a namespace, and for the namespace itself, can be granted in that namespace.
        let namespace = match (request.group.as_str(), request.resource.as_str()) {
            ("", "namespaces") => &request.name,
            _ => &request.namespace,
        };
        let attributes = Attributes {
            verb: request.verb,
            group: &request.group,
            resource: &request.resource,
            subresource: &request.subresource,
            namespace,
            name: &request.name,
            path: "",
        };
        self.require(store, user, &attributes)
    }

    /// Refuses an action on a resource that a user is not authorized for.
    pub(crate) fn require(&self, store: &Store, user: &User, wanted: &Attributes<'_>) -> Result<(), Status> {
        if self.allows(store, user, wanted) {
            return Ok(());
        }
        let resource = match wanted.subresource {
            "" => wanted.resource.to_owned(),
            subresource => format!("{}/{subresource}", wanted.resource),
        };
        let place = match wanted.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let why = format!(
            "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
            user.name, wanted.verb, wanted.group
        );
        Err(Status::forbidden(wanted.group, wanted.resource, wanted.name, &why))
    }

    /// Refuses a request for a non-resource path that its user is not authorized to make. `verb` is the method in lower
    /// case.
    pub(crate) fn authorize_path(
        &self,
        store: &Store,
        user: &User,
        verb: &str,
        path: &str,
    ) -> Result<(), Status> {
        if self.allows(store, user, &Attributes { verb, path, ..Attributes::default() }) {
            Ok(())
        } else {
            Err(Status::forbidden_path(&user.name, verb, path))
        }
    }

    /// Whether a user is authorized for an action. Visits the rules that the user and its groups are bound to; reads
    /// all roles and bindings first if one of them was written since the last call.
    pub(crate) fn allows(&self, store: &Store, user: &User, wanted: &Attributes<'_>) -> bool {
        if user.is_master() {
            return true;
        }
        let policy = self.policy(store);
        policy.rules(user, wanted.namespace).any(|rule| rule_allows(rule, wanted))
    }

    /// The rules that apply to a user in a namespace, or in the whole cluster (`""`).
    pub(crate) fn rules(&self, store: &Store, user: &User, namespace: &str) -> Vec<Value> {
        let policy = self.policy(store);
        policy.rules(user, namespace).cloned().collect()
    }

    fn policy(&self, store: &Store) -> Arc<Policy> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Determined before the objects are read: a concurrent write may be read twice, but is never missed.
        let written = store.last_writes([ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS]);
        match &*last {
            Some(policy) if policy.written == written => Arc::clone(policy),
            _ => Arc::clone(last.insert(Arc::new(Policy::read(store, written)))),
        }
    }
}

impl Policy {
    fn read(store: &Store, written: [u64; 4]) -> Self {
        let list = |collection: &str| {
            let page = store.list(collection, Range::default(), None).unwrap_or_default();
            page.objects.into_iter().map(|object| (object.key.to_string(), object.value()))
        };
        let cluster_roles: Vec<Value> = list(CLUSTER_ROLES).map(|(_, role)| role).collect();
        let by_name: HashMap<&str, &Value> = cluster_roles
            .iter()
            .filter_map(|role| Some((role["metadata"]["name"].as_str()?, role)))
            .collect();
        let roles: HashMap<String, Value> = list(ROLES).collect();
        let rules_of = |binding: &Value, namespace: &str| -> Option<Vec<Value>> {
            let role = &binding["roleRef"];
            let name = role["name"].as_str()?;
            match role["kind"].as_str()? {
                "ClusterRole" => Some(cluster_rules(&cluster_roles, by_name.get(name)?, AGGREGATIONS)),
                "Role" => roles.get(&format!("{namespace}/{name}"))?["rules"].as_array().cloned(),
                _ => None,
            }
        };
        let mut policy = Self { written, cluster: Bindings::new(), namespaced: HashMap::new() };
        for (_, binding) in list(CLUSTER_ROLE_BINDINGS) {
            bind(&mut policy.cluster, &binding, &rules_of(&binding, "").unwrap_or_default());
        }
        for (key, binding) in list(ROLE_BINDINGS) {
            let namespace = key.split('/').next().unwrap_or_default();
            let bindings = policy.namespaced.entry(namespace.to_owned()).or_default();
            bind(bindings, &binding, &rules_of(&binding, namespace).unwrap_or_default());
        }
        policy
    }

    fn rules(&self, user: &User, namespace: &str) -> impl Iterator<Item = &Value> {
        let groups = user.groups.iter().map(|group| Subject::Group(group.clone()));
        let account = service_account_of(&user.name).map(|(namespace, name)| Subject::ServiceAccount {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
        let subjects = groups.chain([Subject::User(user.name.clone())]).chain(account);
        let of_namespace = self.namespaced.get(namespace).filter(|_| !namespace.is_empty());
        subjects.flat_map(move |subject| {
            let bindings = [Some(&self.cluster), of_namespace].into_iter().flatten();
            bindings.filter_map(move |bindings| bindings.get(&subject)).flatten()
        })
    }
}

/// Adds the rules of a binding to each of its subjects.
fn bind(bindings: &mut Bindings, binding: &Value, rules: &[Value]) {
    for subject in binding["subjects"].as_array().into_iter().flatten() {
        let text = |field: &str| subject[field].as_str().unwrap_or_default().to_owned();
        let subject = match subject["kind"].as_str() {
            Some("User") => Subject::User(text("name")),
            Some("Group") => Subject::Group(text("name")),
            Some("ServiceAccount") => {
                Subject::ServiceAccount { namespace: text("namespace"), name: text("name") }
            }
            _ => continue,
        };
        bindings.entry(subject).or_default().extend_from_slice(rules);
    }
}

/// The rules of a ClusterRole: its own, or those of the ClusterRoles that it aggregates. kube-controller-manager writes
/// the latter into the object; here they are looked up.
fn cluster_rules(all: &[Value], role: &Value, depth: usize) -> Vec<Value> {
    let Some(selectors) = role["aggregationRule"]["clusterRoleSelectors"].as_array() else {
        return role["rules"].as_array().cloned().unwrap_or_default();
    };
    if depth == 0 {
        return Vec::new();
    }
    // A malformed selector selects nothing.
    let selectors: Vec<_> = selectors.iter().filter_map(|it| LabelSelector::from_object(it).ok()).collect();
    let aggregated = all.iter().filter(|other| {
        let labels = other["metadata"]["labels"].as_object();
        other["metadata"]["name"] != role["metadata"]["name"]
            && selectors.iter().any(|selector| selector.matches(&labels))
    });
    aggregated.flat_map(|other| cluster_rules(all, other, depth - 1)).collect()
}

fn rule_allows(rule: &Value, wanted: &Attributes<'_>) -> bool {
    let has = |field: &str, value: &str| {
        let values = rule[field].as_array().map_or(&[][..], Vec::as_slice);
        values.iter().filter_map(Value::as_str).any(|it| it == "*" || it == value)
    };
    if !has("verbs", wanted.verb) {
        return false;
    }
    if !wanted.path.is_empty() {
        let paths = rule["nonResourceURLs"].as_array().map_or(&[][..], Vec::as_slice);
        return paths.iter().filter_map(Value::as_str).any(|path| {
            path == wanted.path || path.strip_suffix('*').is_some_and(|start| wanted.path.starts_with(start))
        });
    }
    let resource = match wanted.subresource {
        "" => has("resources", wanted.resource),
        subresource => {
            has("resources", &format!("{}/{subresource}", wanted.resource))
                || has("resources", &format!("*/{subresource}"))
        }
    };
    let names = rule["resourceNames"].as_array().map_or(&[][..], Vec::as_slice);
    has("apiGroups", wanted.group)
        && resource
        && (names.is_empty() || (!wanted.name.is_empty() && names.iter().any(|it| it == wanted.name)))
}
