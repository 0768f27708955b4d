//! Authorization: evaluates the Roles, ClusterRoles and their bindings in the store as RBAC does.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use kube_selectors::LabelSelector;
use kube_validation::go::aggregate;
use serde_json::Value;

use super::derived::Derived;
use super::request_info::RequestInfo;
use super::rule::{Attributes, Rule};
use crate::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use crate::status::Status;
use crate::store::Store;
use crate::user::{User, service_account_of};

/// The policy in a store. It is read again after a role or a binding was written.
#[derive(Debug)]
pub(crate) struct Rbac {
    policy: Derived<Policy, 4>,
    /// kube-apiserver's mode `AlwaysAllow`.
    pub(super) always_allow: bool,
}

/// All roles and bindings.
#[derive(Debug)]
pub(super) struct Policy {
    cluster_roles: ClusterRoles,
    /// By `namespace/name`.
    roles: HashMap<String, Rules>,
    cluster: Bindings,
    /// By namespace.
    namespaced: HashMap<String, Bindings>,
}

/// The rules of a role: its own, or those of each ClusterRole that it aggregates. Shared by all who are bound to it.
pub(super) type Rules = Arc<[Arc<[Rule]>]>;

/// What subjects are bound to.
type Bindings = HashMap<Subject, Vec<Bound>>;

#[derive(Clone, Debug)]
enum Bound {
    Rules(Rules),
    Missing(Arc<MissingRole>),
}

/// A role that a binding names, and that does not exist.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MissingRole {
    /// `clusterrole` or `role`.
    kind: &'static str,
    pub(super) name: String,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

#[derive(Debug, Default)]
struct ClusterRoles {
    all: Vec<ClusterRole>,
    /// Positions in `all`.
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct ClusterRole {
    labels: Value,
    own: Arc<[Rule]>,
    /// Of its `aggregationRule`.
    selectors: Option<Vec<LabelSelector>>,
    /// The roles that the selectors select, as positions in `all`. Determined on first use, as are the rules.
    selected: OnceLock<Vec<usize>>,
    rules: OnceLock<Rules>,
}

impl Rbac {
    /// `always_allow`: no role is needed for anything.
    pub(crate) fn new(always_allow: bool) -> Self {
        Self { policy: Derived::default(), always_allow }
    }

    /// Refuses a request for a resource that its user is not authorized to make. `selected` is the name that a list or
    /// a watch selects: it is authorized for that name, as by kube-apiserver.
    pub(crate) fn authorize(
        &self,
        store: &Store,
        user: &User,
        request: &RequestInfo,
        selected: Option<&str>,
    ) -> Result<(), Status> {
        self.require(store, user, &attributes(request, selected.unwrap_or(&request.name)))
    }

    /// Refuses an action on a resource that a user is not authorized for.
    pub(crate) fn require(&self, store: &Store, user: &User, wanted: &Attributes<'_>) -> Result<(), Status> {
        self.decide(store, user, wanted).map_err(|reason| forbidden(user, wanted, &reason))
    }

    /// Refuses a request for a non-resource path that its user is not authorized to make. `verb` is the method in lower
    /// case. Everybody who is authenticated may ask whether the server is healthy, as with kube-apiserver's default
    /// `--authorization-always-allow-paths`.
    pub(crate) fn authorize_path(
        &self,
        store: &Store,
        user: &User,
        verb: &str,
        path: &str,
    ) -> Result<(), Status> {
        if ["/healthz", "/livez", "/readyz"].contains(&path) {
            return Ok(());
        }
        let wanted = Attributes { verb, path: Some(path), ..Attributes::default() };
        self.decide(store, user, &wanted)
            .map_err(|reason| Status::forbidden_path(&user.name, verb, path, &reason))
    }

    /// Whether a user is authorized for an action.
    pub(crate) fn allows(&self, store: &Store, user: &User, wanted: &Attributes<'_>) -> bool {
        self.decide(store, user, wanted).is_ok()
    }

