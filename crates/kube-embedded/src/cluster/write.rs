//! The pipeline of a client's write: decode, mutate, prepare, validate, admit, allocate and store, followed by the
//! hooks.
//!
//! This combines kube-apiserver's handlers with the `Store` of `k8s.io/apiserver/pkg/registry/generic/registry`. A
//! write that loses a race starts over from the state that won.

use std::sync::Arc;

use kube_patch::Writer;
use kube_validation::FieldError;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::admission_request::{AdmissionRequest, Operation, RequestOptions};
use super::commit::Committed;
use super::converter::{Converter, merge};
use super::rule::Attributes;
use super::services::{Allocation, AllocationError};
use super::state::Cluster;
use super::target::Target;
use crate::resource::{Resource, SERVICE, Versions, empty_metadata, to_json};
use crate::status::{Cause, Status};
use crate::store::{Error, Object};
use crate::strategy;
use crate::user::User;
use crate::warnings::Warnings;

/// How often a PUT or an apply is retried if other clients keep creating and deleting its object.
const ATTEMPTS: usize = 5;
/// How deep the values of an object may be nested. The server parses the object that it stores with its managed fields,
/// which repeat its fields four levels further down; serde_json parses 127 levels.
const MAX_DEPTH: usize = 120;
/// How often a new name is generated if it is taken, as in kube-apiserver.
const NAMES: usize = 8;

/// A client's write.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) user: &'a User,
    pub(crate) method: WriteMethod,
    pub(crate) resource: &'a Arc<Resource>,
    /// From the request's path. Empty for a cluster-scoped object.
    pub(crate) namespace: &'a str,
    /// From the request's path. Empty for a create.
    pub(crate) name: &'a str,
    /// Empty: the object itself.
    pub(crate) subresource: &'a str,
    /// The field manager.
    pub(crate) manager: &'a str,
    /// Its options, as the client gave them.
    pub(crate) options: RequestOptions<'a>,
    pub(crate) dry_run: bool,
    /// When the client's patience ends.
    pub(crate) deadline: Instant,
    pub(crate) warnings: &'a Warnings,
}

/// The kind of a client's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteMethod {
    /// POST
    Create,
    /// PUT
    Update,
    /// PATCH, except for apply
    Patch,
    /// Server-side apply
    Apply,
}

/// Makes the object that a client wants from the current one: the decode step of a write to an existing object.
///
/// It may be called again, with what it lacked of the converter.
pub(crate) type Decode<'a> = &'a (dyn Fn(&Value, &Converter<'_>) -> Result<Value, Status> + Send + Sync);

/// The result of a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) created: bool,
}

/// One attempt at a write, passed from step to step.
struct Attempt<'a> {
    write: &'a Write<'a>,
    target: Target<'a>,
    /// The object so far.
    new: Value,
    /// The object that it replaces. `None` for a create.
    old: Option<Current>,
    /// The request would create an object that has a resourceVersion.
    versioned: bool,
}

/// The existing object.
struct Current {
    stored: Arc<Object>,
    value: Value,
}

/// The result of an attempt.
enum Outcome {
    Written(Written),
    /// An object of this name already exists.
    Taken(Status),
    /// The object has changed in the meantime.
    Changed,
}

/// Allocations for a Service that is not stored yet. Dropping this releases them.
struct Reserved<'a> {
    cluster: &'a Cluster,
    allocation: Option<Allocation>,
}

