//! Webhook configurations and admission policies, with their bindings: `pkg/apis/admissionregistration/validation`.
//!
//! kube-apiserver is lenient about mistakes that an object had before an update. Here no object is stored with such mistakes.

use std::collections::HashSet;

use serde_json::Value;

use super::cel::{Cel, Purpose};
use super::errors::{Errors, items, port_number, text};
use kube_validation::{
    FieldError, FieldPath,
    go::{json, url::Url},
    names,
};

const ROOT: FieldPath<'static> = FieldPath::Root("");
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// What a mutating policy can apply to.
const MUTATED: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const FAILURE: [&str; 2] = ["Fail", "Ignore"];
const MATCH: [&str; 2] = ["Equivalent", "Exact"];
const REINVOCATION: [&str; 2] = ["IfNeeded", "Never"];
/// The versions of AdmissionReview that kube-apiserver can send.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

pub(super) fn check(kind: &str, object: &Value, cel: &mut Cel<'_>, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => webhooks(object, cel, errors),
        "ValidatingAdmissionPolicy" => validating_policy(object, &path, cel, errors),
        "MutatingAdmissionPolicy" => mutating_policy(spec, &path, cel, errors),
        "ValidatingAdmissionPolicyBinding" => {
            binding(spec, &path, errors);
            validation_actions(&spec["validationActions"], &path.child("validationActions"), errors);
            // kube-apiserver checks these rules, which are declared in tags, after those that are implemented in code.
            errors.required(spec, "policyName", &path, "");
            if items(&spec["validationActions"]).is_empty() {
                errors.push(FieldError::required(path.child("validationActions"), ""));
            }
        }
        "MutatingAdmissionPolicyBinding" => {
            errors.required(spec, "policyName", &path, "");
            binding(spec, &path, errors);
            mutated_operations(spec, "matchResources", &path, errors);
        }
        _ => {}
    }
}

fn webhooks(object: &Value, cel: &mut Cel<'_>, errors: &mut Errors) {
    let mut names = HashSet::new();
    errors.each(object, "webhooks", &ROOT, |hook, path, errors| {
        webhook(hook, path, cel, errors);
        review_versions(&hook["admissionReviewVersions"], &path.child("admissionReviewVersions"), errors);
        unique_text(hook, "name", path, &mut names, errors);
    });
}

fn webhook(hook: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    qualified(hook, path, errors);
    errors.each(hook, "rules", path, rule);
    errors.one_of(&hook["failurePolicy"], &FAILURE, path.child("failurePolicy"));
    errors.one_of(&hook["matchPolicy"], &MATCH, path.child("matchPolicy"));
    if hook["sideEffects"].is_null() {
        let detail = "must specify one of None, NoneOnDryRun";
        errors.push(FieldError::required(path.child("sideEffects"), detail));
    }
    errors.one_of(&hook["sideEffects"], &["None", "NoneOnDryRun"], path.child("sideEffects"));
    let timeout = &hook["timeoutSeconds"];
    if timeout.as_i64().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(path.child("timeoutSeconds"), timeout, detail));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        errors.selector(&hook[field], path.child(field));
    }
    errors.one_of(&hook["reinvocationPolicy"], &REINVOCATION, path.child("reinvocationPolicy"));
    client(&hook["clientConfig"], &path.child("clientConfig"), errors);
    match_conditions(hook, path, cel, errors);
}

/// Checks that a webhook's name is a domain with three segments.
fn qualified(hook: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if errors.required(hook, "name", path, "") {
        return;
    }
    let name = text(hook, "name");
    let mut wrong = names::dns1123_subdomain(name).join(",");
    if wrong.is_empty() && name.split('.').count() < 3 {
        "should be a domain with at least three segments separated by dots".clone_into(&mut wrong);
    }
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(path.child("name"), &hook["name"], &wrong));
    }
}

fn rule(rule: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    wildcard(rule, "operations", "operations", path, errors);
    errors.each(rule, "operations", path, |operation, path, errors| {
        errors.one_of(operation, &OPERATIONS, *path);
    });
    wildcard(rule, "apiGroups", "API groups", path, errors);
    wildcard(rule, "apiVersions", "API versions", path, errors);
    errors.each(rule, "apiVersions", path, not_empty);
    resources(rule, path, errors);
    errors.one_of(&rule["scope"], &["*", "Cluster", "Namespaced"], path.child("scope"));
}

