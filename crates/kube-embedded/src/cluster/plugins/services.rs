//! The plugin DenyServiceExternalIPs: nobody routes another's address to a Service.

use serde_json::Value;

use super::super::admission_request::AdmissionRequest;
use super::super::state::Cluster;
use crate::resource::SERVICES;
use crate::status::Status;
use crate::strategy::texts;

/// Refuses external addresses of a Service, except those that it has had.
pub(super) fn deny_external_ips(
    _: &Cluster,
    request: &AdmissionRequest<'_>,
    service: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let addresses = |service: &Value| texts(&service["spec"]["externalIPs"]);
    let before = old.map(addresses).unwrap_or_default();
    if request.is_for(SERVICES) && !addresses(service).iter().all(|address| before.contains(address)) {
        return Err(request.forbidden(service, "Use of external IPs is denied by admission control"));
    }
    Ok(())
}
