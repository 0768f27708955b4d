//! Where another server is: the `clientConfig` of admission and conversion webhooks, and the `spec` of an APIService.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::service::{ServiceReference, resolve};
use crate::store::Store;
use crate::webhook::Location;

/// A `WebhookClientConfig`, or the fields of an `APIServiceSpec` that say the same.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    /// `https://HOST[:PORT][PATH]`. Empty: the webhook is a service.
    url: String,
    service: Option<ServiceReference>,
    /// In PEM. Empty: those of the system.
    authorities: Vec<u8>,
    /// Whether any certificate is trusted.
    is_insecure: bool,
}

impl ClientConfig {
    pub(crate) fn parse(config: &Value) -> Self {
        let bundle = config["caBundle"].as_str().and_then(|bundle| BASE64_STANDARD.decode(bundle).ok());
        Self {
            url: config["url"].as_str().unwrap_or_default().to_owned(),
            service: config["service"].is_object().then(|| ServiceReference::parse(&config["service"])),
            authorities: bundle.unwrap_or_default().trim_ascii().to_vec(),
            is_insecure: config["insecureSkipTLSVerify"] == true,
        }
    }

    /// Where it is now.
    pub(crate) fn location(&self, store: &Store) -> Location {
        let (url, address) = match &self.service {
            None => (self.url.clone(), Ok(None)),
            Some(service) => (service.url(), resolve(store, service).map(Some)),
        };
        Location { url, address, authorities: self.authorities.clone(), is_insecure: self.is_insecure }
    }
}