/// Refuses an empty list, and a list with `*` and something else.
fn wildcard(rule: &Value, field: &str, others: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let list = items(&rule[field]);
    if list.is_empty() {
        errors.push(FieldError::required(path.child(field), ""));
    }
    if list.len() > 1 && list.iter().any(|it| it == "*") {
        let detail = format!("if '*' is present, must not specify other {others}");
        errors.push(FieldError::invalid(path.child(field), &rule[field], &detail));
    }
}

fn not_empty(item: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if item == "" {
        errors.push(FieldError::required(path, ""));
    }
}

/// Refuses resources that another item of the list already covers.
fn resources(rule: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let list = path.child("resources");
    let all = items(&rule["resources"]);
    if all.is_empty() {
        errors.push(FieldError::required(list, ""));
    }
    let (mut all_subresources, mut all_resources) = (HashSet::new(), HashSet::new());
    let mut last_is_plain = false;
    errors.each(rule, "resources", path, |item, path, errors| {
        let whole = item.as_str().unwrap_or_default();
        not_empty(item, path, errors);
        let Some((resource, subresource)) = whole.split_once('/') else {
            // Like kube-apiserver, this remembers only the last one.
            if !whole.is_empty() {
                last_is_plain = whole != "*";
            }
            return;
        };
        let mut covered = |by: String| {
            let detail = format!("if '{by}' is present, must not specify {whole}");
            errors.push(FieldError::invalid(path, item, &detail));
        };
        if all_subresources.contains(resource) {
            covered(format!("{resource}/*"));
        }
        if all_resources.contains(subresource) {
            covered(format!("*/{subresource}"));
        }
        if subresource == "*" {
            all_subresources.insert(resource.to_owned());
        }
        if resource == "*" {
            all_resources.insert(subresource.to_owned());
        }
    });
    if all.len() > 1 && all.iter().any(|it| it == "*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(list, &rule["resources"], detail));
    }
    if last_is_plain && all.iter().any(|it| it == "*") {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(list, &rule["resources"], detail));
    }
}

fn client(config: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    match (&config["url"], &config["service"]) {
        (Value::String(text), Value::Null) => url(text, path.child("url"), errors),
        (Value::Null, service @ Value::Object(_)) => self::service(service, &path.child("service"), errors),
        _ => errors.push(FieldError::required(path, "exactly one of url or service is required")),
    }
}

fn url(text: &str, path: FieldPath<'_>, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            errors.push(FieldError::required(path, &format!("url must be a valid URL: {why}{FORM}")));
            return;
        }
    };
    let mut wrong = |part: &str, detail: &str| {
        errors.push(FieldError::invalid(path, &part.into(), detail));
    };
    if url.scheme() != "https" {
        wrong(url.scheme(), &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host().is_empty() {
        wrong("", &format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.userinfo() {
        wrong(&user, "user information is not permitted in the URL");
    }
    if !url.fragment().is_empty() {
        wrong(&url.fragment(), "fragments are not permitted in the URL");
    }
    if !url.raw_query().is_empty() {
        wrong(url.raw_query(), "query parameters are not permitted in the URL");
    }
}

fn service(service: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    // kube-apiserver passes the name as the namespace, and the namespace as the name.
    for (checked, reported) in [("namespace", "name"), ("name", "namespace")] {
        if text(service, checked).is_empty() {
            errors.push(FieldError::required(path.child(reported), ""));
        }
    }
    if !port_number(&service["port"]) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(path.child("port"), &service["port"], detail));
    }
    for why in path_problems(text(service, "path")) {
        errors.push(FieldError::invalid(path.child("path"), &service["path"], &why));
    }
}

fn path_problems(path: &str) -> Vec<String> {
    match path {
        "" | "/" => return Vec::new(),
        "//" => return vec!["segment[0] may not be empty".to_owned()],
        _ => {}
    }
    let mut wrong = Vec::new();
    if !path.starts_with('/') {
        wrong.push("must start with a '/'".to_owned());
    }
    // kube-apiserver does not look at the first byte.
    let rest = path.get(1..).unwrap_or(path);
    for (index, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            wrong.push(format!("segment[{index}] may not be empty"));
            continue;
        }
        let problems = names::dns1123_subdomain(segment);
        wrong.extend(problems.iter().map(|why| format!("segment[{index}]: {why}")));
    }
    wrong
}

