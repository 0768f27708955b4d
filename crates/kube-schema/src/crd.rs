//! CustomResourceDefinitions themselves: their defaults and their validation.
//!
//! kube-apiserver stores fields that are equal in all versions once, above the versions, and its errors refer to them there:
//! `spec.validation.openAPIV3Schema`, `spec.subresources`, `spec.additionalPrinterColumns`, `spec.selectableFields`.

use std::collections::BTreeSet;

use kube_validation::{
    FieldError, FieldErrors, FieldPath,
    go::{self, url::Url},
    names,
};
use serde_json::{Map, Value, json};

use crate::{
    field_path,
    json::{flag, list, object, text},
    metadata as object_meta, read,
    schema::{Schema, SchemaType},
    webhook,
};

pub use crate::warnings::warnings;

type Json = Map<String, Value>;

/// The maximum number of selectable fields of a version.
const SELECTABLE_MAX: usize = 8;
const APPROVED: &str = "api-approved.kubernetes.io";
/// The fields that are allowed at the root of a schema with a status subresource, because `status` is extracted from it.
const AT_ROOT: [&str; 22] = [
    "description",
    "type",
    "format",
    "title",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "required",
    "items",
    "properties",
    "externalDocs",
    "example",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// Fills in `names.singular`, `names.listKind`, `conversion` and the port of its webhook.
pub fn apply_defaults(crd: &mut Value) {
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = text(names, "kind").to_owned();
        if !kind.is_empty() && text(names, "singular").is_empty() {
            names.insert("singular".to_owned(), kind.to_lowercase().into());
        }
        if !kind.is_empty() && text(names, "listKind").is_empty() {
            names.insert("listKind".to_owned(), format!("{kind}List").into());
        }
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".to_owned(), json!({"strategy": "None"}));
    }
    let service =
        crd.pointer_mut("/spec/conversion/webhook/clientConfig/service").and_then(Value::as_object_mut);
    if let Some(service) = service
        && service.get("port").is_none_or(Value::is_null)
    {
        service.insert("port".to_owned(), 443.into());
    }
}

/// How schemas are parsed, with the name of their version, and the path of errors: see [`validate_with`].
pub type ParseSchema<'a> = &'a mut dyn FnMut(&str, &Value, &str) -> Result<(), FieldErrors>;

fn parse_new(_version: &str, openapi: &Value, path: &str) -> Result<(), FieldErrors> {
    Schema::parse(openapi, path).map(drop)
}

/// Returns the errors of a defaulted CustomResourceDefinition, including those of its schemas.
///
/// In `status`, which belongs to the server, only the stored versions are checked.
pub fn validate(crd: &Value) -> Vec<FieldError> {
    validate_with(crd, &mut parse_new)
}

/// As [`validate`], but `parse` parses the schemas: a server that keeps parsed schemas does not parse the same one again.
///
/// It is called with the name of a version, the version's `openAPIV3Schema`, and the path of errors; once for all versions if
/// they have the same schema.
pub fn validate_with(crd: &Value, parse: ParseSchema<'_>) -> Vec<FieldError> {
    validate_whole(crd, true, parse)
}

fn validate_whole(crd: &Value, needs_known_review: bool, parse: ParseSchema<'_>) -> Vec<FieldError> {
    let root = FieldPath::Root("");
    let empty = Json::new();
    let metadata = crd.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let spec = crd.get("spec").and_then(Value::as_object).unwrap_or(&empty);
    let mut errors = object_meta::validate(crd, false);
    let required =
        format!("{}.{}", text(object(spec, "names").unwrap_or(&empty), "plural"), text(spec, "group"));
    // kube-apiserver checks the beginning of a generated name like the name.
    let mut known = 0;
    for field in ["generateName", "name"] {
        let name = text(metadata, field);
        let path = format!("metadata.{field}");
        known += errors.iter().skip(known).take_while(|error| error.field == path).count();
        if !name.is_empty() && name != required {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            errors.insert(known, FieldError::invalid(path, &name.into(), detail));
            known += 1;
        }
    }
    validate_spec(spec, needs_known_review, &root.child("spec"), parse, &mut errors);
    validate_stored_versions(crd, spec, &mut errors);
    validate_approval(crd, metadata, &mut errors);
    if spec.get("preserveUnknownFields") == Some(&json!(true)) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", &true.into(), detail));
    }
    errors
}

