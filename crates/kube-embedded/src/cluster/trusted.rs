//! Whom a server trusts, as the data of a ConfigMap.

use base64::Engine;
use serde_json::{Map, Value, json};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

const FRONT_PROXIES: &str = "requestheader-client-ca-file";
/// The keys with certificates in PEM.
const AUTHORITIES: [&str; 2] = ["client-ca-file", FRONT_PROXIES];
const UIDS: &str = "requestheader-uid-headers";
/// The keys with lists in JSON.
const LISTS: [&str; 5] = [
    "requestheader-username-headers",
    UIDS,
    "requestheader-group-headers",
    "requestheader-extra-headers-prefix",
    "requestheader-allowed-names",
];
/// How long an authority that has expired is kept, in seconds.
const EXPIRED_KEPT: i64 = 5 * 60;

/// Whom a server trusts, by the keys of the ConfigMap.
#[derive(Debug)]
pub(crate) struct Trusted {
    /// Certificates in DER.
    pub(crate) authorities: Vec<(&'static str, Vec<Vec<u8>>)>,
    pub(crate) lists: Vec<(&'static str, Vec<String>)>,
}

impl Trusted {
    /// The data of the ConfigMap: what others have published stays. `None`: that cannot be read.
    pub(super) fn merged(&self, before: &Value, now: i64) -> Option<Map<String, Value>> {
        let mut data = Map::new();
        for key in AUTHORITIES {
            let published = before[key].as_str().unwrap_or_default().as_bytes();
            let published: Result<Vec<Pem>, _> = Pem::iter_from_buffer(published).collect();
            let mut all: Vec<Vec<u8>> = Vec::new();
            let published = published.ok()?.into_iter().map(|pem| pem.contents);
            for der in published.chain(required(&self.authorities, key).cloned()) {
                let ends = X509Certificate::from_der(&der).ok()?.1.validity().not_after.timestamp();
                if ends > now - EXPIRED_KEPT && !all.contains(&der) {
                    all.push(der);
                }
            }
            if !all.is_empty() {
                data.insert(key.to_owned(), all.iter().map(|der| pem(der)).collect::<String>().into());
            }
        }
        if !data.contains_key(FRONT_PROXIES) {
            return Some(data);
        }
        for key in LISTS {
            let published = before[key].as_str().filter(|text| !text.is_empty());
            let mut all: Vec<String> = published.map_or(Ok(Vec::new()), serde_json::from_str).ok()?;
            for value in required(&self.lists, key) {
                if !all.contains(value) {
                    all.push(value.clone());
                }
            }
            // This header came later than the others.
            if key != UIDS || !all.is_empty() {
                data.insert(key.to_owned(), json!(all).to_string().into());
            }
        }
        Some(data)
    }
}

/// What a server itself wants to be published.
fn required<'a, T>(all: &'a [(&str, Vec<T>)], key: &'a str) -> impl Iterator<Item = &'a T> {
    all.iter().filter(move |(name, _)| *name == key).flat_map(|(_, values)| values)
}

/// A certificate in PEM.
fn pem(der: &[u8]) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(ends: i32) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(ends, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn what_others_have_published_stays() {
        let (own, other, expired) = (certificate(2100), certificate(2100), certificate(2001));
        let trusted = Trusted { authorities: vec![("client-ca-file", vec![own.clone()])], lists: Vec::new() };
        let now = 1_700_000_000;
        let first = trusted.merged(&Value::Null, now).unwrap();
        assert_eq!(Value::from(first.clone()), json!({"client-ca-file": pem(&own)}));
        assert_eq!(trusted.merged(&first.into(), now).unwrap()["client-ca-file"], pem(&own));

        let published = json!({
            "client-ca-file": pem(&other) + &pem(&expired),
            "requestheader-client-ca-file": pem(&other),
            "requestheader-allowed-names": "[\"a\"]",
        });
        let merged = trusted.merged(&published, now).unwrap();
        assert_eq!(merged["client-ca-file"], pem(&other) + &pem(&own));
        assert_eq!(merged["requestheader-client-ca-file"], pem(&other));
        assert_eq!(merged["requestheader-allowed-names"], "[\"a\"]");
        assert_eq!(merged["requestheader-username-headers"], "[]");
        assert!(!merged.contains_key(UIDS));
        assert_eq!(trusted.merged(&json!({"client-ca-file": pem(b"x")}), now), None);
    }
}