fn review_versions(versions: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let all = items(versions);
    if all.is_empty() {
        errors.push(FieldError::required(path, "must specify one of v1, v1beta1"));
        return;
    }
    let mut seen = HashSet::new();
    for (index, version) in all.iter().enumerate() {
        let version_text = version.as_str().unwrap_or_default();
        if seen.insert(version_text) {
            errors.named(version_text, names::dns1035_label, path.index(index));
        } else {
            errors.push(FieldError::invalid(path.index(index), version, "duplicate version"));
        }
    }
    if !REVIEWS.iter().any(|known| seen.contains(known)) {
        errors.push(FieldError::invalid(path, versions, "must include at least one of v1, v1beta1"));
    }
}

/// Refuses a text that an earlier item of the list has. An empty text has been refused already.
fn unique_text(
    item: &Value,
    field: &str,
    path: &FieldPath<'_>,
    seen: &mut HashSet<String>,
    errors: &mut Errors,
) {
    let value = text(item, field);
    if !value.is_empty() && !seen.insert(value.to_owned()) {
        errors.push(FieldError::duplicate(path.child(field), &item[field]));
    }
}

fn match_conditions(parent: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    let count = items(&parent["matchConditions"]).len();
    if count > 64 {
        errors.push(FieldError::too_many(path.child("matchConditions"), count, 64));
    }
    let mut seen = HashSet::new();
    errors.each(parent, "matchConditions", path, |condition, path, errors| {
        let expression = text(condition, "expression").trim();
        if expression.is_empty() {
            errors.push(FieldError::required(path.child("expression"), ""));
        }
        cel.check(expression, Purpose::MatchCondition, path.child("expression"), errors);
        if !errors.required(condition, "name", path, "") {
            errors.named(text(condition, "name"), names::qualified_name, path.child("name"));
        }
        unique_text(condition, "name", path, &mut seen, errors);
    });
}

fn validating_policy(object: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    let spec = &object["spec"];
    policy(spec, path, errors);
    cel.has_params = spec["paramKind"].is_object();
    match_conditions(spec, path, cel, errors);
    errors.each(spec, "variables", path, |it, path, errors| variable(it, path, cel, errors));
    let annotations = items(&spec["auditAnnotations"]);
    if items(&spec["validations"]).is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(path.child("validations"), detail));
        errors.push(FieldError::required(path.child("auditAnnotations"), detail));
        return;
    }
    errors.each(spec, "validations", path, |it, path, errors| validation(it, path, cel, errors));
    if annotations.len() > 20 {
        let detail = "must not have more than 20 auditAnnotations";
        let shown = shown_annotations(annotations);
        errors.push(FieldError::invalid_shown(path.child("auditAnnotations"), &shown, detail));
    }
    let mut keys = HashSet::new();
    errors.each(spec, "auditAnnotations", path, |annotation, path, errors| {
        audit_annotation(text(&object["metadata"], "name"), annotation, path, cel, errors);
        if !keys.insert(text(annotation, "key").to_owned()) {
            errors.push(FieldError::duplicate(path.child("key"), &annotation["key"]));
        }
    });
}

/// Checks what both kinds of policies have first.
fn policy(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    errors.required_one_of(spec, "failurePolicy", path, &FAILURE);
    if spec["paramKind"].is_object() {
        param_kind(&spec["paramKind"], &path.child("paramKind"), errors);
    }
    let field = path.child("matchConstraints");
    let constraints = &spec["matchConstraints"];
    if constraints.is_null() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    match_resources(constraints, &field, errors);
    if items(&constraints["resourceRules"]).is_empty() {
        errors.push(FieldError::required(field.child("resourceRules"), ""));
    }
}

fn param_kind(kind: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let field = path.child("apiVersion");
    if !errors.required(kind, "apiVersion", path, "") {
        for (value, why) in api_version_problems(text(kind, "apiVersion")) {
            errors.push(FieldError::invalid(field, &value.into(), &why));
        }
    }
    if !errors.required(kind, "kind", path, "") {
        let wrong = names::dns1035_label(&text(kind, "kind").to_lowercase()).join(",");
        if !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {wrong}");
            errors.push(FieldError::invalid(path.child("kind"), &kind["kind"], &detail));
        }
    }
}