/// Returns the errors of a change from `old` to `new`. `established`: whether `old` is served.
pub fn validate_update(new: &Value, old: &Value, established: bool) -> Vec<FieldError> {
    validate_update_with(new, old, established, &mut parse_new)
}

/// As [`validate_update`], but `parse` parses the schemas, as for [`validate_with`].
pub fn validate_update_with(
    new: &Value,
    old: &Value,
    established: bool,
    parse: ParseSchema<'_>,
) -> Vec<FieldError> {
    let mut errors = object_meta::validate_update(new, old);
    // A definition whose webhook is already asked in unknown versions only may keep them.
    let reviews = &old["spec"]["conversion"]["webhook"]["conversionReviewVersions"];
    let reviews = reviews.as_array().map(Vec::as_slice).unwrap_or_default();
    let needs_known_review = reviews.is_empty() || webhook::has_known_review(reviews);
    let state = |crd: &Value| approval(crd).map(|(approval, _)| approval);
    let approval_changed = state(new) != state(old);
    let is_new = |error: &FieldError| match error.field.strip_prefix("metadata.") {
        None => true,
        // A definition that was accepted without an approval needs none later.
        Some(field) => field.starts_with("annotations[") && approval_changed,
    };
    errors.extend(validate_whole(new, needs_known_review, parse).into_iter().filter(is_new));
    let fields: &[(&str, &str)] = if established {
        &[
            ("/spec/scope", "spec.scope"),
            ("/spec/names/kind", "spec.names.kind"),
            ("/spec/group", "spec.group"),
            ("/spec/names/plural", "spec.names.plural"),
        ]
    } else {
        &[("/spec/group", "spec.group"), ("/spec/names/plural", "spec.names.plural")]
    };
    for (pointer, field) in fields {
        let value = |crd: &Value| crd.pointer(pointer).cloned().unwrap_or_else(|| "".into());
        if value(new) != value(old) {
            errors.push(FieldError::invalid(field, &value(new), "field is immutable"));
        }
    }
    errors
}

fn validate_spec(
    spec: &Json,
    needs_known_review: bool,
    path: &FieldPath<'_>,
    parse: ParseSchema<'_>,
    errors: &mut Vec<FieldError>,
) {
    let group = text(spec, "group");
    let wrong = names::dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required(path.child("group"), ""));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid(path.child("group"), &group.into(), &wrong.join(",")));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid(path.child("group"), &group.into(), detail));
    }
    one_of(text(spec, "scope"), &["Cluster", "Namespaced"], &path.child("scope"), errors);

    let versions: Vec<&Json> = list(spec, "versions").iter().filter_map(Value::as_object).collect();
    let at_versions = path.child("versions");
    for (index, version) in versions.iter().enumerate() {
        if schema_of(version).is_none() {
            let path = at_versions.index(index);
            errors.push(FieldError::required(path.child("schema").child("openAPIV3Schema"), ""));
        }
    }
    let shared = Shared::of(&versions);
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let path = at_versions.index(index);
        let name = text(version, "name");
        unique &= seen.insert(name);
        let wrong = names::dns1035_label(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(path.child("name"), &name.into(), &wrong.join(",")));
        }
        deprecation(version, &path, errors);
        if !shared.schema {
            schema(version, &path.child("schema"), parse, errors);
        }
        if !shared.subresources {
            subresources(version, &path, errors);
        }
        if !shared.columns {
            columns(version, &path, errors);
        }
        if !shared.selectable_fields {
            selectable_fields(version, &path, errors);
        }
    }
    if !unique {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid_shown(at_versions, &shown(spec, &versions), detail));
    }
    if versions.iter().filter(|version| flag(version, "storage")).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid_shown(at_versions, &shown(spec, &versions), detail));
    }
    // The first version is also the old `spec.version`.
    let first = versions.first().map(|version| text(version, "name")).unwrap_or_default();
    let wrong = names::dns1035_label(first);
    if !first.is_empty() && !wrong.is_empty() {
        errors.push(FieldError::invalid(path.child("version"), &first.into(), &wrong.join(",")));
    }
    validate_names(spec, &path.child("names"), errors);
    if let Some(version) = versions.first() {
        if shared.schema {
            schema(version, &path.child("validation"), parse, errors);
        }
        if shared.subresources {
            subresources(version, path, errors);
        }
        if shared.columns {
            columns(version, path, errors);
        }
        if shared.selectable_fields {
            selectable_fields(version, path, errors);
        }
    }
    conversion(spec, needs_known_review, &path.child("conversion"), errors);
}

