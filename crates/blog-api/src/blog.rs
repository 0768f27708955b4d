//! The `Blog` resource.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::url::{self, InvalidUrl};

/// The desired state of a blog.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "web.helloworld",
    version = "v1",
    kind = "Blog",
    namespaced,
    status = "BlogStatus",
    shortname = "bl",
    category = "all",
    derive = "PartialEq",
    doc = "A blog, known by its address.",
    printcolumn = r#"{"name": "URL", "type": "string", "description": "The blog's address", "jsonPath": ".spec.url"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
pub struct BlogSpec {
    /// The blog's address: an absolute http or https URL of at most 2048 characters.
    #[schemars(length(max = url::MAX_CHARS))]
    #[x_kube(validation = (url::CEL_RULE, url::MESSAGE))]
    pub url: String,
}

impl BlogSpec {
    /// Checks the spec as the API server does with the CRD's schema, but without a server.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidUrl`] if `url` is empty, longer than [`MAX_CHARS`](crate::MAX_CHARS), or not an absolute http or
    /// https URL.
    pub fn validate(&self) -> Result<(), InvalidUrl> {
        url::validate(&self.url)
    }
}

/// The observed state of a blog, which a controller writes through the status subresource.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlogStatus {
    /// The metadata.generation of the spec that was observed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The standard conditions, at most one of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