    /// Visits the rules that the user and its groups are bound to; reads all roles and bindings first if one of them was
    /// written since the last call.
    ///
    /// # Errors
    /// Fails if no rule allows the action, with the end of the message: the roles that do not exist.
    fn decide(&self, store: &Store, user: &User, wanted: &Attributes<'_>) -> Result<(), String> {
        // An administrator needs no roles to be read.
        if self.always_allow || user.is_master() {
            return Ok(());
        }
        self.policy(store).decide(user, wanted)
    }

    /// The rules that apply to a user in a namespace, or in the whole cluster (`""`), as JSON.
    pub(crate) fn rules(&self, store: &Store, user: &User, namespace: &str) -> Vec<Value> {
        let policy = self.policy(store);
        policy.rules(user, namespace).map(Rule::to_value).collect()
    }

    /// The policy as it is now.
    pub(super) fn policy(&self, store: &Store) -> Arc<Policy> {
        let collections = [ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS];
        self.policy.current(store, collections, || Policy::read(store))
    }
}

/// The refusal of a request for a resource.
pub(crate) fn refusal(user: &User, request: &RequestInfo) -> Status {
    forbidden(user, &attributes(request, &request.name), "")
}

/// What a request for a resource does, to an object of this name.
fn attributes<'a>(request: &'a RequestInfo, name: &'a str) -> Attributes<'a> {
    // Permissions for the contents of a namespace, and for the namespace itself, can be granted in that namespace. This
    // does not apply to a namespace that is selected from the list of all.
    let namespace = match (request.group.as_str(), request.resource.as_str()) {
        ("", "namespaces") => &request.name,
        _ => &request.namespace,
    };
    Attributes {
        verb: request.verb,
        group: &request.group,
        resource: &request.resource,
        subresource: &request.subresource,
        namespace,
        name,
        path: None,
    }
}

/// The error for an action on a resource that a user is not authorized for. `reason` is appended.
fn forbidden(user: &User, wanted: &Attributes<'_>, reason: &str) -> Status {
    let resource = match wanted.subresource {
        "" => wanted.resource.to_owned(),
        subresource => format!("{}/{subresource}", wanted.resource),
    };
    let place = match wanted.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {place}{reason}",
        user.name, wanted.verb, wanted.group
    );
    Status::forbidden(wanted.group, wanted.resource, wanted.name, &why)
}

impl Policy {
    fn read(store: &Store) -> Self {
        let list = |collection: &str| {
            let page = store.all(collection, "");
            page.into_iter().map(|object| (object.key.to_string(), object.value()))
        };
        let mut cluster_roles = ClusterRoles::default();
        list(CLUSTER_ROLES.collection()).for_each(|(name, role)| cluster_roles.add(name, &role));
        let own = |role: &Value| Rules::from([Rule::parse_all(&role["rules"]).into()]);
        let mut policy = Self {
            cluster_roles,
            roles: list(ROLES.collection()).map(|(key, role)| (key, own(&role))).collect(),
            cluster: Bindings::new(),
            namespaced: HashMap::new(),
        };
        for (_, binding) in list(CLUSTER_ROLE_BINDINGS.collection()) {
            let bound = policy.bound(&binding, "");
            bind(&mut policy.cluster, &binding, "", bound.as_ref());
        }
        for (key, binding) in list(ROLE_BINDINGS.collection()) {
            let namespace = key.split('/').next().unwrap_or_default();
            let bound = policy.bound(&binding, namespace);
            let bindings = policy.namespaced.entry(namespace.to_owned()).or_default();
            bind(bindings, &binding, namespace, bound.as_ref());
        }
        policy
    }

    /// [`Rbac::decide`] by this policy.
    pub(super) fn decide(&self, user: &User, wanted: &Attributes<'_>) -> Result<(), String> {
        if user.is_master() || self.rules(user, wanted.namespace).any(|rule| rule.allows(wanted)) {
            return Ok(());
        }
        let missing = self.missing(user, wanted.namespace);
        let missing = missing
            .iter()
            .map(|MissingRole { kind, name }| format!("{kind}.rbac.authorization.k8s.io {name:?} not found"));
        let missing: Vec<_> = missing.collect();
        match missing.is_empty() {
            true => Err(String::new()),
            false => Err(format!(": rbac: RBAC: {}", aggregate(&missing))),
        }
    }

