//! Where an object is written.

use std::sync::Arc;

use crate::resource::Resource;
use crate::store::{Location, Object};

/// Where an object is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) resource: &'a Arc<Resource>,
    /// Empty for a cluster-scoped object.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Target<'a> {
    /// The target of a stored object.
    pub(crate) fn of(resource: &'a Arc<Resource>, object: &'a Object) -> Self {
        Self { resource, namespace: object.namespace(), name: object.name() }
    }

    /// Its location in the store.
    pub(crate) fn location(&self) -> Location {
        Location { collection: Arc::clone(&self.resource.collection), key: self.key().into() }
    }

    /// Its key in the collection.
    pub(super) fn key(&self) -> String {
        self.resource.key(self.namespace, self.name)
    }
}
