//! Server-side apply: ownership of fields, and the structured merge.
//!
//! The behaviour is that of `k8s.io/apimachinery/pkg/util/managedfields` and `sigs.k8s.io/structured-merge-diff` v6. An apply
//! goes through [`apply`], any other write through [`track`]. Both are functions of their arguments: a refused write has no
//! effect, and a write that changes nothing keeps the times.

mod configuration;
mod last_applied;
mod managed;
mod object;
mod scale;
mod set;
mod update;
mod walk;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use self::configuration::{MergeError, merge_configuration};
use self::managed::{Managed, Manager, Operation};
use self::object::{describe_object, describe_type, type_of};
use self::set::{Set, equal};
pub use self::update::Convert;
use self::update::Update;
use crate::types::{ObjectType, Source, Type};

/// The author of a write, for `managedFields`.
#[derive(Clone, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`, or the first word of the user agent.
    pub manager: &'a str,
    /// `""` for the object itself.
    pub subresource: &'a str,
    /// The version of the request.
    pub api_version: &'a str,
    /// The current time.
    pub time: Timestamp,
    /// Paths that this endpoint ignores in requests (such as `status` for the main one), and which the writer therefore never
    /// owns.
    pub reset: &'a [&'a [&'a str]],
    /// The types of the object in its other versions, in which managers may have written: what they own is compared
    /// there. An object that does not fit one of these is refused by [`apply`], and [`track`] then changes no entry. A version
    /// that is not among them has the type of the request's.
    pub versions: &'a [(&'a str, ObjectType<'a>)],
    /// Converts an object between these versions. `None`: that changes none of its fields.
    pub convert: Option<&'a dyn Convert>,
    /// Whether the object can be converted to the version of each of its managers. If not, [`track`] changes no entry.
    pub is_convertible: bool,
}

/// A field that another manager owns and that the applied configuration would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The manager as kube-apiserver describes it: `"kubectl" using web.helloworld/v1`, ...
    pub manager: String,
    /// The path of the field: `.spec.url`
    pub field: String,
}

/// The reason why an apply was refused. The text is the message of kube-apiserver's `Status`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// 409 `Conflict`: others own fields that the configuration would change, and `force` is not set.
    #[error("{}", conflict_message(.0))]
    Conflict(Vec<Conflict>),
    /// 400 `BadRequest`: the configuration has managed fields, or differs in type from the object.
    #[error("{0}")]
    Invalid(String),
    /// 500 without a reason: the configuration or the live object does not fit the type, the configuration has duplicate
    /// items in a set, or the live managed fields are malformed.
    #[error("{0}")]
    Internal(String),
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, field }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {field}");
    }
    let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager.entry(&conflict.manager).or_default().push(&conflict.field);
    }
    let lines = by_manager.into_iter().flat_map(|(manager, fields)| {
        let fields = fields.into_iter().map(|field| format!("- {field}"));
        std::iter::once(format!("conflicts with {manager}:")).chain(fields)
    });
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.collect::<Vec<_>>().join("\n"))
}

/// Returns the message of the 400 for a configuration whose type differs from the endpoint's.
pub fn wrong_type(applied: &Value) -> String {
    format!("invalid object type: {}", describe_type(applied))
}

/// Applies a configuration to `live`, or creates an object if that is `None`. Returns the merged object with its
/// managedFields.
///
/// The merged object is not pruned, defaulted or validated, and has the configuration's values at the paths that
/// [`Writer::reset`] names. If there is no live object, the caller must have checked `kind`: see [`wrong_type`].
pub fn apply(
    types: ObjectType<'_>,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    let kind = types.root;
    let (api_version, name) = type_of(applied);
    let zero = zero(types, api_version, name);
    let mut object = live.cloned().unwrap_or_else(|| json!({"apiVersion": api_version, "kind": name}));
    if type_of(applied) != (writer.api_version, type_of(&object).1) {
        return Err(ApplyError::Invalid(wrong_type(applied)));
    }
    if applied.pointer("/metadata/managedFields").is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::Invalid("metadata.managedFields must be nil".to_owned()));
    }
    let entries = managed::take(&mut object);
    let before = Managed::decode(entries.as_ref())
        .map_err(|error| ApplyError::Internal(format!("failed to decode managed fields: {error}")))?;
    let mut managed = before.clone();
    let writes = ApplyWrite { kind, writer, zero: &zero };
    let new = match writes.apply(&object, applied, &mut managed, force) {
        // Migrating from kubectl's client-side apply causes no conflicts with the fields that it applied.
        Err(update::Error::Conflicts(conflicts)) if writer.manager == "kubectl" => {
            let allowed = last_applied::owned(kind, &object, writer.api_version);
            let rest = last_applied::without(conflicts, &allowed);
            if rest.is_empty() {
                managed = before.clone();
                writes.apply(&object, applied, &mut managed, true)
            } else {
                Err(update::Error::Conflicts(rest))
            }
        }
        result => result,
    };
    let new = new.map_err(|error| match error {
        update::Error::Conflicts(conflicts) => ApplyError::Conflict(describe(conflicts)),
        update::Error::Merge(message) => ApplyError::Internal(message),
    })?;

    let changed = new.is_some();
    let mut new = new.unwrap_or_else(|| object.clone());
    if writer.manager == "kubectl" {
        last_applied::refresh(&mut new, applied);
    }
    if changed {
        let manager = Manager::new(name_of(writer), Operation::Apply, writer.api_version, writer.subresource);
        if let Some(owned) = managed.0.get_mut(&manager) {
            owned.time = Some(managed::format_time(writer.time));
        }
    }
    finish(&mut new, &object, &managed, &before);
    Ok(new)
}