    /// The rules of a ClusterRole.
    pub(super) fn cluster_role(&self, name: &str) -> Option<Rules> {
        self.cluster_roles.rules(name)
    }

    /// The rules of a Role.
    pub(super) fn role(&self, namespace: &str, name: &str) -> Option<Rules> {
        self.roles.get(&format!("{namespace}/{name}")).cloned()
    }

    fn bound(&self, binding: &Value, namespace: &str) -> Option<Bound> {
        let role = &binding["roleRef"];
        let name = role["name"].as_str()?;
        let (kind, rules) = match role["kind"].as_str()? {
            "ClusterRole" => ("clusterrole", self.cluster_role(name)),
            "Role" => ("role", self.role(namespace, name)),
            _ => return None,
        };
        let missing = || Bound::Missing(Arc::new(MissingRole { kind, name: name.to_owned() }));
        Some(rules.map_or_else(missing, Bound::Rules))
    }

    /// The rules that apply to a user in a namespace, or in the whole cluster (`""`).
    pub(super) fn rules<'a>(&'a self, user: &User, namespace: &str) -> impl Iterator<Item = &'a Rule> {
        let rules = self.bound_to(user, namespace).filter_map(|bound| match bound {
            Bound::Rules(rules) => Some(rules),
            Bound::Missing(_) => None,
        });
        rules.flat_map(|rules| rules.iter().flat_map(|rules| rules.iter()))
    }

    /// The roles that would apply to a user in a namespace, but do not exist.
    pub(super) fn missing(&self, user: &User, namespace: &str) -> BTreeSet<&MissingRole> {
        let missing = self.bound_to(user, namespace).filter_map(|bound| match bound {
            Bound::Missing(missing) => Some(&**missing),
            Bound::Rules(_) => None,
        });
        missing.collect()
    }

    fn bound_to<'a>(&'a self, user: &User, namespace: &str) -> impl Iterator<Item = &'a Bound> {
        let groups = user.groups.iter().map(|group| Subject::Group(group.clone()));
        let account = service_account_of(&user.name).map(|(namespace, name)| Subject::ServiceAccount {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
        let subjects: Vec<_> = groups.chain([Subject::User(user.name.clone())]).chain(account).collect();
        let of_namespace = self.namespaced.get(namespace).filter(|_| !namespace.is_empty());
        subjects.into_iter().flat_map(move |subject| {
            let bindings = [Some(&self.cluster), of_namespace].into_iter().flatten();
            bindings.filter_map(move |bindings| bindings.get(&subject)).flatten()
        })
    }
}

/// Binds each subject of a binding, which is in a namespace or in none (`""`).
fn bind(bindings: &mut Bindings, binding: &Value, namespace: &str, bound: Option<&Bound>) {
    let Some(bound) = bound else { return };
    for subject in binding["subjects"].as_array().into_iter().flatten() {
        let text = |field: &str| subject[field].as_str().unwrap_or_default().to_owned();
        let subject = match subject["kind"].as_str() {
            Some("User") => Subject::User(text("name")),
            Some("Group") => Subject::Group(text("name")),
            Some("ServiceAccount") => {
                let given = text("namespace");
                let namespace = if given.is_empty() { namespace.to_owned() } else { given };
                Subject::ServiceAccount { namespace, name: text("name") }
            }
            _ => continue,
        };
        bindings.entry(subject).or_default().push(bound.clone());
    }
}

