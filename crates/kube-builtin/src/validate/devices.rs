//! Claims for devices, their templates and classes: `pkg/apis/resource/validation`.
//!
//! kube-apiserver checks the rules that are declared in tags after those that are implemented in code. So does this module.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::cel::{Cel, Purpose};
use super::errors::{Errors, items, members, text};
use super::storage::{MAX_DRIVER_NAME, caseless_name, driver_name};
use kube_validation::{FieldError, FieldPath, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");
/// The longest name of an attribute, without its driver's.
pub(super) const MAX_ID: usize = 32;
const MAX_REQUESTS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_SELECTORS: usize = 32;
const MAX_CONFIGURATIONS: usize = 32;
const UNKNOWN_REQUEST: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// Checks a claim, a template of claims or a class. `old`: the object that is replaced, or null.
pub(super) fn check(kind: &str, new: &Value, old: &Value, cel: &mut Cel<'_>, errors: &mut Errors) {
    let (spec, before, path) = (&new["spec"], &old["spec"], ROOT.child("spec"));
    match kind {
        // kube-apiserver only looks whether the spec is another one.
        "ResourceClaim" if !old.is_null() => errors.declared_immutable(spec, before, path),
        "ResourceClaimTemplate" if !old.is_null() => errors.immutable(spec, before, path),
        "ResourceClaim" => claim(&spec["devices"], &path.child("devices"), cel, errors),
        "ResourceClaimTemplate" => {
            template_metadata(&spec["metadata"], &path.child("metadata"), errors);
            let path = path.child("spec");
            claim(&spec["spec"]["devices"], &path.child("devices"), cel, errors);
        }
        "DeviceClass" => class(spec, &path, cel, errors),
        _ => {}
    }
}

fn template_metadata(metadata: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    for (key, _) in members(&metadata["annotations"]) {
        errors.named(&key.to_lowercase(), names::qualified_name, path.child("annotations"));
    }
    errors.labels(&metadata["labels"], path.child("labels"));
    for (field, _) in members(metadata).filter(|(field, _)| !["annotations", "labels"].contains(field)) {
        errors.push(FieldError::forbidden(path.child(field), "cannot be set"));
    }
}

/// The names of a claim's requests, and of the alternatives in each.
struct Requests<'a>(HashMap<&'a str, HashSet<&'a str>>);

impl<'a> Requests<'a> {
    fn of(claim: &'a Value) -> Self {
        let alternatives = |request: &'a Value| {
            items(&request["firstAvailable"]).iter().map(|alternative| text(alternative, "name")).collect()
        };
        let requests = items(&claim["requests"]).iter();
        Self(requests.map(|request| (text(request, "name"), alternatives(request))).collect())
    }

    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => self.0.contains_key(name),
            Some((request, alternative)) => self.0.get(request).is_some_and(|it| it.contains(alternative)),
        }
    }

    /// Checks the name of a request, or of an alternative in one.
    fn check(&self, name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
        let parts: Vec<_> = name.split('/').collect();
        if parts.len() <= 2 {
            for part in parts {
                errors.named(part, names::dns1123_label, *path);
            }
        }
        if !self.has(name) {
            errors.push(FieldError::invalid(path, &name.into(), UNKNOWN_REQUEST));
        }
    }

    fn check_all(&self, object: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
        if items(&object["requests"]).len() <= MAX_REQUESTS {
            errors.each(object, "requests", path, |name, path, errors| {
                self.check(name.as_str().unwrap_or_default(), path, errors);
            });
        }
    }
}

fn claim(claim: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    let known = Requests::of(claim);
    if items(&claim["requests"]).len() <= MAX_REQUESTS {
        errors
            .each(claim, "requests", path, |request, path, errors| self::request(request, path, cel, errors));
    }
    if items(&claim["constraints"]).len() <= MAX_CONFIGURATIONS {
        errors.each(claim, "constraints", path, |constraint, path, errors| {
            known.check_all(constraint, path, errors);
            if constraint["matchAttribute"].is_null() && constraint["distinctAttribute"].is_null() {
                let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields \
                              are set";
                errors.push(FieldError::required(path, detail));
            }
        });
    }
    if items(&claim["config"]).len() <= MAX_CONFIGURATIONS {
        errors.each(claim, "config", path, |config, path, errors| {
            known.check_all(config, path, errors);
            configuration(config, path, errors);
        });
    }
    declared(claim, path, errors);
}

