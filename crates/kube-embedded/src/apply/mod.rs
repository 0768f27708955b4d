//! Server-side apply: who manages which field, and the structured merge.
//!
//! As `k8s.io/apimachinery/pkg/util/managedfields` and `sigs.k8s.io/structured-merge-diff` v6 do it. Every write passes here: an
//! apply by [`apply`], any other by [`track`]. Both are functions of their arguments, and neither changes what it is not to:
//! a write that is refused leaves no trace, and one that changes nothing leaves the times as they were.

pub(crate) mod builtin;
mod last_applied;
mod managed;
mod set;
mod types;
mod update;
mod walk;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::schema::Schema;
use managed::{Managed, Manager, Operation};
use set::{Set, equal};
use types::Type;
use update::Update;
pub(crate) use walk::go_type;

/// How fields merge.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Types<'a> {
    /// By a custom resource's schema, with apimachinery's `ObjectMeta` under `metadata`.
    Schema(&'a Schema),
    /// As kube-apiserver's OpenAPI document tells of a built-in kind: see [`Types::builtin`].
    Builtin(&'static builtin::Field),
    /// No schema: maps merge by key, lists are atomic, `ObjectMeta` as above.
    Deduced,
}

/// Who writes, for `managedFields`.
#[derive(Clone, Debug)]
pub(crate) struct Writer<'a> {
    /// `fieldManager`, or the user agent's first word.
    pub(crate) manager: &'a str,
    /// `""` for the object itself.
    pub(crate) subresource: &'a str,
    /// The version that the request came in.
    pub(crate) api_version: &'a str,
    /// Now.
    pub(crate) time: Timestamp,
    /// Paths that this endpoint does not take from its caller (`status` for the main one, say), which it
    /// therefore never owns.
    pub(crate) reset: &'a [&'a [&'a str]],
}

/// One field that another manager owns and that the applied configuration would change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conflict {
    /// As kube-apiserver words it: `"kubectl" using web.helloworld/v1`, ...
    pub(crate) manager: String,
    /// `.spec.url`
    pub(crate) field: String,
}

/// Why an apply did nothing.
#[derive(Debug, PartialEq)]
pub(crate) enum Error {
    /// 409, with a cause a conflict.
    Conflict(Vec<Conflict>),
    /// 400 `BadRequest`: managedFields in the request, another type.
    Invalid(String),
    /// 500 without a reason: the configuration or the live object does not fit the type, an item is there twice.
    Internal(String),
}

impl<'a> Types<'a> {
    /// How a built-in kind's fields merge; one that the document does not know is deduced.
    pub(crate) fn builtin(api_version: &str, kind: &str) -> Self {
        builtin::kind(api_version, kind).map_or(Self::Deduced, Self::Builtin)
    }

    /// An object of the type that nobody has written to.
    fn zero(self, api_version: &str, kind: &str) -> Value {
        let mut zero = match self {
            Self::Builtin(field) => builtin::zero(field),
            Self::Schema(_) | Self::Deduced => json!({}),
        };
        if let Some(members) = zero.as_object_mut() {
            members.insert("apiVersion".to_owned(), api_version.into());
            members.insert("kind".to_owned(), kind.into());
        }
        zero
    }

    fn root(self) -> Type<'a> {
        match self {
            Self::Schema(schema) => Type::Custom { schema, preserve: false, resource: true },
            Self::Builtin(field) => Type::Builtin(field),
            Self::Deduced => Type::DeducedResource,
        }
    }
}

