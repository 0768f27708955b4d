//! CertificateSigningRequests.

use serde_json::{Value, json};

use super::metadata::copy;
use crate::user::User;

/// Records the user who makes a request, whatever the request says. Nobody can create an approved one.
pub(super) fn prepare_create(request: &mut Value, user: &User) {
    request["status"] = json!({});
    let info = user.info();
    for field in ["username", "uid", "groups", "extra"] {
        copy(&mut request["spec"], &info, field);
    }
}

/// Keeps what was requested, and what was decided about it.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    new["spec"] = old["spec"].clone();
    new["status"] = old["status"].clone();
}