/// Returns the wrong parts of an `apiVersion`, and what is wrong with them.
fn api_version_problems(api_version: &str) -> Vec<(&str, String)> {
    let (group, version) = match names::group_version(api_version) {
        Ok(parts) => parts,
        Err(why) => return vec![(api_version, why)],
    };
    let mut wrong = Vec::new();
    if !group.is_empty() {
        wrong.push((group, names::dns1123_subdomain(group).join(",")));
    }
    if version.is_empty() {
        wrong.push((api_version, "version must be specified".to_owned()));
    } else {
        wrong.push((version, names::dns1035_label(version).join(",")));
    }
    wrong.retain(|(_, why)| !why.is_empty());
    wrong
}

fn match_resources(resources: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if resources.is_null() {
        return;
    }
    errors.required_one_of(resources, "matchPolicy", path, &MATCH);
    for field in ["namespaceSelector", "objectSelector"] {
        if resources[field].is_null() {
            errors.push(FieldError::required(path.child(field), ""));
        }
        errors.selector(&resources[field], path.child(field));
    }
    errors.each(resources, "resourceRules", path, named_rule);
    errors.each(resources, "excludeResourceRules", path, named_rule);
}

fn named_rule(named: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    errors.each(named, "resourceNames", path, |item, path, errors| {
        let name = item.as_str().unwrap_or_default();
        errors.named(name, names::path_segment, *path);
        if !seen.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(path, item));
        }
    });
    rule(named, path, errors);
}

fn variable(variable: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    let name = text(variable, "name");
    if name.trim().is_empty() {
        errors.push(FieldError::required(path.child("name"), "name is not specified"));
    } else if !is_cel_identifier(name) {
        let detail = "must be a valid CEL identifier";
        errors.push(FieldError::invalid(path.child("name"), &variable["name"], detail));
    }
    if expression(variable, "expression", path, errors) {
        cel.check(text(variable, "expression"), Purpose::Variable(name), path.child("expression"), errors);
    }
}

/// Refuses an expression without anything but white space. Returns whether there is one.
fn expression(parent: &Value, field: &str, path: &FieldPath<'_>, errors: &mut Errors) -> bool {
    let is_empty = text(parent, field).trim().is_empty();
    if is_empty {
        errors.push(FieldError::required(path.child(field), &format!("{field} is not specified")));
    }
    !is_empty
}

fn is_cel_identifier(name: &str) -> bool {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    let is_word = name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    is_word && !name.starts_with(|it: char| it.is_ascii_digit()) && !RESERVED.contains(&name)
}

fn validation(validation: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    if expression(validation, "expression", path, errors) {
        cel.check(text(validation, "expression"), Purpose::Validation, path.child("expression"), errors);
    }
    let message = text(validation, "messageExpression");
    if !message.trim().is_empty() {
        cel.check(message, Purpose::Message, path.child("messageExpression"), errors);
    }
    let is_blank = |field: &str| {
        let value = text(validation, field);
        !value.is_empty() && value.trim().is_empty()
    };
    let mut wrong = |field: &str, detail: &str| {
        errors.push(FieldError::invalid(path.child(field), &validation[field], detail));
    };
    if is_blank("messageExpression") {
        wrong("messageExpression", "must be non-empty if specified");
    }
    if is_blank("message") {
        wrong("message", "must be non-empty if specified");
    } else if text(validation, "message").trim().contains(['\n', '\r']) {
        wrong("message", "must not contain line breaks");
    }
    let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    errors.one_of(&validation["reason"], &reasons, path.child("reason"));
}

fn audit_annotation(
    policy: &str,
    annotation: &Value,
    path: &FieldPath<'_>,
    cel: &mut Cel<'_>,
    errors: &mut Errors,
) {
    let key = format!("{policy}/{}", text(annotation, "key"));
    errors.named(&key, names::qualified_name, path.child("key"));
    let (value, field) = (text(annotation, "valueExpression"), path.child("valueExpression"));
    if !expression(annotation, "valueExpression", path, errors) {
        return;
    }
    if value.trim().len() > 5 * 1024 {
        errors.push(FieldError::required(field, "must not exceed 5120 bytes in length"));
        return;
    }
    // It is compiled without the white space around it, but shown as it is.
    if let Err(why) = cel.compile(value.trim(), Purpose::AuditAnnotation) {
        errors.push(FieldError::invalid(field, &value.into(), &why));
    }
}

