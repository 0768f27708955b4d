//! CertificateSigningRequests, and names of ClusterTrustBundles.

use kube_validation::names;
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

/// The problems of the name of a ClusterTrustBundle, which begins with that of its signer.
pub(super) fn wrong_bundle_name(name: &str, signer: &str) -> Vec<String> {
    if signer.is_empty() {
        return match name.contains(':') {
            true => vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()],
            false => names::dns1123_subdomain(name),
        };
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => names::dns1123_subdomain(rest),
        None => {
            vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")]
        }
    }
}