/// The fields that are equal in all versions.
struct Shared {
    schema: bool,
    subresources: bool,
    columns: bool,
    selectable_fields: bool,
}

impl Shared {
    fn of(versions: &[&Json]) -> Self {
        let alike = |field: &str| {
            let mut values =
                versions.iter().map(|version| version.get(field).filter(|value| !value.is_null()));
            let first = values.next();
            first.is_none_or(|first| values.all(|value| value == first))
        };
        Self {
            schema: alike("schema"),
            subresources: alike("subresources"),
            columns: alike("additionalPrinterColumns"),
            selectable_fields: alike("selectableFields"),
        }
    }
}

fn schema(version: &Json, path: &FieldPath<'_>, parse: ParseSchema<'_>, errors: &mut Vec<FieldError>) {
    let Some(openapi) = schema_of(version) else { return };
    let path = path.child("openAPIV3Schema");
    let has_status =
        object(version, "subresources").is_some_and(|subresources| object(subresources, "status").is_some());
    if let (true, Some(json)) = (has_status, openapi.as_object()) {
        let is_zero = |value: &Value| value.is_null() || *value == json!(false) || *value == json!("");
        let other = json.iter().find(|(field, value)| !is_zero(value) && !AT_ROOT.contains(&field.as_str()));
        if text(json, "type") != "object" && !text(json, "type").is_empty() {
            let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            errors.push(FieldError::invalid(path.child("type"), &json["type"], detail));
        } else if other.is_some() {
            let allowed: Vec<_> = AT_ROOT.iter().map(|field| go_name(field)).collect();
            let detail = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                allowed.join(" ")
            );
            errors.push(FieldError::invalid(path, openapi, &detail));
        }
    }
    let name = text(version, "name");
    errors.extend(parse(name, openapi, &path.to_string()).err().map(|errors| errors.0).unwrap_or_default());
}

/// Returns the name of a schema's field in Go's struct: `x-kubernetes-validations` is `XValidations`.
fn go_name(field: &str) -> String {
    let upper = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    match field.strip_prefix("x-kubernetes-") {
        Some(name) => format!("X{}", name.split('-').map(upper).collect::<String>()),
        None => upper(field),
    }
}

fn subresources(version: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let Some(scale) = object(version, "subresources").and_then(|subresources| object(subresources, "scale"))
    else {
        return;
    };
    let path = path.child("subresources");
    let fields: [(_, _, &[&str], _); 3] = [
        ("scale.specReplicasPath", "specReplicasPath", &[".spec."], "should be a json path under .spec"),
        (
            "scale.statusReplicasPath",
            "statusReplicasPath",
            &[".status."],
            "should be a json path under .status",
        ),
        (
            "scale.labelSelectorPath",
            "labelSelectorPath",
            &[".spec.", ".status."],
            "should be a json path under either .spec or .status",
        ),
    ];
    for (at, field, below, detail) in fields {
        let value = text(scale, field);
        let path = path.child(at);
        if value.is_empty() {
            if field != "labelSelectorPath" {
                errors.push(FieldError::required(path, ""));
            }
        } else if !value.starts_with('.') {
            errors.push(FieldError::invalid(
                path,
                &value.into(),
                "must be a simple json path starting with .",
            ));
        } else if !below.iter().any(|prefix| value.starts_with(prefix)) {
            errors.push(FieldError::invalid(path, &value.into(), detail));
        }
    }
}

fn columns(version: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let list_path = path.child("additionalPrinterColumns");
    for (index, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let Value::Object(column) = column else { continue };
        let path = list_path.index(index);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        let kind = text(column, "type");
        let kinds = "must be one of boolean,date,integer,number,string";
        if kind.is_empty() {
            errors.push(FieldError::required(path.child("type"), kinds));
        } else if !matches!(kind, "boolean" | "date" | "integer" | "number" | "string") {
            errors.push(FieldError::invalid(path.child("type"), &kind.into(), kinds));
        }
        let format = text(column, "format");
        let formats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
        if !format.is_empty() && !formats.contains(&format) {
            let detail = format!("must be one of {}", formats.join(","));
            errors.push(FieldError::invalid(path.child("format"), &format.into(), &detail));
        }
        let json_path = text(column, "jsonPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(path.child("JSONPath"), ""));
        } else if !json_path.starts_with('.') {
            let detail = "must be a simple json path starting with .";
            errors.push(FieldError::invalid(path.child("JSONPath"), &json_path.into(), detail));
        }
    }
}