/// Returns annotations as kube-apiserver shows its Go structs.
fn shown_annotations(annotations: &[Value]) -> String {
    let part = |annotation: &Value, field: &str| json(&text(annotation, field).into());
    let shown: Vec<_> = annotations
        .iter()
        .map(|it| {
            format!(r#"{{"Key":{},"ValueExpression":{}}}"#, part(it, "key"), part(it, "valueExpression"))
        })
        .collect();
    format!("[{}]", shown.join(","))
}

fn mutating_policy(spec: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    policy(spec, path, errors);
    mutated_operations(spec, "matchConstraints", path, errors);
    cel.has_params = spec["paramKind"].is_object();
    match_conditions(spec, path, cel, errors);
    errors.each(spec, "variables", path, |it, path, errors| variable(it, path, cel, errors));
    if items(&spec["mutations"]).is_empty() {
        let detail = "mutations must contain at least one item";
        errors.push(FieldError::required(path.child("mutations"), detail));
    }
    errors.each(spec, "mutations", path, |it, path, errors| mutation(it, path, cel, errors));
    if !errors.required(spec, "reinvocationPolicy", path, "") {
        errors.one_of(&spec["reinvocationPolicy"], &REINVOCATION, path.child("reinvocationPolicy"));
    }
}

/// Refuses `DELETE` in the rules of `field`.
fn mutated_operations(spec: &Value, field: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    let (resources, rules) = (path.child(field), &spec[field]["resourceRules"]);
    let rules_path = resources.child("resourceRules");
    for operation in items(rules).iter().flat_map(|rule| items(&rule["operations"])) {
        errors.one_of(operation, &MUTATED, rules_path.child("operations"));
    }
}

fn mutation(mutation: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    if errors.required(mutation, "patchType", path, "") {
        return;
    }
    let kind = text(mutation, "patchType");
    let (own, other, purpose) = match kind {
        "JSONPatch" => ("jsonPatch", "applyConfiguration", Purpose::JsonPatch),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch", Purpose::ApplyConfiguration),
        _ => {
            let supported = ["ApplyConfiguration", "JSONPatch"];
            errors.one_of(&mutation["patchType"], &supported, path.child("patchType"));
            return;
        }
    };
    let field = path.child(own);
    let expression = text(&mutation[own], "expression").trim();
    if mutation[own].is_null() {
        errors.push(FieldError::required(field, &format!("must be specified when patchType is {kind}")));
    } else if expression.is_empty() {
        errors.push(FieldError::required(field.child("expression"), ""));
    }
    cel.check(expression, purpose, field.child("expression"), errors);
    if !mutation[other].is_null() {
        let detail = format!("must not be specified when patchType is {kind}");
        errors.push(FieldError::invalid(path.child(other), &format!("{{{other}}}").into(), &detail));
    }
}

/// Checks what both kinds of bindings have.
fn binding(spec: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let name = text(spec, "policyName");
    if !name.is_empty() {
        errors.named(name, names::dns1123_subdomain, path.child("policyName"));
    }
    if spec["paramRef"].is_object() {
        param_ref(&spec["paramRef"], &path.child("paramRef"), errors);
    }
    match_resources(&spec["matchResources"], &path.child("matchResources"), errors);
}

fn param_ref(reference: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (name, selector) = (text(reference, "name"), &reference["selector"]);
    let both = "name and selector are mutually exclusive";
    errors.named(name, names::path_segment, path.child("name"));
    if !name.is_empty() && !selector.is_null() {
        errors.push(FieldError::forbidden(path.child("name"), both));
    }
    errors.selector(selector, path.child("selector"));
    if !name.is_empty() && !selector.is_null() {
        errors.push(FieldError::forbidden(path.child("selector"), both));
    }
    if name.is_empty() && selector.is_null() {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    if !errors.required(reference, "parameterNotFoundAction", path, "") {
        let action = path.child("parameterNotFoundAction");
        errors.one_of(&reference["parameterNotFoundAction"], &["Deny", "Allow"], action);
    }
}

fn validation_actions(actions: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, action) in items(actions).iter().enumerate() {
        errors.one_of(action, &["Audit", "Deny", "Warn"], path.index(index));
        if !seen.insert(action.as_str()) {
            errors.push(FieldError::duplicate(path.index(index), action));
        }
    }
    if seen.contains(&Some("Deny")) && seen.contains(&Some("Warn")) {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        errors.push(FieldError::invalid(path, actions, detail));
    }
}
