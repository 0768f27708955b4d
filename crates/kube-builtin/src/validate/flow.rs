//! FlowSchemas and PriorityLevelConfigurations: `pkg/apis/flowcontrol/validation`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::errors::{Errors, items, text};
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

pub(super) fn check(kind: &str, object: &Value, errors: &mut Errors) {
    let (spec, name, path) = (&object["spec"], text(&object["metadata"], "name"), ROOT.child("spec"));
    match kind {
        "FlowSchema" => schema(name, spec, &path, errors),
        "PriorityLevelConfiguration" => {
            level(name, spec, &path, errors);
            declared(spec, &path, errors);
        }
        _ => {}
    }
    status(object, errors);
}

/// Refuses conditions without a type, or with the same type.
pub(super) fn status(object: &Value, errors: &mut Errors) {
    let mut types = HashSet::new();
    errors.each(&object["status"], "conditions", &ROOT.child("status"), |condition, path, errors| {
        let kind = text(condition, "type");
        if !types.insert(kind.to_owned()) {
            errors.push(FieldError::duplicate(path.child("type"), &kind.into()));
        }
        errors.required(condition, "type", path, "");
    });
}

fn schema(name: &str, spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const LAST: i64 = 10_000;
    let (precedence, field) = (&spec["matchingPrecedence"], path.child("matchingPrecedence"));
    let number = precedence.as_i64().unwrap_or_default();
    if number <= 0 {
        errors.push(FieldError::invalid(field, precedence, "must be a positive value"));
    }
    if number > LAST {
        errors.push(FieldError::invalid(field, precedence, &format!("must not be greater than {LAST}")));
    }
    if number == 1 && name != "exempt" {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(FieldError::invalid(field, precedence, detail));
    }
    let method = &spec["distinguisherMethod"];
    if method.is_object() && !["ByNamespace", "ByUser"].contains(&text(method, "type")) {
        let method_path = path.child("distinguisherMethod");
        let shown = json!({"Type": text(method, "type")}).to_string();
        let known = ["ByNamespace", "ByUser"];
        errors.push(FieldError::not_supported_shown(method_path.child("type"), &shown, &known));
    }
    let level = path.child("priorityLevelConfiguration");
    let detail = "must reference a priority level";
    if !errors.required(&spec["priorityLevelConfiguration"], "name", &level, detail) {
        let name = text(&spec["priorityLevelConfiguration"], "name");
        errors.named(name, names::dns1123_subdomain, level.child("name"));
    }
    errors.each(spec, "rules", path, rule);
}

fn rule(rule: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    some(rule, "subjects", "subjects must contain at least one value", path, errors);
    errors.each(rule, "subjects", path, subject);
    if items(&rule["resourceRules"]).is_empty() && items(&rule["nonResourceRules"]).is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, detail));
    }
    errors.each(rule, "resourceRules", path, resource_rule);
    errors.each(rule, "nonResourceRules", path, url_rule);
}

fn subject(subject: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const KINDS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = text(subject, "kind");
    let Some((_, own)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        let known = ["Group", "ServiceAccount", "User"];
        errors.push(FieldError::not_supported(path.child("kind"), &kind.into(), &known));
        return;
    };
    let (whose, own_path) = (&subject[*own], path.child(own));
    if whose.is_null() {
        let detail = format!("{own} is required when subject kind is '{kind}'");
        errors.push(FieldError::required(own_path, &detail));
    } else {
        let is_empty = errors.required(whose, "name", &own_path, "");
        if *own == "serviceAccount" {
            let (name, namespace) = (text(whose, "name"), text(whose, "namespace"));
            if !is_empty && name != "*" {
                errors.named(name, names::dns1123_subdomain, own_path.child("name"));
            }
            let detail = "must specify namespace for service account";
            if !errors.required(whose, "namespace", &own_path, detail) {
                errors.named(namespace, names::dns1123_label, own_path.child("namespace"));
            }
        }
    }
    for (other, field) in KINDS.iter().filter(|(other, field)| *other != kind && !subject[*field].is_null()) {
        let detail = format!("{field} is forbidden when subject kind is not '{other}'");
        errors.push(FieldError::forbidden(path.child(field), &detail));
    }
}

/// Refuses an empty list. Returns whether it was empty.
fn some(rule: &Value, field: &str, detail: &str, path: &FieldPath<'_>, errors: &mut Errors) -> bool {
    let is_empty = items(&rule[field]).is_empty();
    if is_empty {
        errors.push(FieldError::required(path.child(field), detail));
    }
    is_empty
}

fn has_wildcard(list: &Value) -> bool {
    items(list).iter().any(|it| it == "*")
}

/// Refuses a list with `*` and something else. `what`: what a message calls the others.
fn wildcard(rule: &Value, field: &str, what: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let list = &rule[field];
    if has_wildcard(list) && items(list).len() > 1 {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(path.child(field), list, &detail));
    }
}

fn verbs(rule: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const VERBS: [&str; 9] =
        ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
    some(rule, "verbs", "verbs must contain at least one value", path, errors);
    wildcard(rule, "verbs", "verbs", path, errors);
    let list = &rule["verbs"];
    let is_known = |verb: &Value| verb.as_str().is_some_and(|verb| VERBS.contains(&verb));
    if !has_wildcard(list) && !items(list).iter().all(is_known) {
        errors.push(FieldError::not_supported(path.child("verbs"), list, &VERBS));
    }
}