fn request(request: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    errors.named(text(request, "name"), names::dns1123_label, path.child("name"));
    let (exactly, alternatives) = (&request["exactly"], items(&request["firstAvailable"]));
    let detail = "exactly one of `exactly` or `firstAvailable` is required";
    match (exactly.is_null(), alternatives.is_empty()) {
        (true, true) => errors.push(FieldError::required(path, detail)),
        (false, false) => {
            let detail = format!("{detail}, but multiple fields are set");
            errors.push(FieldError::invalid(path, &Value::Null, &detail));
        }
        (false, true) => {
            let path = path.child("exactly");
            class_name(exactly, &path, errors);
            wanted(exactly, &path, cel, errors);
        }
        (true, false) if alternatives.len() <= MAX_ALTERNATIVES => {
            errors.each(request, "firstAvailable", path, |alternative, path, errors| {
                errors.named(text(alternative, "name"), names::dns1123_label, path.child("name"));
                wanted(alternative, path, cel, errors);
            });
        }
        (true, false) => {}
    }
}

fn class_name(request: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if !errors.required(request, "deviceClassName", path, "") {
        let name = text(request, "deviceClassName");
        errors.named(name, names::dns1123_subdomain, path.child("deviceClassName"));
    }
}

/// Checks which devices are wanted, and how many.
fn wanted(request: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    selectors(request, path, cel, errors);
    let count = request["count"].as_i64().unwrap_or_default();
    let detail = match text(request, "allocationMode") {
        "All" if count != 0 => "must not be specified when allocationMode is 'All'",
        "ExactCount" if count <= 0 => "must be greater than zero",
        _ => "",
    };
    if !detail.is_empty() {
        errors.push(FieldError::invalid(path.child("count"), &count.into(), detail));
    }
    errors.each(request, "tolerations", path, |toleration, path, errors| {
        let value = text(toleration, "value");
        match text(toleration, "operator") {
            "Exists" if !value.is_empty() => {
                let detail = "must be empty for operator `Exists`";
                errors.push(FieldError::invalid(path.child("value"), &value.into(), detail));
            }
            "Equal" => errors.named(value, names::label_value, path.child("value")),
            _ => {}
        }
    });
}

fn selectors(object: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    const MAX_EXPRESSION: usize = 10 * 1024;
    if items(&object["selectors"]).len() > MAX_SELECTORS {
        return;
    }
    errors.each(object, "selectors", path, |selector, path, errors| {
        let path = path.child("cel");
        if selector["cel"].is_null() {
            errors.push(FieldError::required(path, ""));
            return;
        }
        let (expression, path) = (text(&selector["cel"], "expression"), path.child("expression"));
        if expression.len() > MAX_EXPRESSION {
            errors.push(FieldError::too_long(path, MAX_EXPRESSION));
        } else if let Err(why) = cel.compile(expression, Purpose::DeviceSelector) {
            errors.push(FieldError::invalid(path, &expression.into(), &why));
        }
    });
}

/// Checks the parameters of a driver.
fn configuration(config: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    let (opaque, path) = (&config["opaque"], path.child("opaque"));
    if opaque.is_null() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let path = path.child("parameters");
    match &opaque["parameters"] {
        Value::Null => errors.push(FieldError::required(path, "")),
        Value::Object(_) => {}
        _ => {
            let detail = "must be a valid JSON object";
            errors.push(FieldError::invalid(path, &"<value omitted>".into(), detail));
        }
    }
}

/// Refuses a list that is too long, or else its items that are there already. Returns whether it is too long.
fn list_of_distinct(
    object: &Value,
    (field, max): (&str, usize),
    path: &FieldPath<'_>,
    key: fn(&Value) -> &str,
    errors: &mut Errors,
) -> bool {
    if too_many(object, (field, max), path, errors) {
        return true;
    }
    let mut known = HashSet::new();
    errors.each(object, field, path, |item, path, errors| {
        if !known.insert(key(item).to_owned()) {
            errors.push(FieldError::duplicate_shown(path, &shown(item)));
        }
    });
    false
}

fn too_many(object: &Value, (field, max): (&str, usize), path: &FieldPath<'_>, errors: &mut Errors) -> bool {
    let count = items(&object[field]).len();
    if count > max {
        errors.push(FieldError::too_many(path.child(field), count, max));
    }
    count > max
}

