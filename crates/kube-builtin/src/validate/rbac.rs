//! Roles and their bindings.

use serde_json::{Value, json};

use super::errors::{Errors, items, text};
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");
const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn create(kind: &str, object: &Value, errors: &mut Errors) {
    match kind {
        "Role" => rules(object, true, errors),
        "ClusterRole" => {
            rules(object, false, errors);
            aggregation(object, errors);
        }
        "RoleBinding" => binding(object, &["Role", "ClusterRole"], errors),
        "ClusterRoleBinding" => binding(object, &["ClusterRole"], errors),
        _ => {}
    }
}

pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let role = &new["roleRef"];
    if *role != old["roleRef"] {
        let part = |field: &str| json!(text(role, field));
        let shown =
            format!(r#"{{"APIGroup":{},"Kind":{},"Name":{}}}"#, part("apiGroup"), part("kind"), part("name"));
        errors.push(FieldError::invalid_shown("roleRef", &shown, "field is immutable"));
    }
}

fn rules(object: &Value, namespaced: bool, errors: &mut Errors) {
    let list = ROOT.child("rules");
    let all = items(&object["rules"]);
    for (index, rule) in all.iter().enumerate() {
        let path = list.index(index);
        let has = |field: &str| !items(&rule[field]).is_empty();
        let urls = &rule["nonResourceURLs"];
        if has("nonResourceURLs") {
            let path = path.child("nonResourceURLs");
            if namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(path, urls, detail));
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|field| has(field)) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(path, urls, detail));
            }
            continue;
        }
        if !has("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            errors.push(FieldError::required(path.child("apiGroups"), detail));
        }
        if !has("resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(FieldError::required(path.child("resources"), detail));
        }
    }
    // kube-apiserver checks rules that are declared in tags after those that are implemented in code.
    for (index, _) in all.iter().enumerate().filter(|(_, rule)| items(&rule["verbs"]).is_empty()) {
        errors.push(FieldError::required(list.index(index).child("verbs"), ""));
    }
}

fn aggregation(object: &Value, errors: &mut Errors) {
    let rule = &object["aggregationRule"];
    if !rule.is_object() {
        return;
    }
    let above = ROOT.child("aggregationRule");
    let list = above.child("clusterRoleSelectors");
    let selectors = items(&rule["clusterRoleSelectors"]);
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(list, detail));
    }
    for (index, selector) in selectors.iter().enumerate() {
        errors.selector(selector, list.index(index));
    }
}

fn binding(object: &Value, kinds: &[&str], errors: &mut Errors) {
    let (role, path) = (&object["roleRef"], ROOT.child("roleRef"));
    errors.one_of(&role["apiGroup"], &[GROUP], path.child("apiGroup"));
    errors.one_of(&role["kind"], kinds, path.child("kind"));
    let name = text(role, "name");
    if !name.is_empty() {
        errors.named(name, names::path_segment, path.child("name"));
    }
    let list = ROOT.child("subjects");
    let namespaced = kinds.len() > 1;
    for (index, subject) in items(&object["subjects"]).iter().enumerate() {
        let path = list.index(index);
        let group = |expected: &str, errors: &mut Errors| {
            if text(subject, "apiGroup") != expected {
                let value = json!(text(subject, "apiGroup"));
                errors.push(FieldError::not_supported(path.child("apiGroup"), &value, &[expected]));
            }
        };
        match text(subject, "kind") {
            "ServiceAccount" => {
                let name = text(subject, "name");
                if !name.is_empty() {
                    errors.named(name, names::dns1123_subdomain, path.child("name"));
                }
                group("", errors);
                if !namespaced && text(subject, "namespace").is_empty() {
                    errors.push(FieldError::required(path.child("namespace"), ""));
                }
            }
            "User" | "Group" => group(GROUP, errors),
            _ => errors.one_of(&subject["kind"], &["ServiceAccount", "User", "Group"], path.child("kind")),
        }
    }
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    }
    for (index, subject) in items(&object["subjects"]).iter().enumerate() {
        errors.required(subject, "name", &list.index(index), "");
    }
}
