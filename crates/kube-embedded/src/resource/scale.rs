//! The fields of a resource that `/scale` shows.

use serde_json::Value;

/// `subresources.scale`: simple JSON paths such as `.spec.replicas`.
#[derive(Clone, Debug)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) label_selector: Option<String>,
}

impl ScalePaths {
    /// The paths of a definition's version. `None` if it cannot be scaled.
    pub(crate) fn parse(scale: &Value) -> Option<Self> {
        let text = |field: &str| scale[field].as_str().map(str::to_owned);
        scale.is_object().then(|| Self {
            spec_replicas: text("specReplicasPath").unwrap_or_default(),
            status_replicas: text("statusReplicasPath").unwrap_or_default(),
            label_selector: text("labelSelectorPath"),
        })
    }

    /// The paths of a built-in kind.
    pub(crate) fn builtin() -> Self {
        Self {
            spec_replicas: ".spec.replicas".to_owned(),
            status_replicas: ".status.replicas".to_owned(),
            label_selector: None,
        }
    }
}
