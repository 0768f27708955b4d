//! CertificateSigningRequests: `pkg/apis/certificates/validation`, without the ASN.1 in the request.

use std::collections::HashSet;

use base64::Engine;
use serde_json::Value;

use super::errors::{Errors, items, text};
use kube_validation::{FieldError, FieldPath, go::quote, names};

const ROOT: FieldPath<'static> = FieldPath::Root("");

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(super) fn create(object: &Value, errors: &mut Errors) {
    let (spec, path) = (&object["spec"], ROOT.child("spec"));
    if !is_request(text(spec, "request")) {
        let detail = "PEM block type must be CERTIFICATE REQUEST";
        errors.push(FieldError::invalid(path.child("request"), &spec["request"], detail));
    }
    if items(&spec["usages"]).is_empty() {
        errors.push(FieldError::required(path.child("usages"), ""));
    }
    errors.each(spec, "usages", &path, |usage, path, errors| errors.one_of(usage, &USAGES, *path));
    let mut seen = HashSet::new();
    errors.each(spec, "usages", &path, |usage, path, errors| {
        if !seen.insert(usage.clone()) {
            errors.push(FieldError::duplicate(path, usage));
        }
    });
    signer(text(spec, "signerName"), &path.child("signerName"), errors);
    let seconds = &spec["expirationSeconds"];
    if seconds.as_i64().is_some_and(|seconds| seconds < 600) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(path.child("expirationSeconds"), seconds, detail));
    }
}

/// Returns whether the first PEM block of a text in base64 is a certificate request.
fn is_request(base64: &str) -> bool {
    let pem = base64::prelude::BASE64_STANDARD.decode(base64).unwrap_or_default();
    let pem = String::from_utf8_lossy(&pem);
    let is_line = |line: &str| pem.lines().any(|it| it.trim_end() == line);
    is_line("-----BEGIN CERTIFICATE REQUEST-----") && is_line("-----END CERTIFICATE REQUEST-----")
}

/// Checks the name of a signer: `example.com/name`.
fn signer(name: &str, path: &FieldPath<'_>, errors: &mut Errors) {
    if name == "kubernetes.io/legacy-unknown" {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(path, &name.into(), detail));
        return;
    }
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let [domain, rest] = name.split('/').collect::<Vec<_>>()[..] else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(path, &name.into(), detail));
        return;
    };
    if domain.len() > 253 {
        errors.push(FieldError::too_long(path, 253));
    }
    labels(domain, names::dns1123_label, path, errors);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, &domain.into(), detail));
    }
    labels(rest, names::dns1123_subdomain, path, errors);
    if name.len() > 571 {
        errors.push(FieldError::too_long(path, 571));
    }
}

/// Reports the first wrong label of a part of a name.
fn labels(part: &str, check: fn(&str) -> Vec<String>, path: &FieldPath<'_>, errors: &mut Errors) {
    let Some(label) = part.split('.').find(|label| !check(label).is_empty()) else { return };
    for why in check(label) {
        let detail = format!("validating label {}: {why}", quote(label));
        errors.push(FieldError::invalid(path, &part.into(), &detail));
    }
}
