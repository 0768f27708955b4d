//! What is printed: events of objects, and remarks between them.

use jiff::Timestamp;
use kube::core::DynamicObject;
use kube_informer::{Compact, ObjectKey};
use serde_json::Value;

use crate::{diff::Difference, managed_fields::Writer, rows::CELLS};

/// The objects in the cache. A decoded `DynamicObject` is many times as large, and is needed only when it is printed.
pub(crate) type Stored = Compact<DynamicObject>;

/// An object that can be printed.
pub(crate) trait Object {
    /// Returns the JSON of the object.
    fn to_json(&self) -> Vec<u8>;
}

impl Object for Stored {
    fn to_json(&self) -> Vec<u8> {
        Compact::to_json(self)
    }
}

/// An event about an object.
pub(crate) struct Line<'a> {
    pub(crate) event: Event,
    /// When it was received.
    pub(crate) time: Timestamp,
    /// The context, if several are watched.
    pub(crate) context: Option<&'a str>,
    pub(crate) key: &'a ObjectKey,
    /// The object; its last known state if it is gone.
    pub(crate) object: &'a dyn Object,
    /// The object's previous state in the cache, if it was modified.
    pub(crate) old: Option<&'a dyn Object>,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An object of the first list, or a new one.
    Added {
        initial: bool,
    },
    Modified,
    /// An object was deleted, or is no longer selected.
    Deleted,
}

/// What changed, and who changed it.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) fields: Vec<Difference>,
    pub(crate) writer: Option<Writer>,
}

impl Event {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Added { .. } => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// The decoded states of a line's object.
pub(super) struct States {
    pub(super) object: Value,
    /// The cells of its row. Empty if the server sent no row.
    pub(super) cells: Vec<Value>,
    /// The previous state, if it is compared.
    pub(super) old: Option<Value>,
}

impl States {
    /// Decodes the object, and if `compares` also its previous state. Their cells are not part of them.
    pub(super) fn of(line: &Line<'_>, compares: bool) -> Self {
        let decoded = |object| {
            let mut object = json_of(object);
            let cells = object.as_object_mut().and_then(|fields| fields.remove(CELLS));
            (object, cells)
        };
        let (object, cells) = decoded(line.object);
        let cells = match cells {
            Some(Value::Array(cells)) => cells,
            _ => Vec::new(),
        };
        let old = line.old.filter(|_| compares).map(|old| decoded(old).0);
        Self { object, cells, old }
    }
}

/// Decodes the JSON of an object.
pub(crate) fn json_of(object: &dyn Object) -> Value {
    // An object of the cache was decoded when it was stored.
    serde_json::from_slice(&object.to_json()).unwrap_or_default()
}

/// Returns a line such as `CACHED  2  blog-sample, second`.
pub(super) fn cached(names: &[String]) -> String {
    let list = if names.is_empty() { "(empty)".into() } else { names.join(", ") };
    format!("CACHED  {}  {list}", names.len())
}