/// Checks that kube-apiserver could read `metadata.managedFields`.
///
/// # Errors
/// Fails with what is wrong with the first entry that it cannot read.
pub fn check_managed_fields(entries: &Value) -> Result<(), String> {
    Managed::decode(Some(entries)).map(drop)
}

/// Updates `new`'s managedFields on any other write (create, PUT, patch), before the endpoint takes its part of `new`.
///
/// `new` must be pruned and defaulted. As in kube-apiserver, its own `managedFields` take effect; if it has none, the live
/// object's entries are kept.
pub fn track(types: ObjectType<'_>, live: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let requested = managed::take(new);
    let is_create = live.is_none();
    let (api_version, kind) = type_of(new);
    let mut live = live.cloned().unwrap_or_else(|| zero(types, api_version, kind));
    let entries = managed::take(&mut live);
    let of_live = || Managed::decode(entries.as_ref()).unwrap_or_default();
    // A request may set the entries itself. If it has none, because the client does not know them, they are kept.
    let mut managed = if !writer.subresource.is_empty() {
        of_live()
    } else if managed::is_reset(requested.as_ref(), types.source == Source::Structural) {
        Managed::default()
    } else {
        match Managed::decode(requested.as_ref()) {
            Ok(managed) if !managed.0.is_empty() => managed,
            _ => of_live(),
        }
    };
    let before = of_live();
    // After they were removed, only an apply creates entries again.
    if !managed.0.is_empty() || is_create {
        let kind = types.root;
        let mut recorded = false;
        // What an object is before it is written fits its type.
        if writer.is_convertible && fits(types, new) && (is_create || fits(types, &live)) {
            let (old, new) = match types.source {
                Source::OpenApi => (Cow::Owned(kind.decoded(&live)), Cow::Owned(kind.decoded(new))),
                Source::Structural | Source::Deduced => (Cow::Borrowed(&live), Cow::Borrowed(&*new)),
            };
            recorded = record(kind, &old, &new, &mut managed, writer, name_of(writer)).is_ok();
        }
        if !recorded {
            managed = before.clone();
        }
    }
    finish(new, &live, &managed, &before);
}

/// Updates `new`'s managedFields after a write of its scale, which is about the field at `replicas`.
///
/// As in kube-apiserver, every such write gives the updaters that own the replicas an entry of their own for them, without a
/// time, and nobody owns replicas of 0. If nobody owned them before, nothing is recorded.
pub fn track_scale(replicas: &[&str], live: &Value, new: &mut Value, writer: &Writer<'_>) {
    managed::take(new);
    let mut live = live.clone();
    let before = Managed::decode(managed::take(&mut live).as_ref()).unwrap_or_default();
    let Writer { subresource, api_version, .. } = *writer;
    let write =
        scale::Write { replicas, live: &live, new, manager: name_of(writer), subresource, api_version };
    let after = write.owners(&before);
    finish(new, &live, &after, &before);
}

/// Whether an object is of a type, so that its fields can be compared.
fn fits(types: ObjectType<'_>, object: &Value) -> bool {
    walk::validate(types.root, object, true).is_empty()
}

/// Returns an object of a type as it is before anything is written to it.
fn zero(types: ObjectType<'_>, api_version: &str, kind: &str) -> Value {
    let mut zero = match types.source {
        Source::OpenApi => types.root.zero(),
        Source::Structural | Source::Deduced => json!({}),
    };
    if let Some(members) = zero.as_object_mut() {
        members.insert("apiVersion".to_owned(), api_version.into());
        members.insert("kind".to_owned(), kind.into());
    }
    zero
}

/// The steps of an apply, which may run twice.
struct ApplyWrite<'a> {
    kind: Type<'a>,
    writer: &'a Writer<'a>,
    zero: &'a Value,
}

