//! Whom this server trusts, published for aggregated servers, which are to trust the same: the ConfigMap
//! `kube-system/extension-apiserver-authentication` of kubernetes' `clusterauthenticationtrust`.

use base64::Engine;
use serde_json::{Map, Value, json};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::commit::API_SERVER;
use super::state::Cluster;
use super::target::Target;
use crate::resource::CONFIG_MAPS;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// How long an authority that has expired is kept, in seconds.
const EXPIRED_KEPT: i64 = 5 * 60;

/// Whom a server trusts, by the keys of the ConfigMap.
#[derive(Debug)]
pub(crate) struct Trusted {
    /// Certificates in DER.
    pub(crate) authorities: Vec<(&'static str, Vec<Vec<u8>>)>,
    pub(crate) lists: Vec<(&'static str, Vec<String>)>,
}

impl Cluster {
    /// Publishes whom the server trusts.
    pub(crate) fn publish_trusted(&self, trusted: Trusted) {
        // All sockets of a server trust the same.
        let _ = self.trusted.set(trusted);
        self.restore_trusted();
    }

    /// Publishes it again if it was what somebody has deleted.
    pub(super) fn follow_trusted(&self, namespace: &str, name: &str) {
        if (namespace, name) == (NAMESPACE, NAME) {
            self.restore_trusted();
        }
    }

    fn restore_trusted(&self) {
        let Some(trusted) = self.trusted.get() else { return };
        let Some(resource) = self.scheme().by_collection(CONFIG_MAPS.collection()).cloned() else { return };
        let now = self.clock.now().as_second();
        if self.object(&resource, NAMESPACE, NAME).is_err() {
            let Some(data) = trusted.merged(&Value::Null, now) else { return };
            let map = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "data": data,
            });
            return self.create_unless_there(API_SERVER, map);
        }
        let target = Target { resource: &resource, namespace: NAMESPACE, name: NAME };
        let changed = self.modify_as(API_SERVER, target, "", |map| {
            // What cannot be read is left alone.
            if let Some(data) = trusted.merged(&map["data"], now) {
                map["data"] = data.into();
            }
        });
        if let Err(error) = changed {
            // If it no longer exists, the hook of its deletion makes it again.
            tracing::debug!(?error, "the ConfigMap {NAME} was not written");
        }
    }
}

impl Trusted {
    /// The data of the ConfigMap: what others have published stays. `None`: that cannot be read.
    fn merged(&self, before: &Value, now: i64) -> Option<Map<String, Value>> {
        let mut data = Map::new();
        for (key, required) in &self.authorities {
            let published = before[*key].as_str().unwrap_or_default().as_bytes();
            let published: Result<Vec<Pem>, _> = Pem::iter_from_buffer(published).collect();
            let mut all: Vec<Vec<u8>> = Vec::new();
            for der in published.ok()?.into_iter().map(|pem| pem.contents).chain(required.iter().cloned()) {
                let ends = X509Certificate::from_der(&der).ok()?.1.validity().not_after.timestamp();
                if ends > now - EXPIRED_KEPT && !all.contains(&der) {
                    all.push(der);
                }
            }
            if !all.is_empty() {
                data.insert((*key).to_owned(), all.iter().map(|der| pem(der)).collect::<String>().into());
            }
        }
        for (key, required) in &self.lists {
            let published = before[*key].as_str().filter(|text| !text.is_empty());
            let mut all: Vec<String> = published.map_or(Ok(Vec::new()), serde_json::from_str).ok()?;
            for value in required {
                if !all.contains(value) {
                    all.push(value.clone());
                }
            }
            // This header came later than the others.
            if *key != "requestheader-uid-headers" || !all.is_empty() {
                data.insert((*key).to_owned(), json!(all).to_string().into());
            }
        }
        Some(data)
    }
}

/// A certificate in PEM.
fn pem(der: &[u8]) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
