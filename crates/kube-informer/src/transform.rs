//! A function of the user that changes objects before they are cached.

use std::{
    any::Any,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::Serialize;

/// A [`Function`] of any type. Two are equal if they are the same.
#[derive(Clone)]
pub(crate) struct Transform(Arc<dyn Any + Send + Sync>);

pub(crate) struct Function<O> {
    change: Box<dyn Fn(&mut O) + Send + Sync>,
    to_json: fn(&O) -> Result<String, serde_json::Error>,
}

impl Transform {
    pub(crate) fn new<O: Serialize + 'static>(change: impl Fn(&mut O) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Function { change: Box::new(change), to_json: serde_json::to_string }))
    }

    /// Returns the function, if it is one of objects of this type.
    pub(crate) fn of<O: 'static>(&self) -> Option<&Function<O>> {
        self.0.downcast_ref()
    }
}

impl<O> Function<O> {
    /// Changes an object. Returns its JSON if `as_json` is set.
    pub(crate) fn apply(&self, object: &mut O, as_json: bool) -> Result<Option<String>, serde_json::Error> {
        (self.change)(object);
        as_json.then(|| (self.to_json)(object)).transpose()
    }
}

impl PartialEq for Transform {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Transform {}

impl Hash for Transform {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transform")
    }
}
