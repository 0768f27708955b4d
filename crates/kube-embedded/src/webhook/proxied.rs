//! In whose name a request is passed on: the headers that kube-aggregator sets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::header::{HeaderMap, HeaderName, HeaderValue};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

/// Part of a user cannot be the value of a header. The message is Go's.
#[derive(Debug, thiserror::Error)]
#[error("net/http: invalid header field value for {0:?}")]
pub(crate) struct Unnameable(String);

/// Sets the user of a request. Whatever it said about that before is removed.
///
/// # Errors
/// Fails if a header cannot have such a value. The request must then not be sent.
pub(crate) fn set_user(
    headers: &mut HeaderMap,
    name: &str,
    uid: &str,
    groups: &[String],
    extra: &BTreeMap<String, Vec<String>>,
) -> Result<(), Unnameable> {
    let given: Vec<HeaderName> = headers.keys().filter(|name| is_identity(name)).cloned().collect();
    for name in given {
        headers.remove(name);
    }
    append(headers, USER, name)?;
    if !uid.is_empty() {
        append(headers, UID, uid)?;
    }
    for group in groups {
        append(headers, GROUP, group)?;
    }
    for (key, values) in extra {
        let name = format!("{EXTRA}{}", escape(key));
        let name = HeaderName::try_from(&name).map_err(|_| Unnameable(name))?;
        for value in values {
            append(headers, name.clone(), value)?;
        }
    }
    Ok(())
}

fn is_identity(name: &HeaderName) -> bool {
    [USER, UID, GROUP].contains(name) || name.as_str().starts_with(EXTRA)
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Unnameable> {
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Unnameable(name.to_string()))?;
    headers.append(name, value);
    Ok(())
}

/// A key as a part of a header's name: client-go's `headerKeyEscape`.
fn escape(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|'
            | b'~' => {
                escaped.push(char::from(byte));
            }
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            // Writing to a String never fails.
            _ => _ = write!(escaped, "%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_user_and_nobody_else() {
        let mut headers = HeaderMap::new();
        for name in ["x-remote-user", "x-remote-group", "x-remote-extra-scopes", "accept"] {
            headers.insert(name, HeaderValue::from_static("forged"));
        }
        let extra = BTreeMap::from([("example.com/a b".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        set_user(&mut headers, "jane", "", &["devs".to_owned()], &extra).unwrap();
        let all =
            |name: &str| headers.get_all(name).iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("x-remote-user"), ["jane"]);
        assert_eq!(all("x-remote-group"), ["devs"]);
        assert_eq!(all("x-remote-extra-example.com%2fa%20b"), ["1", "2"]);
        assert!(headers.get("x-remote-extra-scopes").is_none());
        assert_eq!(all("accept"), ["forged"]);
        for name in ["jane\nx-remote-group: system:masters", "\u{7f}"] {
            assert!(set_user(&mut headers, name, "", &[], &BTreeMap::new()).is_err());
        }
    }
}
