//! The headers with which a request impersonates another user.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::cluster::Impersonation;
use crate::status::Status;

const EXTRA: &str = "impersonate-extra-";

/// Returns the user that a request asks to act as.
///
/// # Errors
/// Fails with 400 if a value is not UTF-8: a name that cannot be read must not be replaced by another name, or be
/// ignored.
pub(super) fn impersonation(headers: &HeaderMap) -> Result<Impersonation, Status> {
    let mut asked = Impersonation::default();
    // Most requests have no such headers.
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(asked);
    }
    let first = |name| headers.get(name).map_or(Ok(String::new()), text);
    asked.user = first("impersonate-user")?;
    asked.uid = first("impersonate-uid")?;
    asked.groups = headers.get_all("impersonate-group").iter().map(text).collect::<Result<_, _>>()?;
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_decode_str(key).decode_utf8().map_or(key.to_owned(), Cow::into_owned);
        let values = headers.get_all(name).iter().map(text).collect::<Result<Vec<_>, _>>()?;
        asked.extra.entry(key).or_default().extend(values);
    }
    Ok(asked)
}

fn text(value: &HeaderValue) -> Result<String, Status> {
    let text = std::str::from_utf8(value.as_bytes()).map(str::to_owned);
    text.map_err(|_| Status::bad_request("a header that names a user to impersonate is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &[u8])]) -> Result<Impersonation, Status> {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        });
        let mut all = HeaderMap::new();
        headers.for_each(|(name, value)| _ = all.append(name, value));
        impersonation(&all)
    }

    #[test]
    fn all_that_is_asked_for_is_read() {
        let asked = of(&[
            ("impersonate-user", "żaneta".as_bytes()),
            ("impersonate-group", b"a"),
            ("impersonate-group", b"b"),
            ("impersonate-uid", b"u"),
            ("impersonate-extra-example.com%2fscopes", b"read"),
            ("impersonate-extra-example.com%2fscopes", b"write"),
        ]);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = Impersonation {
            user: "żaneta".to_owned(),
            groups: texts(&["a", "b"]),
            uid: "u".to_owned(),
            extra: [("example.com/scopes".to_owned(), texts(&["read", "write"]))].into(),
        };
        assert_eq!(asked, Ok(expected));
        assert_eq!(of(&[("impersonate-user", b""), ("accept", b"*/*")]), Ok(Impersonation::default()));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for name in ["impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-a"] {
            assert_eq!(of(&[(name, b"\xff")]).unwrap_err().code, 400, "{name}");
        }
    }
}
