//! Client certificates, and the users they belong to.

use base64::Engine;

use crate::store::Store;
use crate::user::User;

/// Records the holder of a certificate.
pub(crate) fn hold_certificate(store: &Store, certificate: &[u8], user: &User) {
    store.keep(&key(certificate), serde_json::to_vec(user).unwrap_or_default());
}

/// Returns the holder of a certificate.
pub(crate) fn certificate_holder(store: &Store, certificate: &[u8]) -> Option<User> {
    serde_json::from_slice(&store.kept(&key(certificate))?).ok()
}

/// The name under which the store keeps the holder of a certificate.
fn key(certificate: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    format!("certificate/{}", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(hash))
}