/// An item of a list as JSON, with the fields in the order of their Go types.
fn shown(item: &Value) -> String {
    const FIELDS: [&str; 10] = [
        "name",
        "exactly",
        "firstAvailable",
        "deviceClassName",
        "selectors",
        "allocationMode",
        "count",
        "adminAccess",
        "tolerations",
        "capacity",
    ];
    let Some(object) = item.as_object() else { return item.to_string() };
    let given = FIELDS.iter().filter_map(|field| Some((field, object.get(*field)?)));
    let fields: Vec<_> = given.map(|(field, value)| format!("{}:{}", json!(field), shown(value))).collect();
    format!("{{{}}}", fields.join(","))
}

fn name_of(object: &Value) -> &str {
    text(object, "name")
}

/// Checks the rules of a claim that are declared in tags.
fn declared(claim: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if !list_of_distinct(claim, ("requests", MAX_REQUESTS), path, name_of, errors) {
        errors.each(claim, "requests", path, |request, path, errors| {
            if request["exactly"].is_object() {
                declared_wanted(&request["exactly"], &path.child("exactly"), errors);
            }
            let alternatives = ("firstAvailable", MAX_ALTERNATIVES);
            if !list_of_distinct(request, alternatives, path, name_of, errors) {
                errors.each(request, "firstAvailable", path, |alternative, path, errors| {
                    class_name(alternative, path, errors);
                    declared_wanted(alternative, path, errors);
                });
            }
        });
    }
    if !too_many(claim, ("constraints", MAX_CONFIGURATIONS), path, errors) {
        errors.each(claim, "constraints", path, |constraint, path, errors| {
            list_of_distinct(constraint, ("requests", MAX_REQUESTS), path, text_of, errors);
            for field in ["matchAttribute", "distinctAttribute"] {
                if let Some(name) = constraint[field].as_str() {
                    attribute_name(name, &path.child(field), errors);
                }
            }
        });
    }
    if !too_many(claim, ("config", MAX_CONFIGURATIONS), path, errors) {
        errors.each(claim, "config", path, |config, path, errors| {
            list_of_distinct(config, ("requests", MAX_REQUESTS), path, text_of, errors);
            declared_configuration(config, path, errors);
        });
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn declared_configuration(config: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    if config["opaque"].is_object() {
        let path = path.child("opaque");
        caseless_name(text(&config["opaque"], "driver"), &path.child("driver"), errors);
    }
}

fn declared_wanted(request: &Value, path: &FieldPath<'_>, errors: &mut Errors) {
    too_many(request, ("selectors", MAX_SELECTORS), path, errors);
    errors.one_of(&request["allocationMode"], &["All", "ExactCount"], path.child("allocationMode"));
    errors.each(request, "tolerations", path, |toleration, path, errors| {
        let key = text(toleration, "key");
        if !key.is_empty() {
            errors.named(key, names::qualified_name, path.child("key"));
        }
        errors.one_of(&toleration["operator"], &["Equal", "Exists"], path.child("operator"));
        let effects = ["NoExecute", "NoSchedule", "None"];
        errors.one_of(&toleration["effect"], &effects, path.child("effect"));
    });
}

/// Checks the name of an attribute: that of its driver, and an identifier.
fn attribute_name(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    qualified(name, path, errors);
    if !name.contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(path, &name.into(), detail));
    }
}

/// Checks the name of an attribute or a capacity, which may lack its driver's.
pub(super) fn qualified(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [identifier] => c_identifier(identifier, path, errors),
        [domain, identifier] => {
            if domain.is_empty() {
                errors.push(FieldError::invalid(path, &"".into(), "the domain must not be empty"));
            } else {
                if domain.len() > MAX_DRIVER_NAME {
                    errors.push(FieldError::too_long(path, MAX_DRIVER_NAME));
                }
                for why in names::dns1123_subdomain(&domain.to_lowercase()) {
                    errors.push(FieldError::invalid(path, &domain.into(), &why));
                }
            }
            if identifier.is_empty() {
                errors.push(FieldError::invalid(path, &"".into(), "the name must not be empty"));
            } else {
                c_identifier(identifier, path, errors);
            }
        }
        _ => {}
    }
}

fn c_identifier(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    const DETAIL: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                          alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for \
                          validation is '[A-Za-z_][A-Za-z0-9_]*')";
    if name.len() > MAX_ID {
        errors.push(FieldError::too_long(path, MAX_ID));
    }
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(is_letter) || !name.chars().all(|c| is_letter(c) || c.is_ascii_digit()) {
        errors.push(FieldError::invalid(path, &name.into(), DETAIL));
    }
}