impl ClusterRoles {
    fn add(&mut self, name: String, role: &Value) {
        let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
        // A malformed selector selects nothing.
        let parse =
            |all: &Vec<Value>| all.iter().filter_map(|it| LabelSelector::from_object(it).ok()).collect();
        self.by_name.insert(name, self.all.len());
        self.all.push(ClusterRole {
            labels: role["metadata"]["labels"].clone(),
            own: Rule::parse_all(&role["rules"]).into(),
            selectors: selectors.map(parse),
            selected: OnceLock::new(),
            rules: OnceLock::new(),
        });
    }

    /// The rules of a ClusterRole: its own, or those of the ClusterRoles that it aggregates, which may aggregate others.
    /// kube-controller-manager writes the latter into the object; here they are looked up. Each role counts once,
    /// however many ways lead to it.
    fn rules(&self, name: &str) -> Option<Rules> {
        let start = *self.by_name.get(name)?;
        let rules = self.all[start].rules.get_or_init(|| {
            let mut seen = vec![false; self.all.len()];
            seen[start] = true;
            let mut open = VecDeque::from([start]);
            let mut rules = Vec::new();
            while let Some(at) = open.pop_front() {
                let role = &self.all[at];
                let Some(selectors) = &role.selectors else {
                    rules.push(Arc::clone(&role.own));
                    continue;
                };
                for &next in role.selected.get_or_init(|| self.select(selectors)) {
                    if !std::mem::replace(&mut seen[next], true) {
                        open.push_back(next);
                    }
                }
            }
            rules.into()
        });
        Some(Arc::clone(rules))
    }

    fn select(&self, selectors: &[LabelSelector]) -> Vec<usize> {
        let selected = self.all.iter().enumerate().filter(|(_, role)| {
            let labels = role.labels.as_object();
            selectors.iter().any(|selector| selector.matches(&labels))
        });
        selected.map(|(at, _)| at).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Roles that select one another are one rule list each, however many ways lead from one to another.
    #[test]
    fn a_circle_of_aggregated_roles_is_visited_once() {
        let mut roles = ClusterRoles::default();
        let all = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        let metadata = json!({"labels": {"a": "b"}});
        let rule = |verb: &str| json!([{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]);
        for at in 0..100 {
            // Its own rules do not count: they are what is aggregated.
            let role = json!({"metadata": metadata, "aggregationRule": all, "rules": rule("list")});
            roles.add(format!("all-{at}"), &role);
        }
        for verb in ["get", "watch"] {
            roles.add(verb.to_owned(), &json!({"metadata": metadata, "rules": rule(verb)}));
        }
        roles.add("other".to_owned(), &json!({"rules": rule("delete")}));
        let expected = ["get", "watch"].map(|verb| Arc::from(Rule::parse_all(&rule(verb))));
        for at in 0..100 {
            assert_eq!(roles.rules(&format!("all-{at}")), Some(Rules::from(expected.clone())));
        }
        assert_eq!(roles.rules("none"), None);
    }

    /// All who are bound to a role share its rules.
    #[test]
    fn rules_are_not_copied_for_each_subject() {
        let rules = Rules::from([Arc::from(Rule::parse_all(&json!([{"verbs": ["get"]}])))]);
        let subjects: Vec<_> = (0..1000).map(|at| json!({"kind": "User", "name": at.to_string()})).collect();
        let mut bindings = Bindings::new();
        bind(&mut bindings, &json!({"subjects": subjects}), "", Some(&Bound::Rules(Arc::clone(&rules))));
        assert_eq!(bindings.len(), 1000);
        assert_eq!(Arc::strong_count(&rules), 1001);
    }

    /// A RoleBinding may leave out the namespace of a ServiceAccount.
    #[test]
    fn a_service_account_is_in_the_namespace_of_its_binding() {
        let bound = Bound::Rules(Rules::from([]));
        let mut bindings = Bindings::new();
        let subjects = json!([{"kind": "ServiceAccount", "name": "a"}]);
        bind(&mut bindings, &json!({"subjects": subjects}), "web", Some(&bound));
        let account = Subject::ServiceAccount { namespace: "web".to_owned(), name: "a".to_owned() };
        assert!(bindings.contains_key(&account));
    }
}
