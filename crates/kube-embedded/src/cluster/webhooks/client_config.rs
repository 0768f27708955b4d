//! Where a webhook is: the `clientConfig` of admission and conversion webhooks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::service::{ServiceReference, resolve};
use crate::store::Store;
use crate::webhook::Location;

/// A `WebhookClientConfig`.
#[derive(Clone, Debug)]
pub(super) struct ClientConfig {
    /// `https://HOST[:PORT][PATH]`. Empty: the webhook is a service.
    url: String,
    service: Option<ServiceReference>,
    /// In PEM. Empty: those of the system.
    authorities: Vec<u8>,
}

impl ClientConfig {
    pub(super) fn parse(config: &Value) -> Self {
        let bundle = config["caBundle"].as_str().and_then(|bundle| BASE64_STANDARD.decode(bundle).ok());
        Self {
            url: config["url"].as_str().unwrap_or_default().to_owned(),
            service: config["service"].is_object().then(|| ServiceReference::parse(&config["service"])),
            authorities: bundle.unwrap_or_default().trim_ascii().to_vec(),
        }
    }

    /// Where it is now.
    pub(super) fn location(&self, store: &Store) -> Location {
        let authorities = self.authorities.clone();
        match &self.service {
            None => Location { url: self.url.clone(), address: Ok(None), authorities },
            Some(service) => {
                Location { url: service.url(), address: resolve(store, service).map(Some), authorities }
            }
        }
    }
}
