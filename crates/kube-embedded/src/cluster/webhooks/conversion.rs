//! Conversion webhooks of custom resources: apiextensions-apiserver's `pkg/apiserver/conversion/webhook_converter.go`.
//!
//! What is stored is in the version of its definition's `storage: true`. Clients of other versions get, and send, what the
//! webhook makes of it; if the webhook fails they get an error, never an object of another version.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use kube_schema::metadata;
use kube_validation::go::unstructured_type;
use kube_validation::{FieldErrors, FieldPath};
use serde_json::{Map, Value, json};

use super::client_config::ClientConfig;
use super::review::{check_exact_type, check_type, parse};
use crate::random::Random;
use crate::resource::{Resource, remove_empty_metadata, to_json};
use crate::status::{Cause, Status};
use crate::store::{Event, Object, Store};
use crate::strategy::texts;
use crate::webhook::{Client, Failure};

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much larger an answer may be than twice its question.
const ANSWER_EXTRA: usize = 16 * 1024 * 1024;

/// Converts objects of custom resources.
#[derive(Clone, Debug)]
pub(crate) struct Conversions {
    client: Arc<Client>,
    store: Arc<Store>,
    random: Random,
}

impl Conversions {
    pub(crate) fn new(client: Arc<Client>, store: Arc<Store>, random: Random) -> Self {
        Self { client, store, random }
    }

    /// Stored objects as a resource's clients get them, in one call of the webhook. They are the stored ones themselves if no
    /// webhook is needed.
    pub(crate) async fn shown(
        &self,
        resource: &Resource,
        mut objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        self.show_all(resource, &mut objects).await.map_err(|why| {
            let failed = objects.iter().filter(|object| is_other(resource, object)).map(|object| {
                let key = format!("/registry{}", path(resource, object));
                Cause {
                    reason: "UnexpectedServerResponse".to_owned(),
                    message: undecodable(&key, object, &why),
                    field: key,
                }
            });
            Status::storage_read_error(resource, failed.collect())
        })?;
        Ok(objects)
    }

    /// A stored object as a resource's clients get it.
    pub(crate) async fn shown_one(
        &self,
        resource: &Resource,
        object: Arc<Object>,
    ) -> Result<Arc<Object>, Status> {
        self.show(resource, &object)
            .await
            .map(|shown| shown.unwrap_or_else(|| Arc::clone(&object)))
            .map_err(|why| Status::internal_error(undecodable(&path(resource, &object), &object, &why)))
    }

    /// A stored object as a client gets it who wants to change it.
    pub(crate) async fn shown_for_update(
        &self,
        resource: &Resource,
        object: Arc<Object>,
    ) -> Result<Arc<Object>, Status> {
        let revision = object.revision;
        let refused = |why| Status::internal(format!("object not decodable revision={revision}: {why}"));
        Ok(self.show(resource, &object).await.map_err(refused)?.unwrap_or(object))
    }

    /// A stored object in the version of a resource. `None` if it is shown as it is.
    async fn show(&self, resource: &Resource, object: &Arc<Object>) -> Result<Option<Arc<Object>>, String> {
        let Some(webhook) = resource.conversion_webhook().filter(|_| is_other(resource, object)) else {
            return Ok(None);
        };
        let value = self.convert(webhook, resource.value(object), resource, &resource.api_version()).await?;
        Ok(Some(Arc::new(object.converted(&value))))
    }