impl Cluster {
    /// Stores a new object.
    pub(crate) async fn create(&self, write: &Write<'_>, mut object: Value) -> Result<Written, Status> {
        let resource = write.resource;
        let text =
            |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        // The version was removed from objects that PUT and apply create; a text that is not a number is no version.
        let versioned = write.method == WriteMethod::Create
            && text(&object, "resourceVersion").parse::<u64>().is_ok_and(|version| version != 0);
        set_namespace(&mut object, write.namespace)?;
        check_depth(&object)?;
        remove_identity(&mut object);
        if write.method != WriteMethod::Apply {
            self.track(write, &mut object, None).await;
        }
        let name = if write.name.is_empty() { text(&object, "name") } else { write.name.to_owned() };
        self.mutate(&write.admission(Operation::Create, &name), &mut object, None).await?;
        // Webhooks may have changed it.
        write.warnings.extend(strategy::remove_repeated_owners(&mut object, true));
        set_namespace(&mut object, write.namespace)?;
        let (given, base) = (text(&object, "name"), text(&object, "generateName"));
        self.confirm_grant(
            write.user,
            Target { resource, namespace: write.namespace, name: &given },
            write.name,
            &object,
            None,
        )?;
        let generates = given.is_empty() && !base.is_empty();
        for others in (0..if generates { NAMES } else { 1 }).rev() {
            let name = if generates { self.random.name(&base) } else { given.clone() };
            let identity = Identity {
                namespace: write.namespace,
                name: &name,
                uid: self.random.uuid(),
                created: &self.clock.seconds(),
            };
            set_identity(resource, &mut object, &identity);
            let attempt = Attempt {
                write,
                target: Target { resource, namespace: write.namespace, name: &name },
                // The last attempt needs no copy.
                new: if others == 0 { std::mem::take(&mut object) } else { object.clone() },
                old: None,
                versioned,
            };
            match self.run(attempt).await? {
                Outcome::Written(written) => return Ok(written),
                Outcome::Taken(taken) if others == 0 => return Err(taken),
                Outcome::Taken(_) | Outcome::Changed => {}
            }
        }
        Err(Status::already_exists(resource, &given))
    }

    /// Stores the next state of an object, which `decode` makes of the current one.
    pub(crate) async fn update(&self, write: &Write<'_>, decode: Decode<'_>) -> Result<Written, Status> {
        let Write { resource, namespace, name, .. } = *write;
        // Each attempt that loses a race means that another client's write has succeeded.
        loop {
            let stored = self.object(resource, namespace, name)?;
            let shown = self.conversions.shown_for_update(resource, Arc::clone(&stored)).await?;
            let mut old = resource.value(&shown);
            resource.set_type(&mut old);
            let mut new = merge(resource, &self.conversions, |converter| decode(&old, converter)).await?;
            check_target(write, &mut new)?;
            match &resource.custom {
                Some(_) => check_type(resource, &new)?,
                None => resource.set_type(&mut new),
            }
            check_depth(&new)?;
            let target = Target { resource, namespace, name };
            if tracks_early(write) {
                self.track(write, &mut new, Some(&old)).await;
            }
            self.mutate(&write.admission(Operation::Update, name), &mut new, Some(&old)).await?;
            write.warnings.extend(strategy::remove_repeated_owners(&mut new, true));
            self.confirm_grant(write.user, target, name, &new, Some(&old))?;
            check_version(write, &mut new, &old)?;
            let attempt =
                Attempt { write, target, new, old: Some(Current { stored, value: old }), versioned: false };
            match self.run(attempt).await? {
                Outcome::Written(written) => return Ok(written),
                Outcome::Taken(taken) => return Err(taken),
                Outcome::Changed => {}
            }
        }
    }

    /// Stores the next state of an object, or creates it if it does not exist and the resource lets a PUT create
    /// objects.
    pub(crate) async fn update_or_create(&self, write: &Write<'_>, object: Value) -> Result<Written, Status> {
        let decode = |_: &Value, _: &Converter<'_>| Ok(object.clone());
        match strategy::allows_create_on_update(write.resource) {
            true => self.update_else_create(write, &decode, &|| Ok(object.clone())).await,
            false => self.update(write, &decode).await,
        }
    }

    /// Stores the next state of an object, or creates the object of `new` if it does not exist. Subresources create none.
    async fn update_else_create(
        &self,
        write: &Write<'_>,
        decode: Decode<'_>,
        new: &(dyn Fn() -> Result<Value, Status> + Send + Sync),
    ) -> Result<Written, Status> {
        let mut written = Err(Status::no_such_path());
        for _ in 0..ATTEMPTS {
            written = self.update(write, decode).await;
            if !matches!(&written, Err(status) if status.code == 404 && write.subresource.is_empty()) {
                break;
            }
            written = self.create(write, new()?).await;
            // Otherwise, another client created it in the meantime.
            if !matches!(&written, Err(status) if status.code == 409) {
                break;
            }
        }
        written
    }