/// The message of the 409 for conflicts; its causes are `conflict with MANAGER` at each field.
pub(crate) fn conflict_message(conflicts: &[Conflict]) -> String {
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

/// The message of the 400 for a configuration of another type than the endpoint's.
pub(crate) fn wrong_type(applied: &Value) -> String {
    format!("invalid object type: {}", describe_type(applied))
}

/// Applies a configuration to `live` (none: create): the merged object with its managedFields.
///
/// The merged object is not pruned, defaulted or validated, and has what the configuration says at the paths that
/// [`Writer::reset`] names. When there is no live object the caller has checked `kind`: see [`wrong_type`].
pub(crate) fn apply(
    types: Types<'_>,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Error> {
    let kind = types.root();
    let (api_version, name) = type_of(applied);
    let zero = types.zero(api_version, name);
    let mut object = live.cloned().unwrap_or_else(|| json!({"apiVersion": api_version, "kind": name}));
    if type_of(applied) != (writer.api_version, type_of(&object).1) {
        return Err(Error::Invalid(wrong_type(applied)));
    }
    if applied.pointer("/metadata/managedFields").is_some_and(|entries| !entries.is_null()) {
        return Err(Error::Invalid("metadata.managedFields must be nil".to_owned()));
    }
    let entries = managed::take(&mut object);
    let before = Managed::decode(entries.as_ref())
        .map_err(|error| Error::Internal(format!("failed to decode managed fields: {error}")))?;
    let mut managed = before.clone();
    let writes = ApplyWrite { kind, writer, zero: &zero };
    let new = match writes.apply(&object, applied, &mut managed, force) {
        // Who moves from client-side apply with kubectl has no conflicts with what it applied itself.
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
        update::Error::Conflicts(conflicts) => Error::Conflict(describe(conflicts)),
        update::Error::Merge(message) => Error::Internal(message),
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

/// Keeps `new`'s managedFields up after any other write (create, PUT, patch), before the endpoint takes its part of `new`.
///
/// `new` is pruned and defaulted. What it says under `managedFields` counts, as kube-apiserver lets it; where that is nothing,
/// the live object's entries go on.
pub(crate) fn track(types: Types<'_>, live: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let requested = managed::take(new);
    let is_create = live.is_none();
    let (api_version, kind) = type_of(new);
    let mut live = live.cloned().unwrap_or_else(|| types.zero(api_version, kind));
    let entries = managed::take(&mut live);
    let of_live = || Managed::decode(entries.as_ref()).unwrap_or_default();
    // A request may set the entries itself; one that has none, as clients do that know nothing of them, keeps them.
    let mut managed = if !writer.subresource.is_empty() {
        of_live()
    } else if managed::is_reset(requested.as_ref(), matches!(types, Types::Schema(_))) {
        Managed::default()
    } else {
        match Managed::decode(requested.as_ref()) {
            Ok(managed) if !managed.0.is_empty() => managed,
            _ => of_live(),
        }
    };
    let before = of_live();
    // Once they are gone, only an apply brings entries back.
    if !managed.0.is_empty() || is_create {
        let kind = types.root();
        let fits = |value: &Value| walk::validate(kind, value, true).is_empty();
        if fits(new) && fits(&live) {
            let (before, after) = match types {
                Types::Builtin(field) => {
                    (Cow::Owned(builtin::decoded(field, &live)), Cow::Owned(builtin::decoded(field, new)))
                }
                Types::Schema(_) | Types::Deduced => (Cow::Borrowed(&live), Cow::Borrowed(&*new)),
            };
            record(kind, &before, &after, &mut managed, writer, name_of(writer));
        } else {
            managed = before.clone();
        }
    }
    finish(new, &live, &managed, &before);
}

/// The steps of an apply that may be done twice.
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
        // Fields from before there were entries are somebody's.
        if managed.0.is_empty() {
            record(kind, zero, live, managed, writer, "before-first-apply");
        }
        let unfit = |what: &str, object: &Value, errors: Vec<String>| match errors.as_slice() {
            [] => Ok(()),
            [error] => Err(update::Error::Merge(format!(
                "failed to create typed {what} object ({}): {error}",
                describe_object(object)
            ))),
            errors => Err(update::Error::Merge(format!(
                "failed to create typed {what} object ({}): errors:\n  {}",
                describe_object(object),
                errors.join("\n  ")
            ))),
        };
        unfit("patch", applied, walk::validate(kind, applied, false))?;
        unfit("live", live, walk::validate(kind, live, true))?;
        let manager = Manager::new(name_of(writer), Operation::Apply, writer.api_version, writer.subresource);
        let reset: Set = writer.reset.iter().copied().collect();
        let update = Update { kind, live, manager: &manager, api_version: writer.api_version, reset: &reset };
        let new = update.apply(applied, managed, force)?;
        update::strip(managed, &manager);
        Ok(new)
    }
}

/// Gives the writer what changed from `live` to `new`.
fn record(kind: Type<'_>, live: &Value, new: &Value, managed: &mut Managed, writer: &Writer<'_>, name: &str) {
    let reset: Set = writer.reset.iter().copied().collect();
    let current = update::current_operation(writer.api_version);
    let update = Update { kind, live, manager: &current, api_version: writer.api_version, reset: &reset };
    update.update(new, managed);
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
}

/// Gives the entries of `new` the times of those of `live`, if all else is the same: such a write changes nothing.
///
/// [`apply`] and [`track`] have done so. Defaulting after them may give back what an apply seemed to change, and then it is to be
/// done again.
pub(crate) fn keep_times(live: &Value, new: &mut Value) {
    let (mut live, mut rest) = (live.clone(), new.clone());
    let (entries, new_entries) = (managed::take(&mut live), managed::take(&mut rest));
    if !equal(&live, &rest) {
        return;
    }
    if let (Ok(before), Ok(managed)) =
        (Managed::decode(entries.as_ref()), Managed::decode(new_entries.as_ref()))
        && managed.same_but_times(&before)
    {
        managed::put(new, &before);
    }
}

/// Puts the entries into `new`, with their former times where nothing else changed.
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

fn type_of(object: &Value) -> (&str, &str) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    (text("apiVersion"), text("kind"))
}

/// `web.helloworld/v1, Kind=Blog`; the core group's versions have a slash too.
fn describe_type(object: &Value) -> String {
    let (api_version, kind) = type_of(object);
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

/// `default/blog; web.helloworld/v1, Kind=Blog`
fn describe_object(object: &Value) -> String {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}; {}", text("/metadata/namespace"), text("/metadata/name"), describe_type(object))
}

#[cfg(test)]
mod tests;