    /// Replaces those of stored objects that are not shown as they are.
    async fn show_all(&self, resource: &Resource, objects: &mut [Arc<Object>]) -> Result<(), String> {
        let Some(webhook) = resource.conversion_webhook() else { return Ok(()) };
        let others: Vec<_> = objects.iter_mut().filter(|object| is_other(resource, object)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let values = others.iter().map(|object| resource.value(object)).collect();
        let converted = self.call(webhook, values, resource, &resource.api_version()).await?;
        for (object, value) in others.into_iter().zip(converted) {
            *object = Arc::new(object.converted(&value));
        }
        Ok(())
    }

    /// An event with its objects as clients get them.
    pub(crate) async fn shown_event(
        &self,
        resource: &Resource,
        event: Arc<Event>,
    ) -> Result<Arc<Event>, Status> {
        if resource.conversion_webhook().is_none() {
            return Ok(event);
        }
        let both = event.old.iter().chain(&event.new).cloned().collect();
        let mut shown = self.shown(resource, both).await?.into_iter();
        let old = event.old.as_ref().and_then(|_| shown.next());
        let new = event.new.as_ref().and_then(|_| shown.next());
        Ok(Arc::new(event.with(old, new)))
    }

    /// A client's object in the version in which it is stored.
    pub(crate) async fn stored<'a>(
        &self,
        resource: &Resource,
        object: &'a Value,
    ) -> Result<Cow<'a, Value>, Status> {
        let Some(webhook) = resource.conversion_webhook() else { return Ok(resource.encode(object)) };
        let Some(storage) = resource.storage_version() else { return Ok(Cow::Borrowed(object)) };
        if object["apiVersion"] == storage {
            return Ok(Cow::Borrowed(object));
        }
        let stored = self.convert(webhook, object.clone(), resource, storage).await;
        stored.map(Cow::Owned).map_err(Status::internal)
    }

    /// What was or would be stored, as a resource's clients get it.
    pub(crate) async fn read(&self, resource: &Resource, stored: Value) -> Result<Value, Status> {
        let decoded = resource.decode(stored);
        self.converted(resource, decoded).await
    }

    /// An object of another version of a resource in this one.
    pub(crate) async fn converted(&self, resource: &Resource, object: Value) -> Result<Value, Status> {
        let Some(webhook) = resource.conversion_webhook() else { return Ok(resource.converted(object)) };
        let wanted = resource.api_version();
        if object["apiVersion"] == wanted.as_str() {
            return Ok(object);
        }
        self.convert(webhook, object, resource, &wanted).await.map_err(Status::internal)
    }

    /// What a resource's webhook makes of an object.
    pub(crate) async fn in_version(
        &self,
        resource: &Resource,
        object: Value,
        wanted: &str,
    ) -> Result<Value, String> {
        match resource.conversion_webhook() {
            Some(webhook) => self.convert(webhook, object, resource, wanted).await,
            None => Err("there is no conversion webhook".to_owned()),
        }
    }

    async fn convert(
        &self,
        webhook: &Value,
        object: Value,
        resource: &Resource,
        wanted: &str,
    ) -> Result<Value, String> {
        let mut converted = self.call(webhook, vec![object], resource, wanted).await?;
        converted.pop().ok_or_else(|| "nothing was converted".to_owned())
    }

    /// Converts objects. Errors name the version of the first one.
    async fn call(
        &self,
        webhook: &Value,
        objects: Vec<Value>,
        resource: &Resource,
        wanted: &str,
    ) -> Result<Vec<Value>, String> {
        let from = objects[0]["apiVersion"].as_str().unwrap_or_default();
        let of = format!("conversion webhook for {from}, Kind={}", resource.kind);
        let fail = |why: &dyn std::fmt::Display| format!("{of} {why}");
        let failed = |why: &dyn std::fmt::Display| fail(&format_args!("failed: {why}"));
        let versions = texts(&webhook["conversionReviewVersions"]);
        let version = versions.iter().find(|version| matches!(version.as_str(), "v1" | "v1beta1"));
        let version = version.ok_or("no supported conversion review versions")?;
        let uid = self.random.uuid().to_string();
        let api_version = format!("apiextensions.k8s.io/{version}");
        let review = json!({
            "kind": "ConversionReview", "apiVersion": api_version,
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
        });
        let body = to_json(&review);
        let limit = 2 * body.len() + ANSWER_EXTRA;
        let location = ClientConfig::parse(&webhook["clientConfig"]).location(&self.store);
        let sent = self.client.post(&location, body.into(), TIMEOUT, limit).await;
        let answer = sent.map_err(|error| match error {
            Failure::Unusable(why) => why,
            Failure::Failed(why) => failed(&why),
        })?;
        let converted = answered(&answer, &api_version, &uid).map_err(|why| failed(&why))?;
        if converted.len() != objects.len() {
            let (got, expected) = (converted.len(), objects.len());
            return Err(fail(&format_args!("returned {got} objects, expected {expected}")));
        }
        let all = objects.iter().zip(converted).map(|(object, mut converted)| {
            check(object, &converted, wanted, &resource.kind)
                .map_err(|why| fail(&format_args!("returned invalid object{why}")))?;
            restore_metadata(object, &mut converted)
                .map_err(|why| fail(&format_args!("returned invalid metadata: {why}")))?;
            resource.prune(&mut converted, wanted);
            remove_empty_metadata(&mut converted);
            Ok(converted)
        });
        all.collect()
    }
}

