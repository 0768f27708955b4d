//! The key pair in a Secret for TLS: what Go's `tls.X509KeyPair` says about its PEM. The certificate and the key themselves are
//! not looked into.

use base64::Engine;
use serde_json::Value;

use super::fields::text;

/// Returns what is wrong with a certificate and its key.
pub(super) fn wrong_pair(data: &Value) -> Option<String> {
    let blocks = |key: &str| {
        let decoded = base64::prelude::BASE64_STANDARD.decode(text(data, key)).unwrap_or_default();
        pem_types(&String::from_utf8_lossy(&decoded))
    };
    let (certificate, key) = (blocks("tls.crt"), blocks("tls.key"));
    let is_key = |block: &String| block == "PRIVATE KEY" || block.ends_with(" PRIVATE KEY");
    if !certificate.iter().any(|block| block == "CERTIFICATE") {
        return Some(match &certificate[..] {
            [] => "tls: failed to find any PEM data in certificate input".to_owned(),
            [one] if one.ends_with("PRIVATE KEY") => {
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been \
                 switched"
                    .to_owned()
            }
            others => format!(
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: \
                 [{}]",
                others.join(" ")
            ),
        });
    }
    if key.iter().any(is_key) {
        return None;
    }
    Some(match &key[..] {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        [one] if one == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        others => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following \
             types: [{}]",
            others.join(" ")
        ),
    })
}

/// The types of the PEM blocks in a text.
fn pem_types(text: &str) -> Vec<String> {
    let mut types = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        rest = begun;
        let Some((kind, body)) = begun.split_once("-----") else { break };
        let Some((body, after)) = body.split_once(&format!("-----END {kind}-----")) else { continue };
        let body: String = body.split_whitespace().filter(|line| !line.contains(':')).collect();
        if base64::prelude::BASE64_STANDARD.decode(body).is_ok() {
            types.push(kind.to_owned());
            rest = after;
        }
    }
    types
}