fn class(spec: &Value, path: &FieldPath<'_>, cel: &mut Cel<'_>, errors: &mut Errors) {
    selectors(spec, path, cel, errors);
    if items(&spec["config"]).len() <= MAX_CONFIGURATIONS {
        errors.each(spec, "config", path, configuration);
    }
    too_many(spec, ("selectors", MAX_SELECTORS), path, errors);
    if !too_many(spec, ("config", MAX_CONFIGURATIONS), path, errors) {
        errors.each(spec, "config", path, declared_configuration);
    }
    if let Some(name) = spec["extendedResourceName"].as_str() {
        errors.named(name, extended_resource, path.child("extendedResourceName"));
    }
}

/// Returns the problems of the name by which a Pod can request devices without a claim.
fn extended_resource(name: &str) -> Vec<String> {
    const OWN: &str = "kubernetes.io/";
    const REQUESTS: &str = "requests.";
    let mut wrong = Vec::new();
    if !name.contains('/') {
        wrong.push("a name must be a domain-prefixed path, such as 'example.com/my-prop'".to_owned());
    } else if name.contains(OWN) {
        wrong.push(format!("must not have \"{OWN}\" domain"));
    }
    if name.starts_with(REQUESTS) {
        wrong.push(format!("must not have \"{REQUESTS}\" prefix"));
    }
    wrong.extend(names::qualified_name(&format!("{REQUESTS}{name}")));
    wrong
}

/// Checks for whom a claim is reserved, and the devices that it got.
pub(super) fn claim_status(new: &Value, old: &Value, errors: &mut Errors) {
    const MAX_USERS: usize = 256;
    let (status, path) = (&new["status"], ROOT.child("status"));
    let allocation = &status["allocation"];
    if items(&status["reservedFor"]).len() <= MAX_USERS {
        errors.each(status, "reservedFor", &path, |user, path, errors| {
            for field in ["resource", "name", "uid"] {
                errors.required(user, field, path, "");
            }
        });
    }
    let results: HashSet<_> = items(&allocation["devices"]["results"]).iter().map(identity).collect();
    errors.each(status, "devices", &path, |device, path, errors| {
        driver_name(device, "driver", path, errors);
        pool_name(device, "pool", path, errors);
        errors.named(text(device, "device"), names::dns1123_label, path.child("device"));
        if !results.contains(&identity(device)) {
            let [driver, pool, name, share] = identity(device).map(Value::from);
            let shown = format!(r#"{{"Driver":{driver},"Pool":{pool},"Device":{name},"ShareID":{share}}}"#);
            let detail = "must be an allocated device in the claim";
            errors.push(FieldError::invalid_shown(path, &shown, detail));
        }
    });
    if !items(&status["reservedFor"]).is_empty() && allocation.is_null() {
        let detail = "may not be specified when `allocated` is not set";
        errors.push(FieldError::forbidden(path.child("reservedFor"), detail));
    }
    let (before, allocation_path) = (&old["status"]["allocation"], path.child("allocation"));
    let is_new = before.is_null() && !allocation.is_null();
    let devices_path = allocation_path.child("devices");
    if is_new {
        let known = Requests::of(&new["spec"]["devices"]);
        errors.each(&allocation["devices"], "results", &devices_path, |result, path, errors| {
            known.check(text(result, "request"), &path.child("request"), errors);
            errors.named(text(result, "device"), names::dns1123_label, path.child("device"));
        });
    }
    too_many(status, ("reservedFor", MAX_USERS), &path, errors);
    if is_new {
        errors.each(&allocation["devices"], "results", &devices_path, |result, path, errors| {
            caseless_name(text(result, "driver"), &path.child("driver"), errors);
            pool_name(result, "pool", path, errors);
        });
    } else if !allocation.is_null() && allocation != before {
        let detail = "field cannot be modified once set";
        errors.push(FieldError::invalid(allocation_path, &Value::Null, detail));
    }
}

/// Checks the name of a pool of devices.
pub(super) fn pool_name(object: &Value, field: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    const MAX: usize = 253;
    if errors.required(object, field, path, "") {
        return;
    }
    let (name, path) = (text(object, field), path.child(field));
    if name.len() > MAX {
        errors.push(FieldError::too_long(path, MAX));
    }
    for part in name.split('/') {
        errors.named(part, names::dns1123_subdomain, path);
    }
}

/// What identifies a device that is allocated.
fn identity(device: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| text(device, field))
}
