//! Does what the engine asks for.
use std::sync::Arc;

use kube::{Client, Resource};
use tokio_util::sync::CancellationToken;

use crate::{protocol::Settings, shared::Shared, store::Cached};

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) metadata_only: bool,
    pub(crate) namespace: Option<String>,
    pub(crate) labels: String,
    pub(crate) fields: String,
}

impl Target {
    pub(crate) fn new<K: Resource>(dynamic_type: &K::DynamicType) -> Self {
        Self {
            group: K::group(dynamic_type).into_owned(),
            version: K::version(dynamic_type).into_owned(),
            plural: K::plural(dynamic_type).into_owned(),
            metadata_only: K::metadata_api(),
            namespace: None,
            labels: String::new(),
            fields: String::new(),
        }
    }
}

pub(crate) struct Driver<K> {
    shared: Arc<Shared<K>>,
    cancelled: CancellationToken,
}

impl<K: Cached> Driver<K> {
    pub(crate) fn new(
        _: Client,
        _: Target,
        _: Settings,
        shared: Arc<Shared<K>>,
        cancelled: CancellationToken,
    ) -> Self {
        Self { shared, cancelled }
    }

    pub(crate) async fn run(self) {
        self.cancelled.cancelled().await;
        self.shared.close();
    }
}
