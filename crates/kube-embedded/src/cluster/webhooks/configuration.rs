//! The webhooks of all configurations, parsed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::criteria::Criteria;
use super::super::derived::Derived;
use super::client_config::ClientConfig;
use super::conditions::Conditions;
use crate::resource::{MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS};
use crate::store::Store;
use crate::strategy::texts;

/// The webhooks as they are now, read again when a configuration was written.
#[derive(Debug, Default)]
pub(crate) struct Webhooks(Derived<Configured, 2>);

/// All webhooks.
#[derive(Debug, Default)]
pub(super) struct Configured {
    /// By the name of the configuration, and then as it lists them.
    pub(super) mutating: Vec<Webhook>,
    pub(super) validating: Vec<Webhook>,
}

/// A webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) name: String,
    /// Identifies it among the webhooks of its kind: also others may have its name.
    pub(super) id: usize,
    pub(super) client: ClientConfig,
    pub(super) criteria: Criteria,
    pub(super) conditions: Conditions,
    /// `failurePolicy: Ignore`
    pub(super) ignores_failures: bool,
    pub(super) timeout: Duration,
    /// `sideEffects` is None or NoneOnDryRun.
    pub(super) allows_dry_run: bool,
    /// `reinvocationPolicy: IfNeeded`
    pub(super) reinvoked: bool,
    /// The first known one of `admissionReviewVersions`.
    pub(super) review_version: Option<&'static str>,
}

impl Webhooks {
    /// The webhooks as they are now.
    pub(super) fn current(&self, store: &Store) -> Arc<Configured> {
        let collections = [MUTATING_WEBHOOK_CONFIGURATIONS, VALIDATING_WEBHOOK_CONFIGURATIONS];
        self.0.current(store, collections, || {
            let [mutating, validating] = collections.map(|it| read(store, it.collection()));
            Configured { mutating, validating }
        })
    }
}

fn read(store: &Store, collection: &str) -> Vec<Webhook> {
    let all = store.all(collection, "");
    let all = all.iter().map(|configuration| configuration.value());
    let webhooks = all.flat_map(|mut configuration| match configuration["webhooks"].take() {
        Value::Array(webhooks) => webhooks,
        _ => Vec::new(),
    });
    webhooks.enumerate().map(|(id, webhook)| Webhook::parse(&webhook, id)).collect()
}

impl Webhook {
    fn parse(webhook: &Value, id: usize) -> Self {
        let text = |field: &str| webhook[field].as_str().unwrap_or_default();
        let versions = texts(&webhook["admissionReviewVersions"]);
        let known = |version: &String| ["v1", "v1beta1"].into_iter().find(|known| known == version);
        let ignores_failures = text("failurePolicy") == "Ignore";
        Self {
            name: text("name").to_owned(),
            id,
            client: ClientConfig::parse(&webhook["clientConfig"]),
            criteria: Criteria::of_webhook(webhook),
            conditions: Conditions::new(&webhook["matchConditions"]),
            ignores_failures,
            timeout: Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(10)),
            allows_dry_run: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            reinvoked: text("reinvocationPolicy") == "IfNeeded",
            review_version: versions.iter().find_map(known),
        }
    }
}
