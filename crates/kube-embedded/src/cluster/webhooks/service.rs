//! Where a service is: `ResolveEndpoint` and `ResolveCluster` of kube-aggregator's `pkg/apiserver/resolvers`.
//!
//! Nobody routes the addresses of Services here, so that only two kinds of Services can be reached: those of the type
//! `ExternalName`, which any test can point to a port of its machine, and those with Endpoints.

use serde_json::Value;

use crate::resource::{ENDPOINT_SLICES, ENDPOINTS, GroupResource, SERVICES};
use crate::store::Store;

/// The label of an EndpointSlice that names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The `service` of a `clientConfig`.
#[derive(Clone, Debug)]
pub(super) struct ServiceReference {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) port: u16,
}

impl ServiceReference {
    pub(super) fn parse(service: &Value) -> Self {
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
        let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        Self {
            namespace: text("namespace"),
            name: text("name"),
            path: text("path"),
            port: port.unwrap_or(443),
        }
    }

    /// The URL by which its certificate is checked.
    pub(super) fn url(&self) -> String {
        let Self { namespace, name, path, port } = self;
        format!("https://{name}.{namespace}.svc:{port}{path}")
    }
}

/// The `HOST:PORT` of a service.
///
/// # Errors
/// Fails if there is no such service or port, or nothing that serves it.
pub(super) fn resolve(store: &Store, service: &ServiceReference) -> Result<String, String> {
    let ServiceReference { namespace, name, port, .. } = service;
    let get = |of: GroupResource<'_>| store.get(of.collection(), &format!("{namespace}/{name}"));
    let stored = get(SERVICES).ok_or_else(|| format!("service {name:?} not found"))?.value();
    let spec = &stored["spec"];
    if spec["type"] == "ExternalName" {
        return Ok(format!("{}:{port}", spec["externalName"].as_str().unwrap_or_default()));
    }
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let known = ports.iter().find(|it| it["port"] == *port);
    let known = known.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let port_name = known["name"].as_str().unwrap_or_default();
    let found = slice_address(store, service, port_name);
    let found = found.or_else(|| endpoints_address(&get(ENDPOINTS)?.value(), port_name));
    found.ok_or_else(|| format!("no endpoints available for service {name:?}"))
}

fn slice_address(store: &Store, service: &ServiceReference, port: &str) -> Option<String> {
    let prefix = format!("{}/", service.namespace);
    let all = store.all(ENDPOINT_SLICES.collection(), &prefix);
    let of_service = |labels: &serde_json::Map<String, Value>| {
        labels.get(SERVICE_NAME).and_then(Value::as_str) == Some(&*service.name)
    };
    all.iter().filter(|slice| of_service(&slice.labels())).find_map(|slice| {
        let slice = slice.value();
        let port = port_number(&slice["ports"], port)?;
        let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
        let endpoint = slice["endpoints"].as_array()?.iter().find(ready)?;
        Some(address(endpoint["addresses"][0].as_str()?, port))
    })
}

fn endpoints_address(endpoints: &Value, port: &str) -> Option<String> {
    endpoints["subsets"].as_array()?.iter().find_map(|subset| {
        let port = port_number(&subset["ports"], port)?;
        Some(address(subset["addresses"][0]["ip"].as_str()?, port))
    })
}

fn port_number(ports: &Value, name: &str) -> Option<u64> {
    let named = |port: &&Value| port["name"].as_str().unwrap_or_default() == name;
    ports.as_array()?.iter().find(named)?["port"].as_u64()
}

fn address(ip: &str, port: u64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