    /// Applies a configuration to the object at the write's path, or creates it.
    pub(crate) async fn apply(
        &self,
        write: &Write<'_>,
        applied: &Value,
        force: bool,
    ) -> Result<Written, Status> {
        let resource = write.resource;
        let applied_to = |old: Option<&Value>, converter: &Converter<'_>| {
            if let Some(version) = old.and_then(|old| resource.gone_version(old)) {
                let why = format!("request to convert CR to an invalid group/version: {version}");
                return Err(Status::internal(why));
            }
            let writer = self.writer(write, true, converter, |writer| {
                kube_patch::apply(resource.merge_type(), old, applied, writer, force)
            });
            let mut object = writer.map_err(|error| match error {
                kube_patch::ApplyError::Conflict(conflicts) => apply_conflict(conflicts),
                kube_patch::ApplyError::Invalid(message) => Status::bad_request(message),
                other => Status::internal(other.to_string()),
            })?;
            strategy::normalize_applied(resource, &mut object).map_err(|why| {
                let (version, kind) = (resource.api_version(), &resource.kind);
                Status::internal(format!(
                    "failed to convert new object (/{}; {version}, Kind={kind}) to proper version: unable to convert \
                     unstructured object to {version}, Kind={kind}: {why}",
                    write.name
                ))
            })?;
            check_target(write, &mut object)?;
            Ok(object)
        };
        let new = || {
            let uid = applied["metadata"]["uid"].as_str().unwrap_or_default();
            if uid.is_empty() {
                return applied_to(None, &Converter::new(resource));
            }
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            Err(Status::conflict(resource, write.name, &why))
        };
        self.update_else_create(write, &|old, converter| applied_to(Some(old), converter), &new).await
    }

    /// Runs the steps after mutation.
    async fn run(&self, mut attempt: Attempt<'_>) -> Result<Outcome, Status> {
        self.prepare(&mut attempt).await;
        self.validate(&attempt)?;
        self.admit(&attempt).await?;
        let reserved = self.allocate(&mut attempt)?;
        self.store(attempt, reserved).await
    }

    /// Prepare: resets the fields that the client may not write to their previous or initial values.
    async fn prepare(&self, attempt: &mut Attempt<'_>) {
        let Attempt { write, new, .. } = attempt;
        match &attempt.old {
            None => strategy::prepare_create(write.resource, new, write.user),
            Some(old) => strategy::prepare_update(write.resource, write.subresource, new, &old.value),
        }
        if let Some(old) = &attempt.old {
            if !tracks_early(write) && write.method != WriteMethod::Apply {
                self.track(write, &mut attempt.new, Some(&old.value)).await;
            }
            kube_patch::keep_times(&old.value, &mut attempt.new);
        }
    }

    /// Validate: collects the strategy's errors, and records its warnings.
    fn validate(&self, attempt: &Attempt<'_>) -> Result<(), Status> {
        let Attempt { write, target, new, .. } = attempt;
        let definition = new["metadata"]["name"].as_str().unwrap_or_default();
        let mut parse = |version: &str, openapi: &Value, path: &str| {
            let scheme = self.scheme();
            let before = scheme.versions(definition).map(Arc::as_ref);
            Versions::parse_schema(before, version, openapi, path, &self.schemas).map(drop)
        };
        let found = match &attempt.old {
            None => strategy::validate_create(write.resource, new, &mut parse),
            Some(old) => {
                strategy::validate_update(write.resource, write.subresource, new, &old.value, &mut parse)
            }
        };
        write.warnings.extend(found.warnings);
        if !found.errors.is_empty() {
            let Target { resource, name, .. } = *target;
            // An Event of `events.k8s.io` is reported as one of the core group.
            let group = kube_builtin::storage_group(&resource.group, &resource.plural);
            return Err(Status::invalid(group, &resource.kind, name, found.errors));
        }
        Ok(())
    }

    /// Admit: the last check before the write. An object that does not exist yet takes the verb `create`, too, if the
    /// request has another one: `withAuthorization` of apiserver's handlers.
    async fn admit(&self, attempt: &Attempt<'_>) -> Result<(), Status> {
        let Attempt { write, target, new, .. } = attempt;
        let old = attempt.old.as_ref().map(|old| &old.value);
        if old.is_none() && write.method != WriteMethod::Create {
            let wanted = Attributes {
                verb: "create",
                group: &target.resource.group,
                resource: &target.resource.plural,
                subresource: write.subresource,
                namespace: target.namespace,
                name: target.name,
                path: None,
            };
            self.rbac.require(&self.store, write.user, &wanted)?;
        }
        let operation = if old.is_none() { Operation::Create } else { Operation::Update };
        self.admit_write(&write.admission(operation, target.name), new, old).await
    }

    /// Allocate: gives a Service its addresses and ports. Other objects need none.
    fn allocate(&self, attempt: &mut Attempt<'_>) -> Result<Reserved<'_>, Status> {
        let Target { resource, name, .. } = attempt.target;
        if resource.group_kind() != SERVICE {
            return Ok(Reserved { cluster: self, allocation: None });
        }
        let old = attempt.old.as_ref().map(|old| &old.value);
        let allocation = self.allocations().allocate(&mut attempt.new, old).map_err(|error| match error {
            AllocationError::Invalid(error) => {
                Status::invalid(&resource.group, &resource.kind, name, vec![error])
            }
            AllocationError::Full(message) => Status::internal_error(message),
        })?;
        Ok(Reserved { cluster: self, allocation: Some(allocation) })
    }

    /// Store: writes the object and runs the hooks, unless it is a dry run or changes nothing.
    async fn store(&self, attempt: Attempt<'_>, reserved: Reserved<'_>) -> Result<Outcome, Status> {
        let Attempt { write, target, new, old, versioned, .. } = attempt;
        let resource = write.resource;
        let conversions = &self.conversions;
        let encoded = conversions.stored(resource, &new).await?;
        let dry = async || Ok(to_json(&conversions.read(resource, encoded.clone().into_owned()).await?));
        let shown =
            async |stored| Ok(resource.bytes(&*conversions.shown_one(resource, stored).await?).into_owned());
        let written = |bytes, created| Outcome::Written(Written { bytes, created });
        let Some(Current { stored, value: old }) = old else {
            let taken = |other: Option<Arc<Object>>| match other.is_some_and(|other| other.deleted) {
                true => Outcome::Taken(Status::being_deleted(resource, target.name)),
                false => Outcome::Taken(Status::already_exists(resource, target.name)),
            };
            let other = || self.store.get(&resource.collection, &resource.key(target.namespace, target.name));
            let request = write.admission(Operation::Create, target.name);
            if write.dry_run {
                self.within_quotas(&request, &new, None, || Ok::<_, Error>(()))?.ok();
                // Only checked: by the time of a real write, the object in the way may be gone.
                return Ok(match other() {
                    None => written(dry().await?, true),
                    other => taken(other),
                });
            }
            if versioned {
                return Err(Status::internal("resourceVersion should not be set on objects to be created"));
            }
            let committed =
                self.within_quotas(&request, &new, None, || self.commit_create(target, &encoded))?;
            return Ok(match committed {
                Ok(stored) => {
                    reserved.keep();
                    written(shown(stored).await?, true)
                }
                Err(Error::NotLive) => {
                    self.admit_place(target)?;
                    // It came back just now.
                    let why = "its namespace or its definition has changed; please try again";
                    return Err(Status::conflict(resource, target.name, why));
                }
                Err(Error::TooLarge) => return Err(Status::too_large_to_store()),
                Err(_) => taken(other()),
            });
        };
        // Clients may get something other than what is stored. As there, an object with empty metadata is stored each time.
        let unchanged = match resource.is_plain(&stored) {
            true => new == old,
            false => *encoded == stored.value() && empty_metadata(&encoded).next().is_none(),
        };
        if unchanged {
            return Ok(written(shown(stored).await?, false));
        }
        let request = write.admission(Operation::Update, target.name);
        if write.dry_run {
            self.within_quotas(&request, &new, Some(&old), || Ok::<_, Error>(()))?.ok();
            return Ok(written(dry().await?, false));
        }
        let commit = || self.commit_update(target, stored.revision, &old, &encoded);
        match self.within_quotas(&request, &new, Some(&old), commit)? {
            Ok(committed) => {
                reserved.keep();
                let bytes = match committed {
                    Committed::Stored(stored) => shown(stored).await?,
                    // kube-apiserver answers with the state that the request would have led to.
                    Committed::Removed(_) => dry().await?,
                };
                Ok(written(bytes, false))
            }
            Err(Error::TooLarge) => Err(Status::too_large_to_store()),
            Err(_) => Ok(Outcome::Changed),
        }
    }

    /// Records the writer as the manager of the fields that it changes.
    async fn track(&self, write: &Write<'_>, new: &mut Value, old: Option<&Value>) {
        if write.resource.conversion_webhook().is_none() {
            return self.track_with(write, new, old, &Converter::new(write.resource));
        }
        let given = std::mem::take(new);
        let tracked = merge(write.resource, &self.conversions, |converter| {
            let mut tracked = given.clone();
            self.track_with(write, &mut tracked, old, converter);
            tracked
        });
        *new = tracked.await;
    }

    fn track_with(&self, write: &Write<'_>, new: &mut Value, old: Option<&Value>, converter: &Converter<'_>) {
        let is_convertible = write.resource.gone_version(old.unwrap_or(new)).is_none();
        self.writer(write, is_convertible, converter, |writer| match (write.subresource, old) {
            ("scale", Some(old)) => {
                let scale = strategy::scale::of(write.resource);
                let path: Vec<&str> =
                    scale.spec_replicas_path().split('.').filter(|name| !name.is_empty()).collect();
                kube_patch::track_scale(&path, old, new, writer);
            }
            _ => kube_patch::track(write.resource.merge_type(), old, new, writer),
        });
    }

    fn writer<T>(
        &self,
        write: &Write<'_>,
        is_convertible: bool,
        converter: &Converter<'_>,
        with: impl FnOnce(&Writer<'_>) -> T,
    ) -> T {
        let Write { manager, subresource, .. } = *write;
        let reset = strategy::reset_fields(write.resource, subresource);
        let (api_version, time) = (&*write.resource.api_version(), self.clock.now());
        let versions = &*write.resource.merge_versions();
        let convert = converter.convert();
        with(&Writer { manager, subresource, api_version, time, reset, versions, convert, is_convertible })
    }
}

/// Refuses an object that the store could not read again.
fn check_depth(object: &Value) -> Result<(), Status> {
    match is_too_deep(object) {
        true => Err(Status::bad_request(format!("the object is nested more than {MAX_DEPTH} levels deep"))),
        false => Ok(()),
    }
}

/// Whether the values of an object are nested too deep, apart from its managed fields.
fn is_too_deep(object: &Value) -> bool {
    let mut members = object.as_object().into_iter().flatten();
    !members.all(|(name, value)| match (name.as_str(), value) {
        ("metadata", Value::Object(metadata)) => {
            metadata.iter().all(|(name, value)| name == "managedFields" || is_within(value, MAX_DEPTH - 2))
        }
        _ => is_within(value, MAX_DEPTH - 1),
    })
}

/// Whether a value is nested at most `depth` levels deep.
fn is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_within(item, depth - 1)),
        Value::Object(members) => depth > 0 && members.values().all(|member| is_within(member, depth - 1)),
        _ => true,
    }
}

