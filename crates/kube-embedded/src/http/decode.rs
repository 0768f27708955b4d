//! Decodes the object, patch or options that a client sent, in JSON, YAML or, for built-in kinds, protobuf.

use http::{HeaderMap, header};
use kube_builtin::protobuf;
use kube_validation::FieldPath;
use kube_validation::go::quote;
use serde::de::DeserializeSeed;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::query::FieldValidation;
use super::request::Request;
use super::yaml::{self, Document};
use crate::cluster::check_type;
use crate::resource::Resource;
use crate::status::Status;
use crate::strategy;

/// The encoding of a body.
#[derive(Clone, Copy)]
enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// The media type of a body, without its parameters. `None`: not set.
pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim).filter(|value| !value.is_empty())
}

/// Decodes the object of a create or a PUT, with its `apiVersion` and `kind`, and records warnings.
pub(super) fn object(request: &Request<'_>, validation: FieldValidation) -> Result<Value, Status> {
    let encoding = encoding(request)?;
    let resource = request.resource;
    if matches!(encoding, Encoding::Protobuf) && resource.custom.is_some() {
        // There is no message type for it. kube-apiserver drops the connection.
        return Err(Status::unsupported_media_type(&["application/json", "application/yaml"]));
    }
    let unrecognized = |why: String| unrecognized(request, &resource.kind, &why);
    let mut duplicates = Vec::new();
    let mut object = match encoding {
        Encoding::Json => {
            let mut paths = Vec::new();
            let object = parse_json(request.body, &mut paths).map_err(|error| {
                unrecognized(format!(
                    "couldn't get version/kind; json parse error: {}",
                    go_json_error(&error)
                ))
            })?;
            duplicates.extend(paths.iter().map(|path| format!("duplicate field {}", quote(path))));
            object
        }
        Encoding::Yaml => {
            let document = yaml::parse(request.body).map_err(unrecognized)?;
            duplicates = match validation {
                FieldValidation::Strict => document.strict_error().into_iter().collect(),
                _ => document.repeated,
            };
            document.value
        }
        Encoding::Protobuf => decode_protobuf(request, &resource.api_version(), &resource.kind)?,
    };
    if !object.is_object() {
        let why = "couldn't get version/kind; json parse error: json: cannot unmarshal into an object";
        return Err(unrecognized(why.to_owned()));
    }
    check_body_type(resource, &mut object, &unrecognized)?;
    let refuse = |why: &str| undecodable(&resource.version, &resource.kind, why);
    let unknown = strategy::normalize(resource, &mut object).map_err(|error| refuse(&error.to_string()))?;
    request.warnings.extend(validation.warnings(duplicates, &unknown, refuse)?);
    Ok(object)
}

/// Decodes the object in a protobuf body. It has the given type if the body does not name one.
pub(super) fn decode_protobuf(request: &Request<'_>, api_version: &str, kind: &str) -> Result<Value, Status> {
    protobuf::decode(request.body, api_version, kind).map_err(|error| match error.type_meta {
        None => unrecognized(request, kind, &error.problem.to_string()),
        Some((api_version, given)) => {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            let why = error.problem;
            Status::bad_request(format!(
                "{given} in version {version:?} cannot be handled as a {kind}: {why}"
            ))
        }
    })
}

/// Decodes the object of a POST to a subresource, whose type differs from its resource's. The body may omit the type.
pub(super) fn subresource(request: &Request<'_>, api_version: &str, kind: &str) -> Result<Value, Status> {
    let mut object = match encoding(request)? {
        Encoding::Protobuf => decode_protobuf(request, api_version, kind)?,
        Encoding::Json | Encoding::Yaml => {
            yaml(request.body).map_err(|why| unrecognized(request, kind, &why))?.value
        }
    };
    if !object.is_object() {
        let why = "couldn't get version/kind; json parse error: json: cannot unmarshal into an object";
        return Err(unrecognized(request, kind, why));
    }
    let differs = |field: &str, expected: &str| {
        object[field].as_str().is_some_and(|given| !given.is_empty() && given != expected)
    };
    if differs("apiVersion", api_version) || differs("kind", kind) {
        let given = object["kind"].as_str().filter(|given| !given.is_empty()).unwrap_or(kind);
        let version = object["apiVersion"].as_str().unwrap_or(api_version);
        return Err(Status::bad_request(format!(
            "{given} in version {:?} cannot be handled as a {kind}: no kind {given:?} is registered for version \
             {version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            version.rsplit('/').next().unwrap_or_default(),
        )));
    }
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(object)
}

