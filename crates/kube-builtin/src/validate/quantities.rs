//! Amounts and names of resources, and the ResourceQuotas and LimitRanges about them: `pkg/apis/core/validation`.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use super::errors::{Errors, items, members, text};
use kube_validation::{FieldError, FieldPath, Quantity, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");
const NEGATIVE: &str = "must be greater than or equal to 0";

/// The resources of which there are whole numbers.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// The other resources that a quota can limit.
const MEASURED: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

/// Returns the name of a resource unless it is malformed. Names without a domain must be known.
pub(super) fn resource(name: &str, path: &FieldPath<'_>, errors: &mut Errors) -> bool {
    let wrong = names::qualified_name(name);
    if wrong.is_empty() && !name.contains('/') && name != "storage" && !is_quota_resource(name) {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(path, &name.into(), detail));
    }
    for why in &wrong {
        errors.push(FieldError::invalid(path, &name.into(), why));
    }
    wrong.is_empty()
}

fn is_quota_resource(name: &str) -> bool {
    let is_huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    is_huge || COUNTED.contains(&name) || MEASURED.contains(&name)
}

pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    let in_quota = format!("requests.{name}");
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&in_quota).is_empty()
}

/// Checks the name of a resource that a container can request.
pub(super) fn container_resource(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    resource(name, path, errors);
    let is_standard =
        ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    let detail = match name.contains('/') {
        false if !is_standard => "must be a standard resource for containers",
        true if !is_native(name) && !is_extended(name) => "doesn't follow extended resource name standard",
        _ => return,
    };
    errors.push(FieldError::invalid(path, &name.into(), detail));
}

/// Checks an amount of a resource.
pub(super) fn amount(name: &str, value: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let Some(quantity) = quantity(value) else { return };
    if quantity.is_negative() {
        errors.push(FieldError::invalid(path, value, NEGATIVE));
    }
    if (COUNTED.contains(&name) || is_extended(name)) && !quantity.is_whole() {
        errors.push(FieldError::invalid(path, value, "must be an integer"));
    }
}

pub(super) fn quota(object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    quota_amounts(&spec["hard"], &path.child("hard"), errors);
    scopes(spec, &path.child("scopes"), errors);
    if spec["scopeSelector"].is_object() {
        scope_selector(spec, &path.child("scopeSelector"), errors);
    }
}

/// Checks what of a quota is in use.
pub(super) fn quota_status(object: &Value, errors: &mut Errors) {
    let path = ROOT.child("status");
    for field in ["hard", "used"] {
        quota_amounts(&object["status"][field], &path.child(field), errors);
    }
}

fn quota_amounts(amounts: &Value, list: &FieldPath<'_>, errors: &mut Errors) {
    for (name, value) in members(amounts) {
        let path = list.key(name);
        resource(name, &path, errors);
        if !name.contains('/') && !is_quota_resource(name) {
            let detail = "must be a standard resource for quota";
            errors.push(FieldError::invalid(path, &name.into(), detail));
        }
        amount(name, value, &path, errors);
    }
}

