//! What an exec plugin prints. Source: client-go `plugin/pkg/client/auth/exec` and `pkg/apis/clientauthentication`.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::Offset;
use serde::Deserialize;

use super::credential::Credential;
use super::identity::{Identity, Part};
use super::tls;
use crate::yaml;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: Option<String>,
    kind: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Parses a plugin's output, JSON or YAML. As in client-go, unknown fields are ignored, and `kind` may be missing.
pub(super) fn read(output: &[u8], api_version: &str) -> Result<Credential, String> {
    let value = yaml::parse(output).map_err(|_| "printed something that is neither JSON nor YAML")?;
    // serde's message may repeat a value, and any value here may be the secret.
    let credential: ExecCredential =
        serde_json::from_value(value).map_err(|_| "printed something that is not an ExecCredential")?;
    if !matches!(credential.kind.as_deref(), None | Some("" | "ExecCredential")) {
        return Err("printed something whose kind is not ExecCredential".to_owned());
    }
    let version = credential.api_version.unwrap_or_default();
    if version != api_version {
        return Err(format!("is configured for {api_version}, but responded with {version:?}"));
    }
    let status = credential.status.ok_or("printed an ExecCredential without status")?;
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = some(status.token);
    let identity = match (some(status.client_certificate_data), some(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some(Arc::new(identity(&certificate, &key)?)),
        (None, None) if token.is_some() => None,
        (None, None) => return Err("returned neither a token nor a client certificate and key".to_owned()),
        _ => return Err("returned a client certificate or a key, but not both".to_owned()),
    };
    let bearer = match token {
        Some(token) => {
            Credential::bearer(&token).ok_or("returned a token that is not allowed in a header")?
        }
        None => Credential::default(),
    };
    let expires = match status.expiration_timestamp {
        Some(text) => expiration(&text).ok_or("returned an expirationTimestamp that is not in RFC 3339")?,
        None => None,
    };
    Ok(Credential { identity, expires, ..bearer })
}

fn identity(certificate: &str, key: &str) -> Result<Identity, String> {
    Identity::from_pem(certificate.as_bytes(), key.as_bytes(), &tls::provider()).map_err(|problem| {
        let field = match problem.part {
            Part::Certificate => "clientCertificateData",
            Part::Key => "clientKeyData",
        };
        format!("returned a {field} that {problem}")
    })
}

/// Reads a time in RFC 3339. The inner `None` means never: Go's zero time, and what lies beyond the last time that can be
/// held, which is a few hours before the end of the year 9999.
fn expiration(text: &str) -> Option<Option<Timestamp>> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = match pieces.offset()? {
        PiecesOffset::Zulu => Offset::UTC,
        PiecesOffset::Numeric(offset) => offset.offset(),
        _ => return None,
    };
    let time = pieces.date().to_datetime(pieces.time()?);
    match offset.to_timestamp(time) {
        Ok(time) => Some(Some(time).filter(|time| time.as_second() != ZERO_TIME)),
        Err(_) if time.year() > 0 => Some(None),
        Err(_) => None,
    }
}

/// 0001-01-01T00:00:00Z
const ZERO_TIME: i64 = -62_135_596_800;

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn problem(output: &str) -> String {
        read(output.as_bytes(), V1).err().expect("a problem")
    }

    fn token() -> Credential {
        Credential::bearer("t").unwrap()
    }

    #[test]
    fn an_output_without_a_credential_is_reported_without_repeating_it() {
        let v1 = |rest: &str| format!(r#"{{"kind":"ExecCredential","apiVersion":"{V1}"{rest}}}"#);
        for (output, want) in [
            (String::new(), "not an ExecCredential"),
            ("{".to_owned(), "neither JSON nor YAML"),
            (r#"{"kind":"Pod"}"#.to_owned(), "kind"),
            (r#"{"kind":"execcredential"}"#.to_owned(), "kind"),
            (v1("").replace("v1", "v1beta1"), "v1beta1"),
            (r#"{"kind":"ExecCredential","status":{"token":"hunter2"}}"#.to_owned(), "responded with \"\""),
            (v1(""), "without status"),
            (v1(r#","status":{}"#), "neither"),
            (v1(r#","status":{"token":5577}"#), "not an ExecCredential"),
            (v1(r#","status":{"clientKeyData":"hunter2"}"#), "not both"),
            (v1(r#","status":{"token":"hunter2","expirationTimestamp":""}"#), "RFC 3339"),
            (v1(r#","status":{"token":"hunter2","expirationTimestamp":"2030-01-01"}"#), "RFC 3339"),
            (
                v1(r#","status":{"clientCertificateData":"hunter2","clientKeyData":"hunter2"}"#),
                "returned a clientCertificateData that contains no PEM certificate",
            ),
        ] {
            let problem = problem(&output);
            assert!(problem.contains(want), "{output}: {problem}");
            assert!(!problem.contains("hunter2") && !problem.contains("5577"), "{problem}");
        }
    }

    // client-go fills in the kind that it expects, ignores unknown fields, and takes null for unset.
    #[test]
    fn what_client_go_accepts_is_accepted() {
        for output in [
            format!("apiVersion: {V1}\nkind: ExecCredential\nstatus:\n  token: t\n"),
            format!(r#"{{"apiVersion":"{V1}","status":{{"token":"t"}}}}"#),
            format!(r#"{{"apiVersion":"{V1}","kind":"","status":{{"token":"t"}}}}"#),
            format!(
                r#"{{"apiVersion":"{V1}","spec":{{"x":1}},"more":[],"status":{{"token":"t","also":2}}}}"#
            ),
            format!(
                r#"{{"apiVersion":"{V1}","kind":null,"status":{{"token":"t","expirationTimestamp":null,"clientKeyData":null}}}}"#
            ),
            format!("apiVersion: {V1}\nstatus: {{token: t, expirationTimestamp: 9999-12-31T23:59:59Z}}\n"),
        ] {
            assert!(read(output.as_bytes(), V1).is_ok_and(|credential| credential == token()), "{output}");
        }
    }

    #[test]
    fn what_lies_beyond_every_time_means_never() {
        let at = |second| Some(Some(Timestamp::from_second(second).unwrap()));
        for (text, want) in [
            ("2030-01-01T00:00:00Z", at(1_893_456_000)),
            ("2030-01-01T01:00:00+01:00", at(1_893_456_000)),
            (
                "2030-01-01T00:00:00.5Z",
                at(1_893_456_000).map(|it| it.map(|it| it + jiff::SignedDuration::from_millis(500))),
            ),
            ("9999-12-31T23:59:59Z", Some(None)),
            ("9999-12-31T23:59:59-12:00", Some(None)),
            ("0001-01-01T00:00:00Z", Some(None)),
            ("tomorrow", None),
            ("2030-01-01T00:00:00", None),
        ] {
            assert_eq!(expiration(text), want, "{text}");
        }
    }
}