/// Decodes the object of a POST to a subresource as [`subresource`] does, with all its fields.
pub(super) fn typed_subresource(
    request: &Request<'_>,
    api_version: &str,
    kind: &str,
) -> Result<Value, Status> {
    let object = subresource(request, api_version, kind)?;
    let version = api_version.rsplit('/').next().unwrap_or_default();
    match kube_builtin::decode(api_version, kind, &object) {
        Some(Ok(decoded)) => Ok(decoded.object),
        Some(Err(error)) => Err(undecodable(version, kind, &error.to_string())),
        None => Ok(object),
    }
}

/// 400 for an object of the right type that cannot be decoded.
pub(super) fn undecodable(version: &str, kind: &str, why: &str) -> Status {
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// Parses JSON. serde_json bounds the depth (128).
pub(super) fn parse_json(body: &[u8], duplicates: &mut Vec<String>) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Tracked { path: &FieldPath::Root(""), duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Parses a configuration or options, in JSON or YAML, as kube-apiserver's YAML decoder does.
pub(super) fn yaml(body: &[u8]) -> Result<Document, String> {
    let mut duplicates = Vec::new();
    match parse_json(body, &mut duplicates) {
        // JSON is YAML, too, and read faster.
        Ok(mut value) if duplicates.is_empty() => {
            yaml::make_integers(&mut value);
            Ok(Document { value, repeated: Vec::new() })
        }
        _ => yaml::parse(body),
    }
}

/// The `DeleteOptions` in a body, or null.
pub(super) fn options(request: &Request<'_>) -> Result<Value, Status> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    if matches!(encoding(request)?, Encoding::Protobuf) {
        return protobuf::delete_options(request.body).map_err(|why| Status::bad_request(why.to_string()));
    }
    let Document { value, .. } = yaml(request.body).map_err(|error| {
        Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    match value {
        Value::Object(_) | Value::Null => Ok(value),
        _ => Err(Status::bad_request(
            "couldn't get version/kind; json parse error: the options are not an object",
        )),
    }
}

/// The encoding of a body.
fn encoding(request: &Request<'_>) -> Result<Encoding, Status> {
    match media_type(request.headers) {
        None | Some("application/json" | "application/x-www-form-urlencoded") => Ok(Encoding::Json),
        Some("application/yaml") => Ok(Encoding::Yaml),
        Some(protobuf::MEDIA_TYPE) => Ok(Encoding::Protobuf),
        Some(_) => Err(Status::unsupported_media_type(&[
            "application/json",
            "application/yaml",
            protobuf::MEDIA_TYPE,
        ])),
    }
}

/// 400 for a body whose type cannot be determined, with the beginning of the body.
fn unrecognized(request: &Request<'_>, kind: &str, why: &str) -> Status {
    let body = request.body;
    let shown = body.get(..30).unwrap_or(body);
    let more = if shown.len() < body.len() { " ..." } else { "" };
    let shown = match shown {
        [] => "<empty>".to_owned(),
        [b'{', ..] => String::from_utf8_lossy(shown).into_owned(),
        bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({shown}{more})"
    ))
}

/// Refuses an object of another type than the request's. Built-in objects may omit theirs.
fn check_body_type(
    resource: &Resource,
    object: &mut Value,
    unrecognized: &impl Fn(String) -> Status,
) -> Result<(), Status> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    if resource.custom.is_some() {
        if kind.is_empty() {
            return Err(unrecognized(format!("Object 'Kind' is missing in '{object}'")));
        }
        return check_type(resource, object);
    }
    let matches_kind = kind.is_empty() || kind == resource.kind;
    let matches_version = version.is_empty() || version == resource.api_version();
    if !(matches_kind && matches_version) {
        let kind = if kind.is_empty() { &resource.kind } else { &kind };
        let full = if version.is_empty() { resource.api_version() } else { version };
        let short = full.rsplit('/').next().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{kind} in version {short:?} cannot be handled as a {}: no kind {kind:?} is registered for version {full:?} \
             in scheme \"pkg/runtime/scheme.go:111\"",
            resource.kind
        )));
    }
    resource.set_type(object);
    Ok(())
}

/// The beginning of Go's message for a JSON error.
fn go_json_error(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// Parses a value, and records the paths of duplicate members.
struct Tracked<'a> {
    path: &'a FieldPath<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Tracked<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tracked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Go has no larger integers here.
        #[expect(clippy::cast_precision_loss, reason = "as in Go")]
        Ok(i64::try_from(value).map_or_else(|_| (value as f64).into(), Value::from))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // serde_json makes a float of `-0`.
        Ok(if value == 0.0 && value.is_sign_negative() { 0.into() } else { value.into() })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        loop {
            let path = self.path.index(array.len());
            match items.next_element_seed(Tracked { path: &path, duplicates: &mut *self.duplicates })? {
                Some(item) => array.push(item),
                None => return Ok(Value::Array(array)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let path = self.path.child(&key);
            let value =
                members.next_value_seed(Tracked { path: &path, duplicates: &mut *self.duplicates })?;
            if map.contains_key(&key) {
                self.duplicates.push(path.to_string());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