pub(super) fn update_quota(new: &Value, old: &Value, errors: &mut Errors) {
    let set = |object: &Value| -> BTreeSet<String> {
        let scopes = items(&object["spec"]["scopes"]).iter();
        scopes.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    if set(new) != set(old) {
        errors.push(FieldError::invalid("spec.scopes", &new["spec"]["scopes"], "field is immutable"));
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Returns whether a quota with the scope can limit the resource.
fn is_in_scope(scope: &str, resource: &str) -> bool {
    let compute = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"]
        .contains(&resource);
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => ["persistentvolumeclaims", "requests.storage"].contains(&resource),
        _ if SCOPES.contains(&scope) => resource == "pods" || compute,
        _ => true,
    }
}

/// Returns the resources of a quota that a scope does not apply to.
fn out_of_scope<'a>(spec: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a str> {
    let names = members(&spec["hard"]).map(|(name, _)| name);
    names.filter(move |name| is_quota_resource(name) && !is_in_scope(scope, name))
}

fn scopes(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let all = &spec["scopes"];
    let mut wrong = |detail: &str| errors.push(FieldError::invalid(path, all, detail));
    let names: Vec<&str> = items(all).iter().filter_map(Value::as_str).collect();
    for scope in &names {
        if !SCOPES.contains(scope) {
            wrong("unsupported scope");
        }
        for _ in out_of_scope(spec, scope) {
            wrong("unsupported scope applied to resource");
        }
    }
    for _ in conflicts(&names) {
        wrong("conflicting scopes");
    }
}

fn conflicts(scopes: &[&str]) -> impl Iterator<Item = ()> {
    let pairs = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
    pairs.into_iter().filter(|(one, other)| scopes.contains(one) && scopes.contains(other)).map(|_| ())
}

fn scope_selector(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let field = path.child("matchExpressions");
    let selector = &spec["scopeSelector"];
    let terms = items(&selector["matchExpressions"]);
    for term in terms {
        let scope = text(term, "scopeName");
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(field.child("scopeName"), &scope.into(), "unsupported scope"));
        }
        for _ in out_of_scope(spec, scope) {
            let detail = "unsupported scope applied to resource";
            errors.push(FieldError::invalid_shown(field, &shown_selector(terms), detail));
        }
        scope_term(term, &field, errors);
    }
    let names: Vec<&str> = terms.iter().map(|term| text(term, "scopeName")).collect();
    for () in conflicts(&names) {
        errors.push(FieldError::invalid(field, &spec["scopes"], "conflicting scopes"));
    }
}

fn scope_term(term: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (scope, operator, values) = (text(term, "scopeName"), &term["operator"], &term["values"]);
    let takes_values = ["PriorityClass", "VolumeAttributesClass"].contains(&scope);
    if SCOPES.contains(&scope) && !takes_values && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                      ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                      ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(FieldError::invalid(path.child("operator"), operator, detail));
    }
    let is_empty = items(values).is_empty();
    match operator.as_str().unwrap_or_default() {
        "In" | "NotIn" if is_empty => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(FieldError::required(path.child("values"), detail));
        }
        "Exists" | "DoesNotExist" if !is_empty => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.push(FieldError::invalid(path.child("values"), values, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => {
            let detail = "not a valid selector operator";
            errors.push(FieldError::invalid(path.child("operator"), operator, detail));
        }
    }
}

/// Returns a selector as kube-apiserver shows its Go struct.
fn shown_selector(terms: &[Value]) -> String {
    let shown: Vec<_> = terms
        .iter()
        .map(|term| {
            let part = |field: &str| kube_validation::go::json(&term[field]);
            format!(
                r#"{{"ScopeName":{},"Operator":{},"Values":{}}}"#,
                part("scopeName"),
                part("operator"),
                part("values")
            )
        })
        .collect();
    format!(r#"{{"MatchExpressions":[{}]}}"#, shown.join(","))
}

pub(super) fn limit_range(object: &Value, errors: &mut Errors) {
    let path = ROOT.child("spec");
    let mut seen = HashSet::new();
    errors.each(&object["spec"], "limits", &path, |limit, path, errors| {
        limit_type(limit, path, errors);
        if !seen.insert(text(limit, "type").to_owned()) {
            errors.push(FieldError::duplicate(path.child("type"), &limit["type"]));
        }
        limit_names(limit, path, errors);
        limit_values(limit, path, errors);
    });
}

fn limit_type(limit: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (kind, field) = (text(limit, "type"), path.child("type"));
    let wrong = names::qualified_name(kind);
    if wrong.is_empty()
        && !kind.contains('/')
        && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind)
    {
        let detail = "must be a standard limit type or fully qualified";
        errors.push(FieldError::invalid(field, &kind.into(), detail));
    }
    for why in wrong {
        errors.push(FieldError::invalid(field, &kind.into(), &why));
    }
}

fn limit_names(limit: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let kind = text(limit, "type");
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if kind == "PersistentVolumeClaim" && field == "maxLimitRequestRatio" {
            let has_storage = |field: &str| limit[field].get("storage").is_some();
            if !has_storage("min") && !has_storage("max") {
                let detail = "either minimum or maximum storage value is required, but neither was provided";
                errors.push(FieldError::required(path.child("limits"), detail));
            }
        }
        let below = path.child(field);
        if kind == "Pod" && ["default", "defaultRequest"].contains(&field) {
            if members(&limit[field]).next().is_some() {
                errors.push(FieldError::forbidden(below, "may not be specified when `type` is 'Pod'"));
            }
            continue;
        }
        for (name, _) in members(&limit[field]) {
            if ["Pod", "Container"].contains(&kind) {
                container_resource(name, &below.key(name), errors);
            } else {
                resource(name, &below.key(name), errors);
            }
        }
    }
}

