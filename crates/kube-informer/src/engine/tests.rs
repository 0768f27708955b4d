//! The whole engine against a model of an API server, with generated histories and faults, in virtual time.

mod buffers;
mod model;
mod simulation;

use serde::{Deserialize, Serialize};

#[derive(kube::CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(group = "web.helloworld", version = "v1", kind = "Blog", namespaced, schema = "disabled")]
pub(super) struct BlogSpec {
    pub(super) url: String,
}
