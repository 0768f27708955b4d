//! The `Blog` resource.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    interval::{self, InvalidCheckInterval},
    url::{self, InvalidUrl},
};

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
    printcolumn = r#"{"name": "Ready", "type": "string", "description": "Whether the blog's page is set up", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BlogSpec {
    /// The blog's address: an absolute http or https URL of at most 2048 characters.
    #[schemars(length(max = url::MAX_CHARS))]
    #[x_kube(validation = (url::CEL_RULE, url::MESSAGE))]
    pub url: String,
    /// How often the address is checked: a duration from 5s to 24h, such as 30s, 5m or 1h30m.
    #[serde(default = "default_check_interval")]
    #[schemars(length(max = interval::MAX_CHARS))]
    #[x_kube(validation = (interval::CEL_RULE, interval::MESSAGE))]
    pub check_interval: String,
}

fn default_check_interval() -> String {
    interval::DEFAULT.to_owned()
}

impl BlogSpec {
    /// Returns the spec of a blog with this address, and the schema's defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), check_interval: default_check_interval() }
    }

    /// Checks the spec as the API server does with the CRD's schema, but without a server.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidBlog`] if `url` is empty, longer than [`MAX_CHARS`](crate::MAX_CHARS), or not an absolute http or
    /// https URL, or if `check_interval` is no duration within its bounds.
    pub fn validate(&self) -> Result<(), InvalidBlog> {
        url::validate(&self.url)?;
        self.check_interval()?;
        Ok(())
    }

    /// Returns how often the address is checked.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidCheckInterval`] if the text is no duration from [`MIN_CHECK_INTERVAL`](crate::MIN_CHECK_INTERVAL) to
    /// [`MAX_CHECK_INTERVAL`](crate::MAX_CHECK_INTERVAL).
    pub fn check_interval(&self) -> Result<Duration, InvalidCheckInterval> {
        interval::parse(&self.check_interval)
    }
}

/// The reason why a blog is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidBlog {
    /// The address is not valid.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The interval of the checks is not valid.
    #[error(transparent)]
    CheckInterval(#[from] InvalidCheckInterval),
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
