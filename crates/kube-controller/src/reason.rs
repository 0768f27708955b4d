//! Why a key runs.

use std::fmt;

use kube_informer::ObjectKey;
use smol_str::SmolStr;

/// One reason for a run: what happened, to which object. For logs and people; a reconciler must not decide by it,
/// because reasons are lost in a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Reason {
    /// What happened.
    pub trigger: Trigger,
    /// The object that it happened to. `None` for timers and retries.
    pub object: Option<Subject>,
}

/// What made a key run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trigger {
    /// The object was there when the controller started.
    Listed,
    /// The object was created.
    Created,
    /// The object changed.
    Changed,
    /// The object was deleted.
    Deleted,
    /// The time that an earlier run asked for has come: [`Action::requeue`](crate::Action::requeue).
    Timer,
    /// An earlier run failed.
    Retry,
}

/// The object that a reason names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Subject {
    /// The object's kind.
    pub kind: SmolStr,
    /// The object's namespace and name.
    pub key: ObjectKey,
    /// Its version before, if it was known.
    pub old_version: Option<SmolStr>,
    /// Its version now, or its last one if it was deleted.
    pub new_version: Option<SmolStr>,
    /// Whether the version is one that the last run of this key wrote.
    pub own_write: bool,
}

impl Reason {
    /// Returns a reason without an object.
    pub(crate) const fn of(trigger: Trigger) -> Self {
        Self { trigger, object: None }
    }
}

impl fmt::Display for Reason {
    /// For example `ConfigMap default/a changed 12 -> 15 (own write)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(object) = &self.object else { return self.trigger.fmt(f) };
        write!(f, "{} {} {}", object.kind, object.key, self.trigger)?;
        match (&object.old_version, &object.new_version) {
            (Some(old), Some(new)) => write!(f, " {old} -> {new}")?,
            (None, Some(version)) | (Some(version), None) => write!(f, " {version}")?,
            (None, None) => {}
        }
        if object.own_write { f.write_str(" (own write)") } else { Ok(()) }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listed => "listed",
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Timer => "timer",
            Self::Retry => "retry",
        })
    }
}
