//! Publishes whom this server trusts for aggregated servers, which are to trust the same: the ConfigMap
//! `kube-system/extension-apiserver-authentication` of kubernetes' `clusterauthenticationtrust`.

use serde_json::{Value, json};

use super::commit::API_SERVER;
use super::state::Cluster;
use super::target::Target;
use super::trusted::Trusted;
use crate::resource::CONFIG_MAPS;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

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
