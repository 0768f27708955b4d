//! The whole engine against a model of an API server, with generated histories and faults, in virtual time.

mod buffers;
mod model;
mod simulation;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Cached, Compact};

#[derive(kube::CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(group = "web.helloworld", version = "v1", kind = "Blog", namespaced, schema = "disabled")]
pub(super) struct BlogSpec {
    pub(super) url: String,
}

/// A stored form of a Blog.
pub(super) trait Form: Cached<Object = Blog> {
    fn blog(stored: &Self::Stored) -> Arc<Blog>;
}

impl Form for Blog {
    fn blog(stored: &Arc<Blog>) -> Arc<Blog> {
        Arc::clone(stored)
    }
}

impl Form for Compact<Blog> {
    fn blog(stored: &Self) -> Arc<Blog> {
        Arc::new(stored.decode().unwrap())
    }
}