fn selectable_fields(version: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let fields = list(version, "selectableFields");
    let Some(openapi) = schema_of(version).and_then(Value::as_object) else { return };
    if fields.is_empty() {
        return;
    }
    let schema = read::lenient(openapi);
    let list_path = path.child("selectableFields");
    let mut seen = BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let path = list_path.index(index);
        let path = path.child("jsonPath");
        let json_path = field.get("jsonPath").and_then(Value::as_str).unwrap_or_default();
        if json_path.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let shown = json_path.into();
        let (resolved, found) = match field_path::resolve(json_path, &schema, false) {
            Ok(found) => found,
            Err(error) => {
                errors.push(FieldError::invalid(path, &shown, &format!("is an invalid path: {error}")));
                continue;
            }
        };
        if resolved == "metadata" || resolved.starts_with("metadata.") {
            errors.push(FieldError::invalid(path, &shown, "must not point to fields in metadata"));
        }
        if !matches!(found.kind, Some(SchemaType::String | SchemaType::Boolean | SchemaType::Integer)) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                          formats are allowed.";
            errors.push(FieldError::invalid(path, &shown, detail));
        }
        if !seen.insert(resolved) {
            errors.push(FieldError::duplicate(path, &shown));
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(list_path, seen.len(), SELECTABLE_MAX));
    }
}

fn deprecation(version: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let Some(shown @ Value::String(warning)) = version.get("deprecationWarning") else { return };
    let path = path.child("deprecationWarning");
    let mut invalid = |detail: &str| errors.push(FieldError::invalid(path, shown, detail));
    if !flag(version, "deprecated") {
        return invalid("can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        invalid("must be <= 256 characters long");
    }
    if warning.is_empty() {
        invalid("must not be an empty string");
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        invalid(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {index}"
        ));
    }
}

fn validate_names(spec: &Json, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let empty = Json::new();
    let names = object(spec, "names").unwrap_or(&empty);
    for field in ["plural", "singular", "kind", "listKind"] {
        if text(names, field).is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
        }
    }
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = text(names, field);
        let is_kind = matches!(field, "kind" | "listKind");
        let wrong = names::dns1035_label(&if is_kind { name.to_lowercase() } else { name.to_owned() });
        if !name.is_empty() && !wrong.is_empty() {
            let mixed = if is_kind { "may have mixed case, but should otherwise match: " } else { "" };
            errors.push(FieldError::invalid(
                path.child(field),
                &name.into(),
                &format!("{mixed}{}", wrong.join(",")),
            ));
        }
    }
    let mut each = |field: &str| {
        let path = path.child(field);
        for (index, name) in list(names, field).iter().enumerate() {
            let wrong = names::dns1035_label(name.as_str().unwrap_or_default());
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(path.index(index), name, &wrong.join(",")));
            }
        }
    };
    each("shortNames");
    each("categories");
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(path.child("listKind"), &kind.into(), detail));
    }
}

fn conversion(spec: &Json, needs_known_review: bool, path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    let Some(conversion) = object(spec, "conversion") else { return };
    let strategy = text(conversion, "strategy");
    let at_strategy = path.child("strategy");
    if strategy != "None" && flag(spec, "preserveUnknownFields") {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(FieldError::invalid(at_strategy, &strategy.into(), detail));
    }
    one_of(strategy, &["None", "Webhook"], &at_strategy, errors);
    let empty = Json::new();
    let webhook = object(conversion, "webhook").unwrap_or(&empty);
    let client = object(webhook, "clientConfig");
    let (at_client, at_reviews) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.push(FieldError::forbidden(at_client, detail));
        }
        if !list(webhook, "conversionReviewVersions").is_empty() {
            errors.push(FieldError::forbidden(at_reviews, detail));
        }
        return;
    }
    match client {
        None => errors.push(FieldError::required(at_client, "required when strategy is set to Webhook")),
        Some(client) => webhook::client(client, &at_client, errors),
    }
    webhook::reviews(webhook, needs_known_review, &at_reviews, errors);
}

