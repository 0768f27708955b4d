//! Who may do what: the Roles, ClusterRoles and their bindings in the store, evaluated as RBAC does.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;

use crate::api::{Api, Path};
use crate::auth::User;
use crate::selector::LabelSelector;
use crate::status::Status;
use crate::store::Range;

const GROUP: &str = "rbac.authorization.k8s.io";
/// How many ClusterRoles may aggregate one another: admin has edit, which has view.
const AGGREGATIONS: usize = 8;

/// What somebody wants to do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Of a request for no resource; the fields about resources are then empty.
    pub(crate) path: &'a str,
}

/// Refuses a request for a resource that its user may not make.
pub(crate) fn authorize(api: &Api, user: &User, verb: &str, path: &Path) -> Result<(), Status> {
    // What is in a namespace, and the namespace itself, are granted there.
    let namespace =
        if path.group.is_empty() && path.plural == "namespaces" { &path.name } else { &path.namespace };
    let attributes = Attributes {
        verb,
        group: &path.group,
        resource: &path.plural,
        subresource: &path.subresource,
        namespace,
        name: &path.name,
        path: "",
    };
    if allows(api, user, &attributes) {
        return Ok(());
    }
    let mut resource = path.plural.clone();
    if !path.subresource.is_empty() {
        resource = format!("{resource}/{}", path.subresource);
    }
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    let why = format!(
        "User {:?} cannot {verb} resource {resource:?} in API group {:?} {place}",
        user.name, path.group
    );
    Err(Status::forbidden(&path.group, &path.plural, &path.name, &why))
}

/// Refuses a request for another path that its user may not make.
pub(crate) fn authorize_path(api: &Api, user: &User, method: &Method, path: &str) -> Result<(), Status> {
    let verb = method.as_str().to_ascii_lowercase();
    if allows(api, user, &Attributes { verb: &verb, path, ..Attributes::default() }) {
        Ok(())
    } else {
        Err(Status::forbidden_path(&user.name, &verb, path))
    }
}

/// Who a request is made as, if not as its user: `Impersonate-User` and `Impersonate-Group`.
pub(crate) fn impersonate(api: &Api, user: &User, headers: &HeaderMap) -> Result<Option<User>, Status> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let Some(name) = headers.get("impersonate-user").and_then(text) else { return Ok(None) };
    let groups: Vec<String> = headers.get_all("impersonate-group").iter().filter_map(text).collect();
    let asked = std::iter::once(("users", &name)).chain(groups.iter().map(|group| ("groups", group)));
    for (resource, name) in asked {
        let attributes = Attributes { verb: "impersonate", resource, name, ..Attributes::default() };
        if !allows(api, user, &attributes) {
            let why = format!(
                "User {:?} cannot impersonate resource {resource:?} in API group \"\" at the cluster scope",
                user.name
            );
            return Err(Status::forbidden("", resource, name, &why));
        }
    }
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Ok(Some(User::new(&name, &groups)))
}

/// Whether a user may do something. Costs a look at every binding of the cluster and of the namespace.
pub(crate) fn allows(api: &Api, user: &User, attributes: &Attributes<'_>) -> bool {
    if user.is_master() {
        return true;
    }
    rules(api, user, attributes.namespace).iter().any(|rule| rule_allows(rule, attributes))
}

/// The rules that hold for a user in a namespace, or in the whole cluster (`""`).
pub(crate) fn rules(api: &Api, user: &User, namespace: &str) -> Vec<Value> {
    let list = |plural: &str, prefix: &str| {
        let range = Range { prefix, ..Range::default() };
        let page = api.store.list(&format!("{GROUP}/{plural}"), range, None).unwrap_or_default();
        page.objects.into_iter().map(|object| object.value())
    };
    let mut bindings: Vec<(Value, &str)> = list("clusterrolebindings", "").map(|it| (it, "")).collect();
    if !namespace.is_empty() {
        bindings.extend(list("rolebindings", &format!("{namespace}/")).map(|it| (it, namespace)));
    }
    bindings
        .into_iter()
        .filter(|(binding, _)| is_subject(binding, user))
        .filter_map(|(binding, place)| {
            let role = &binding["roleRef"];
            let name = role["name"].as_str()?;
            match role["kind"].as_str()? {
                "ClusterRole" => {
                    let role = api.store.get(&format!("{GROUP}/clusterroles"), name)?;
                    Some(cluster_rules(api, &role.value(), AGGREGATIONS))
                }
                "Role" => {
                    let role = api.store.get(&format!("{GROUP}/roles"), &format!("{place}/{name}"))?;
                    role.value()["rules"].as_array().cloned()
                }
                _ => None,
            }
        })
        .flatten()
        .collect()
}

/// The rules of a ClusterRole: its own, or those of the ones that it aggregates. kube-controller-manager writes these into
/// the object; here they are looked up.
fn cluster_rules(api: &Api, role: &Value, depth: usize) -> Vec<Value> {
    let Some(selectors) = role["aggregationRule"]["clusterRoleSelectors"].as_array() else {
        return role["rules"].as_array().cloned().unwrap_or_default();
    };
    if depth == 0 {
        return Vec::new();
    }
    let selectors: Vec<_> = selectors.iter().filter_map(LabelSelector::from_object).collect();
    let page = api.store.list(&format!("{GROUP}/clusterroles"), Range::default(), None).unwrap_or_default();
    let roles = page.objects.into_iter().map(|object| object.value());
    roles
        .filter(|other| {
            let labels = other["metadata"]["labels"].as_object();
            other["metadata"]["name"] != role["metadata"]["name"]
                && selectors.iter().any(|selector| selector.matches(labels))
        })
        .flat_map(|other| cluster_rules(api, &other, depth - 1))
        .collect()
}

fn is_subject(binding: &Value, user: &User) -> bool {
    let subjects = binding["subjects"].as_array().map_or(&[][..], Vec::as_slice);
    subjects.iter().any(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == user.name,
            Some("Group") => user.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or_default();
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn rule_allows(rule: &Value, attributes: &Attributes<'_>) -> bool {
    let has = |field: &str, value: &str| {
        let values = rule[field].as_array().map_or(&[][..], Vec::as_slice);
        values.iter().filter_map(Value::as_str).any(|it| it == "*" || it == value)
    };
    if !has("verbs", attributes.verb) {
        return false;
    }
    if !attributes.path.is_empty() {
        let paths = rule["nonResourceURLs"].as_array().map_or(&[][..], Vec::as_slice);
        return paths.iter().filter_map(Value::as_str).any(|path| {
            path == attributes.path
                || path.strip_suffix('*').is_some_and(|start| attributes.path.starts_with(start))
        });
    }
    let resource = match attributes.subresource {
        "" => has("resources", attributes.resource),
        subresource => {
            has("resources", &format!("{}/{subresource}", attributes.resource))
                || has("resources", &format!("*/{subresource}"))
        }
    };
    let names = rule["resourceNames"].as_array().map_or(&[][..], Vec::as_slice);
    has("apiGroups", attributes.group)
        && resource
        && (names.is_empty() || (!attributes.name.is_empty() && names.iter().any(|it| it == attributes.name)))
}