fn resource_rule(rule: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    verbs(rule, path, errors);
    for (field, one, others) in
        [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")]
    {
        some(rule, field, &format!("resource rules must supply at least one {one}"), path, errors);
        wildcard(rule, field, others, path, errors);
    }
    let (namespaces, field) = (&rule["namespaces"], path.child("namespaces"));
    if rule["clusterScope"] != true {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        some(rule, "namespaces", detail, path, errors);
    }
    wildcard(rule, "namespaces", "namespaces", path, errors);
    if has_wildcard(namespaces) {
        return;
    }
    for (index, namespace) in items(namespaces).iter().enumerate() {
        for why in names::dns1123_label(namespace.as_str().unwrap_or_default()) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            errors.push(FieldError::invalid(field.index(index), namespace, &detail));
        }
    }
}

fn url_rule(rule: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const URLS: &str = "nonResourceURLs";
    verbs(rule, path, errors);
    some(rule, URLS, "nonResourceURLs must contain at least one value", path, errors);
    wildcard(rule, URLS, "non-resource URLs", path, errors);
    if has_wildcard(&rule[URLS]) {
        return;
    }
    errors.each(rule, URLS, path, |url, path, errors| {
        if let Some(detail) = wrong_url(url.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(path, url, detail));
        }
    });
}

fn wrong_url(url: &str) -> Option<&'static str> {
    let is_suffix = url.ends_with("/*") && url.matches('*').count() == 1;
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if url.contains('*') && !is_suffix => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

fn level(name: &str, spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let kind = text(spec, "type");
    if (name == "exempt") != (kind == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(FieldError::invalid(path.child("type"), &kind.into(), detail));
    }
    match kind {
        "Exempt" => shares(&spec["exempt"], &path.child("exempt"), errors),
        "Limited" => limited(&spec["limited"], &path.child("limited"), errors),
        // The rule that is declared in a tag refuses it.
        "" => {}
        _ => errors.one_of(&spec["type"], &["Exempt", "Limited"], path.child("type")),
    }
}

fn limited(limited: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    nominal_shares(limited, path, errors);
    let (response, response_path) = (&limited["limitResponse"], path.child("limitResponse"));
    match text(response, "type") {
        "Queue" if response["queuing"].is_object() => {
            queuing(&response["queuing"], &response_path.child("queuing"), errors);
        }
        "Queue" | "" => {}
        _ => errors.one_of(&response["type"], &["Queue", "Reject"], response_path.child("type")),
    }
    errors.within(&limited["lendablePercent"], 0, 100, path.child("lendablePercent"));
    let borrowed = &limited["borrowingLimitPercent"];
    if borrowed.as_i64().is_some_and(|percent| percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.push(FieldError::invalid(path.child("borrowingLimitPercent"), borrowed, detail));
    }
}

fn shares(exempt: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    nominal_shares(exempt, path, errors);
    errors.within(&exempt["lendablePercent"], 0, 100, path.child("lendablePercent"));
}

fn nominal_shares(level: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let shares = &level["nominalConcurrencyShares"];
    if shares.as_i64().is_some_and(|shares| shares < 0) {
        let detail = "must be a non-negative integer";
        errors.push(FieldError::invalid(path.child("nominalConcurrencyShares"), shares, detail));
    }
}

fn queuing(queuing: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX_QUEUES: i64 = 10_000_000;
    /// The bits of a hash that may choose a hand of queues.
    const MAX_BITS: i64 = 60;
    let number = |field: &str| queuing[field].as_i64().unwrap_or_default();
    let (queues, hand) = (number("queues"), number("handSize"));
    let mut refuse = |field: &str, detail: &str| {
        errors.push(FieldError::invalid(path.child(field), &number(field).into(), detail));
    };
    if number("queueLengthLimit") <= 0 {
        refuse("queueLengthLimit", "must be positive");
    }
    if queues <= 0 {
        refuse("queues", "must be positive");
    } else if queues > MAX_QUEUES {
        refuse("queues", &format!("must not be greater than {MAX_QUEUES}"));
    }
    if hand <= 0 {
        refuse("handSize", "must be positive");
    } else if hand > queues {
        refuse("handSize", &format!("should not be greater than queues ({queues})"));
    } else if bits(queues, hand) > MAX_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_BITS}"
        );
        refuse("handSize", &detail);
    }
}

/// Returns how many bits of a hash it takes to choose a hand of queues.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "both numbers are of 32 bits"
)]
fn bits(queues: i64, hand: i64) -> i64 {
    ((queues as f64).log2() * hand as f64).ceil() as i64
}

/// Checks the rules that are declared in tags, which kube-apiserver checks last.
fn declared(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (kind, limited) = (text(spec, "type"), &spec["limited"]);
    if kind != "Exempt" && !spec["exempt"].is_null() {
        errors.push(FieldError::forbidden(path.child("exempt"), ""));
    }
    if kind == "Limited" && limited.is_null() {
        errors.push(FieldError::required(path.child("limited"), ""));
    } else if kind != "Limited" && !limited.is_null() {
        errors.push(FieldError::forbidden(path.child("limited"), ""));
    }
    errors.required(spec, "type", path, "");
    if limited.is_null() {
        return;
    }
    let (response, limited_path) = (&limited["limitResponse"], path.child("limited"));
    let (kind, path) = (text(response, "type"), limited_path.child("limitResponse"));
    match (kind, response["queuing"].is_null()) {
        ("Queue", true) => errors.push(FieldError::required(path.child("queuing"), "")),
        ("Queue", false) | (_, true) => {}
        (_, false) => errors.push(FieldError::forbidden(path.child("queuing"), "")),
    }
    errors.required(response, "type", &path, "");
}