/// Checks the versions in which objects may be stored. Without a status, this is the storage version of `spec`.
fn validate_stored_versions(crd: &Value, spec: &Json, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "status.storedVersions";
    let versions = list(spec, "versions");
    let name = |version: &Value| version["name"].clone();
    let storage = versions.iter().filter(|version| version["storage"] == true).map(name);
    let stored = match crd["status"]["storedVersions"].as_array() {
        Some(stored) => stored.clone(),
        None => storage.clone().take(1).collect(),
    };
    if stored.is_empty() {
        errors.push(FieldError::invalid(FIELD, &Value::Null, "must have at least one stored version"));
        return;
    }
    for other in storage.filter(|name| !stored.contains(name)) {
        let detail = format!("must have the storage version {}", other.as_str().unwrap_or_default());
        errors.push(FieldError::invalid(FIELD, &stored.clone().into(), &detail));
    }
    for (index, version) in stored.iter().enumerate() {
        if !versions.iter().any(|other| name(other) == *version) {
            let gone = version.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {gone} was previously a storage version, and must remain in spec.versions until \
                 a storage migration ensures no data remains persisted in {gone} and removes {gone} from status.storedVersions"
            );
            errors.push(FieldError::invalid(format_args!("{FIELD}[{index}]"), version, &detail));
        }
    }
}

/// The approval of a CRD in one of Kubernetes' own groups, which its annotation states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// By the URL of the approval.
    Approved,
    /// The annotation says that there is none, and why.
    Unapproved,
    /// There is no annotation.
    Missing,
    /// The annotation is neither a URL nor a reason.
    Invalid,
}

/// Returns the approval of a CRD, with kube-apiserver's words for it. `None` if its group needs none.
pub fn approval(crd: &Value) -> Option<(Approval, String)> {
    let group = crd["spec"]["group"].as_str().unwrap_or_default();
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|own| group.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    if !is_protected {
        return None;
    }
    let given = crd["metadata"]["annotations"][APPROVED].as_str().unwrap_or_default();
    let required = format!("protected groups must have approval annotation \"{APPROVED}\"");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let is_url = Url::parse(given).is_ok_and(|url| !url.scheme().is_empty() && !url.host().is_empty());
    Some(if given.is_empty() {
        (Approval::Missing, format!("{required}, {see}"))
    } else if given.starts_with("unapproved") {
        (Approval::Unapproved, format!("not approved: {}", go::quote(given)))
    } else if is_url {
        (Approval::Approved, format!("approved in {given}"))
    } else {
        let either = "with either a URL or a reason starting with \"unapproved\"";
        (Approval::Invalid, format!("{required} {either}, {see}"))
    })
}

fn validate_approval(crd: &Value, metadata: &Json, errors: &mut Vec<FieldError>) {
    let field = format!("metadata.annotations[{APPROVED}]");
    match approval(crd) {
        Some((Approval::Missing, detail)) => errors.push(FieldError::required(field, &detail)),
        Some((Approval::Invalid, detail)) => {
            let given = object(metadata, "annotations").map(|it| text(it, APPROVED)).unwrap_or_default();
            errors.push(FieldError::invalid(field, &given.into(), &detail));
        }
        Some((Approval::Approved | Approval::Unapproved, _)) | None => {}
    }
}

fn one_of(value: &str, accepted: &[&str], path: &FieldPath<'_>, errors: &mut Vec<FieldError>) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !accepted.contains(&value) {
        errors.push(FieldError::not_supported(path, &value.into(), accepted));
    }
}

/// Formats the versions as kube-apiserver does, without the parts that can be shared between versions. Without a list of them,
/// that is null.
fn shown(spec: &Json, versions: &[&Json]) -> String {
    if !spec.get("versions").is_some_and(Value::is_array) {
        return "null".to_owned();
    }
    let shown = |version: &&Json| {
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":null,\
             \"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}}",
            go::json(&text(version, "name").into()),
            flag(version, "served"),
            flag(version, "storage"),
            flag(version, "deprecated"),
            go::json(version.get("deprecationWarning").unwrap_or(&Value::Null)),
        )
    };
    format!("[{}]", versions.iter().map(shown).collect::<Vec<_>>().join(","))
}

fn schema_of(version: &Json) -> Option<&Value> {
    version.get("schema")?.get("openAPIV3Schema").filter(|schema| !schema.is_null())
}