/// Whether a stored object is of another version than a resource.
fn is_other(resource: &Resource, object: &Object) -> bool {
    !object.is_of_version(&resource.api_version())
}

/// The key of an object in etcd, without its prefix.
fn path(resource: &Resource, object: &Object) -> String {
    format!("/{}/{}/{}", resource.group, resource.plural, object.key)
}

fn undecodable(key: &str, object: &Object, why: &str) -> String {
    let revision = object.revision;
    format!(
        "StorageError: corrupt object, Code: 7, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: object not decodable \
         revision={revision}: {why}"
    )
}

/// The objects in the answer to the review with a uid.
fn answered(body: &[u8], expected: &str, uid: &str) -> Result<Vec<Value>, String> {
    let mut review = Value::Object(parse(body)?);
    let text = |field: &str| review[field].as_str().unwrap_or_default();
    check_type(text("apiVersion"), text("kind"), expected, "ConversionReview")?;
    // What v1beta1 answers was never verified.
    let is_verified = expected.ends_with("/v1");
    if is_verified {
        check_exact_type(text("apiVersion"), text("kind"), expected, "ConversionReview")?;
    }
    let response = &mut review["response"];
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    if is_verified && response["uid"] != uid {
        let got = response["uid"].as_str().unwrap_or_default();
        return Err(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    let result = &response["result"];
    if result["status"] != "Success" {
        let status = result["status"].as_str().unwrap_or_default();
        return Err(match result["message"].as_str() {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => format!("response.result.status was '{status}', not 'Success'"),
        });
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// Refuses something else than the object in the wanted version.
fn check(object: &Value, converted: &Value, wanted: &str, kind: &str) -> Result<(), String> {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let got = text(&converted["apiVersion"]);
    if got != wanted {
        return Err(format!(" at index 0: invalid groupVersion (expected {wanted}, received {got})"));
    }
    let got = text(&converted["kind"]);
    if got != kind {
        return Err(format!(" at index 0: invalid kind (expected {kind}, received {got})"));
    }
    for (field, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (before, after) = (text(&object["metadata"][field]), text(&converted["metadata"][field]));
        if before != after {
            return Err(format!(": must have the same {name}: {before} != {after}"));
        }
    }
    Ok(())
}

/// Gives a converted object the metadata that it had, except for labels and annotations.
fn restore_metadata(object: &Value, converted: &mut Value) -> Result<(), String> {
    let given = match converted.get_mut("metadata").map(Value::take) {
        None => return Err("missing metadata in converted object".to_owned()),
        Some(Value::Object(given)) => given,
        Some(other) => {
            return Err(format!(
                "invalid metadata of type {} in converted object",
                unstructured_type(&other)
            ));
        }
    };
    let mut restored = object["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field) {
            None | Some(Value::Null) => _ = restored.remove(field),
            Some(Value::Object(members)) => {
                if restored.get(field).and_then(Value::as_object) != Some(members) {
                    check_texts(field, &given)?;
                }
                restored.insert(field.to_owned(), Value::Object(members.clone()));
            }
            Some(other) => {
                return Err(format!(
                    "invalid metadata.{field} of type {} in converted object",
                    unstructured_type(other)
                ));
            }
        }
    }
    converted["metadata"] = Value::Object(restored);
    Ok(())
}

fn check_texts(field: &str, metadata: &Map<String, Value>) -> Result<(), String> {
    let members = metadata[field].as_object().into_iter().flatten();
    if let Some((name, value)) = members.into_iter().find(|(_, value)| !value.is_string()) {
        let found = unstructured_type(value);
        return Err(format!("metadata.{field}[{name}] must be a string, but is {found} in converted object"));
    }
    let mut errors = Vec::new();
    let metadata_path = FieldPath::Root("metadata");
    match field {
        "labels" => metadata::labels(metadata, &metadata_path.child(field), &mut errors),
        _ => metadata::annotations(metadata, &metadata_path.child(field), &mut errors),
    }
    if errors.is_empty() { Ok(()) } else { Err(FieldErrors(errors).to_string()) }
}