/// Whether an update tracks managed fields before admission, as in kube-apiserver, so that nobody owns what policies and webhooks
/// set. Other subresources have too much that the strategy has to reset first. An apply updates them itself.
fn tracks_early(write: &Write<'_>) -> bool {
    write.method != WriteMethod::Apply && matches!(write.subresource, "" | "status" | "scale")
}

impl<'a> Write<'a> {
    /// What admission sees of it.
    fn admission<'b>(&self, operation: Operation, name: &'b str) -> AdmissionRequest<'b>
    where
        'a: 'b,
    {
        AdmissionRequest {
            operation,
            user: self.user,
            resource: self.resource,
            subresource: self.subresource,
            namespace: self.namespace,
            name,
            options: self.options,
            dry_run: self.dry_run,
            warnings: self.warnings,
            deadline: self.deadline,
        }
    }
}

impl Reserved<'_> {
    /// Keeps the allocations, because the Service is stored.
    fn keep(mut self) {
        if let Some(allocation) = self.allocation.take() {
            self.cluster.allocations().settle(&allocation, true);
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(allocation) = &self.allocation {
            self.cluster.allocations().settle(allocation, false);
        }
    }
}

/// What identifies a new object.
pub(super) struct Identity<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: Uuid,
    pub(super) created: &'a str,
}