fn limit_values(limit: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let is_pod = text(limit, "type") == "Pod";
    let fields: &[&str] = if is_pod { &["max", "min"] } else { &["max", "min", "default", "defaultRequest"] };
    let with_ratio = fields.iter().chain(&["maxLimitRequestRatio"]);
    let names: BTreeSet<&str> =
        with_ratio.flat_map(|field| members(&limit[*field])).map(|(name, _)| name).collect();
    for name in names {
        limit_order(limit, name, fields, path, errors);
        ratio(limit, name, path, errors);
        let (default, request) = (&limit["default"][name], &limit["defaultRequest"][name]);
        let overcommits = is_native(name) && !name.starts_with("hugepages-");
        let differ = quantity(default).zip(quantity(request)).is_some_and(|(one, other)| one != other);
        if !is_pod && !overcommits && differ {
            let (one, other) = (shown(default), shown(request));
            let detail = format!("default value {one} must equal to defaultRequest value {other} in {name}");
            let field = path.child("defaultRequest");
            errors.push(FieldError::invalid(field.key(name), request, &detail));
        }
    }
}

/// A pair of fields of which the first must not be greater than the second.
struct Order {
    low: &'static str,
    high: &'static str,
    /// The field at which it is reported, and the field whose value is shown.
    at: (&'static str, &'static str),
    /// What the two are called.
    called: (&'static str, &'static str),
}

const ORDERS: [Order; 6] = [
    Order { low: "min", high: "max", at: ("min", "min"), called: ("min", "max") },
    Order {
        low: "min",
        high: "defaultRequest",
        at: ("defaultRequest", "defaultRequest"),
        called: ("min", "default request"),
    },
    Order {
        low: "defaultRequest",
        high: "max",
        at: ("defaultRequest", "defaultRequest"),
        called: ("default request", "max"),
    },
    Order {
        low: "defaultRequest",
        high: "default",
        at: ("defaultRequest", "defaultRequest"),
        called: ("default request", "default limit"),
    },
    Order { low: "min", high: "default", at: ("default", "min"), called: ("min", "default") },
    Order { low: "default", high: "max", at: ("default", "max"), called: ("default", "max") },
];

fn limit_order(limit: &Value, name: &str, fields: &[&str], path: &FieldPath<'_>, errors: &mut Errors) {
    for Order { low, high, at, called } in
        ORDERS.iter().filter(|it| fields.contains(&it.low) && fields.contains(&it.high))
    {
        let (less, more) = (&limit[*low][name], &limit[*high][name]);
        if quantity(less).zip(quantity(more)).is_some_and(|(less, more)| less > more) {
            let (less, more) = (shown(less), shown(more));
            let detail = format!("{} value {less} is greater than {} value {more}", called.0, called.1);
            let field = path.child(at.0);
            errors.push(FieldError::invalid(field.key(name), &limit[at.1][name], &detail));
        }
    }
}

/// Checks the maximum of the limit divided by the request.
fn ratio(limit: &Value, name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let value = &limit["maxLimitRequestRatio"][name];
    let field = path.child("maxLimitRequestRatio");
    let Some(ratio) = quantity(value) else { return };
    if quantity(&json!("1")).is_some_and(|one| ratio < one) {
        let detail = format!("ratio {} is less than 1", shown(value));
        errors.push(FieldError::invalid(field.key(name), value, &detail));
    }
    let (Some(min), Some(max)) = (quantity(&limit["min"][name]), quantity(&limit["max"][name])) else {
        return;
    };
    let most = max.to_f64() / min.to_f64();
    if ratio.to_f64() > most {
        let detail = format!("ratio {} is greater than max/min = {most:.6}", shown(value));
        errors.push(FieldError::invalid(field.key(name), value, &detail));
    }
}

fn shown(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
