//! APIServices.

use serde_json::{Value, json};

use super::conditions;

/// Nobody but the server says whether an APIService is available. A local one is.
pub(super) fn prepare_create(service: &mut Value) {
    service["status"] = json!({});
    if service["spec"]["service"].is_null() {
        let created = service["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
        conditions::set(service, local(), &created);
    }
}

/// The condition of an APIService for what this server serves itself.
pub(crate) fn local() -> Value {
    json!({"type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available"})
}