/// Removes the metadata of an object that only the server sets: `WipeObjectMetaSystemFields` of kube-apiserver.
fn remove_identity(object: &mut Value) {
    let metadata = strategy::metadata(object);
    for unset in [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "uid",
    ] {
        metadata.remove(unset);
    }
}

/// Sets the metadata that identifies a new object.
pub(super) fn set_identity(resource: &Resource, object: &mut Value, identity: &Identity<'_>) {
    remove_identity(object);
    let metadata = strategy::metadata(object);
    // An empty name is none: a schema does not see it.
    match identity.name {
        "" => _ = metadata.remove("name"),
        name => _ = metadata.insert("name".to_owned(), name.into()),
    }
    if resource.namespaced {
        metadata.insert("namespace".to_owned(), identity.namespace.into());
    }
    metadata.insert("uid".to_owned(), identity.uid.to_string().into());
    metadata.insert("creationTimestamp".to_owned(), identity.created.into());
}

/// Refuses a custom resource whose type was changed, which a patch can do.
pub(crate) fn check_type(resource: &Resource, object: &Value) -> Result<(), Status> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if version != resource.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            resource.api_version()
        )));
    }
    if kind != resource.kind {
        let why = format!("must be {}", resource.kind);
        let error = FieldError::invalid("kind", &kind.into(), &why);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Status::invalid(&resource.group, kind, name, vec![error]));
    }
    Ok(())
}

