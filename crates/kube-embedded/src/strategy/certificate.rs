//! CertificateSigningRequests.

use serde_json::{Value, json};

use crate::user::User;

/// Records the user who makes a request, whatever the request says. Nobody can create an approved one.
pub(crate) fn set_requester(request: &mut Value, user: &User) {
    request["status"] = json!({});
    let Some(spec) = request["spec"].as_object_mut() else { return };
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".to_owned(), user.name.clone().into());
    if !user.uid.is_empty() {
        spec.insert("uid".to_owned(), user.uid.clone().into());
    }
    if !user.groups.is_empty() {
        spec.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(user.extra));
    }
}
