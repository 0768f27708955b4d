//! API groups.

use std::sync::Arc;

use crate::resource::Resource;

/// An API group in discovery, its versions in order of preference.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<(String, Vec<Arc<Resource>>)>,
}