/// Refuses an object whose name or namespace differs from its path. It may leave out the namespace.
fn check_target(write: &Write<'_>, new: &mut Value) -> Result<(), Status> {
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            write.name
        )));
    }
    if name != write.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            write.name
        )));
    }
    set_namespace(new, write.namespace)
}

/// Gives an object the namespace of its path, or refuses an object of another one. An object of the whole cluster loses
/// its namespace.
pub(crate) fn set_namespace(object: &mut Value, namespace: &str) -> Result<(), Status> {
    let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        strategy::metadata(object).remove("namespace");
    } else if given.is_empty() {
        strategy::metadata(object).insert("namespace".to_owned(), namespace.into());
    } else if given != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Refuses a write based on another state of the object, or meant for another object, than the existing one.
fn check_version(write: &Write<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    let Write { resource, namespace, name, .. } = *write;
    let text = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let number = |text: &str| match text {
        "" => Ok(0),
        text => text.parse::<u64>().map_err(|error| {
            let why = match error.kind() {
                std::num::IntErrorKind::PosOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Status::internal(format!("strconv.ParseUint: parsing {text:?}: {why}"))
        }),
    };
    let uid = new["metadata"]["uid"].as_str().unwrap_or_default();
    let old_uid = old["metadata"]["uid"].as_str().unwrap_or_default();
    if write.method == WriteMethod::Update && !uid.is_empty() && uid != old_uid {
        // A dry run has no prefix there.
        let root = if write.dry_run { "" } else { "/registry" };
        let key = format!("{root}/{}/{}", resource.storage_prefix(), resource.key(namespace, name));
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
             failed: UID in precondition: {uid}, UID in object meta: {old_uid}"
        );
        return Err(Status::conflict(resource, name, &why));
    }
    let current = &old["metadata"]["resourceVersion"];
    // 0 counts as no version.
    let given = number(&text(new))?;
    if given == 0 {
        if !strategy::allows_unconditional_update(resource) {
            let error =
                FieldError::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(Status::invalid(&resource.group, &resource.plural, name, vec![error]));
        }
    } else if number(&text(old))? != given {
        return Err(Status::modified(resource, name));
    }
    strategy::metadata(new).insert("resourceVersion".to_owned(), current.clone());
    Ok(())
}

fn apply_conflict(conflicts: Vec<kube_patch::Conflict>) -> Status {
    let causes = conflicts.iter().map(|conflict| Cause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {}", conflict.manager),
        field: conflict.field.clone(),
    });
    let causes = causes.collect();
    Status::apply_conflict(kube_patch::ApplyError::Conflict(conflicts).to_string(), causes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Scheme;

    #[test]
    fn an_object_without_a_name_has_no_empty_one() {
        let scheme = Scheme::new();
        let resource = scheme.by_kind("v1", "ConfigMap").unwrap();
        let identity = |name| Identity { namespace: "default", name, uid: Uuid::nil(), created: "" };
        for given in [json!({}), json!({"metadata": {"name": ""}})] {
            let mut object = given;
            set_identity(resource, &mut object, &identity(""));
            assert_eq!(object["metadata"].get("name"), None);
            set_identity(resource, &mut object, &identity("a"));
            assert_eq!(object["metadata"]["name"], "a");
        }
    }
}