impl ApplyWrite<'_> {
    fn apply(
        &self,
        live: &Value,
        applied: &Value,
        managed: &mut Managed,
        force: bool,
    ) -> Result<Option<Value>, update::Error> {
        let Self { kind, writer, zero } = *self;
        // Fields that were written before there were entries get an owner, too.
        if managed.0.is_empty() {
            record(kind, zero, live, managed, writer, "before-first-apply")?;
        }
        let unfit = |what: &str, object: &Value, errors: &[String]| match walk::describe_errors(errors) {
            None => Ok(()),
            Some(why) => Err(update::Error::Merge(format!(
                "failed to create typed {what} object ({}): {why}",
                describe_object(object)
            ))),
        };
        unfit("patch", applied, &walk::validate(kind, applied, false))?;
        unfit("live", live, &walk::validate(kind, live, true))?;
        let manager = Manager::new(name_of(writer), Operation::Apply, writer.api_version, writer.subresource);
        let reset: Set = writer.reset.iter().copied().collect();
        let Writer { api_version, versions, convert, .. } = *writer;
        let update = Update { kind, live, manager: &manager, api_version, versions, convert, reset: &reset };
        let new = update.apply(applied, managed, force)?;
        update::strip(managed, &manager);
        Ok(new)
    }
}

/// Makes the writer the owner of the changes from `live` to `new`.
fn record(
    kind: Type<'_>,
    live: &Value,
    new: &Value,
    managed: &mut Managed,
    writer: &Writer<'_>,
    name: &str,
) -> Result<(), update::Error> {
    let reset: Set = writer.reset.iter().copied().collect();
    let current = update::current_operation(writer.api_version);
    let Writer { api_version, versions, convert, .. } = *writer;
    let update = Update { kind, live, manager: &current, api_version, versions, convert, reset: &reset };
    update.update(new, managed)?;
    update::strip(managed, &current);
    if let Some(mut owned) = managed.0.remove(&current) {
        let manager = Manager::new(name, Operation::Update, writer.api_version, writer.subresource);
        if let Some(previous) = managed.0.remove(&manager) {
            owned.set.extend(previous.set);
        }
        owned.time = Some(managed::format_time(writer.time));
        managed.0.insert(manager, owned);
    }
    managed.cap();
    Ok(())
}

/// Restores the times of `live`'s managed fields in `new` if nothing else differs, because such a write changes nothing.
///
/// [`apply`] and [`track`] have already done so. Call this if defaults are filled in after them, which may restore values
/// that an apply seemed to change. It costs a comparison of the objects.
pub fn keep_times(live: &Value, new: &mut Value) {
    if live == new || !same_but_managed_fields(live, new) {
        return;
    }
    let managed = |object: &Value| Managed::decode(object.pointer("/metadata/managedFields"));
    if let (Ok(before), Ok(after)) = (managed(live), managed(new))
        && after.same_but_times(&before)
    {
        managed::put(new, &before);
    }
}

fn same_but_managed_fields(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return equal(a, b) };
    same_members(a, b, "metadata", |a, b| {
        match (a.and_then(Value::as_object), b.and_then(Value::as_object)) {
            // One of them may have nothing but the entries.
            (Some(a), Some(b)) => same_members(a, b, "managedFields", |_, _| true),
            _ => a.is_some() == b.is_some() && a.zip(b).is_none_or(|(a, b)| equal(a, b)),
        }
    })
}

/// Returns whether two objects have equal members, where `same` compares the member `except`.
fn same_members(
    a: &Map<String, Value>,
    b: &Map<String, Value>,
    except: &str,
    same: impl Fn(Option<&Value>, Option<&Value>) -> bool,
) -> bool {
    let others = |members: &Map<String, Value>| members.len() - usize::from(members.contains_key(except));
    others(a) == others(b)
        && a.iter()
            .all(|(name, value)| name == except || b.get(name).is_some_and(|other| equal(value, other)))
        && same(a.get(except), b.get(except))
}

/// Puts the entries into `new`, with their previous times if nothing else changed.
fn finish(new: &mut Value, live: &Value, managed: &Managed, before: &Managed) {
    let unchanged = managed.same_but_times(before) && equal(new, live);
    managed::put(new, if unchanged { before } else { managed });
}

fn describe(conflicts: update::Conflicts) -> Vec<Conflict> {
    let conflicts = conflicts.into_iter().flat_map(|(manager, paths)| {
        let manager = manager.describe();
        paths.into_iter().map(move |path| Conflict { manager: manager.clone(), field: set::display(&path) })
    });
    conflicts.collect()
}

fn name_of<'a>(writer: &Writer<'a>) -> &'a str {
    if writer.manager.is_empty() { "unknown" } else { writer.manager }
}

#[cfg(test)]
mod tests;
