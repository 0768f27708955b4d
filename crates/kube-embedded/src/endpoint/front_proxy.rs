//! Users whom a front proxy names in headers: `headerrequest` of apiserver.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::user::User;

/// In which headers a front proxy names the user of a request, and which proxies may: kube-apiserver's flags
/// `--requestheader-*`. The default are the headers of kube-apiserver itself as a proxy, from any proxy with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHeaders {
    /// The common names of the proxies' certificates. Empty: any.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name, of which the first one that is not empty counts.
    pub username: Vec<String>,
    /// Headers with the user's uid, of which the first one that is not empty counts.
    pub uid: Vec<String>,
    /// Headers with groups, of which all count.
    pub groups: Vec<String>,
    /// What the names of headers with extra fields begin with.
    pub extra_prefixes: Vec<String>,
}

/// A header that names a user is not UTF-8.
#[derive(Debug)]
pub(super) struct NotText;

impl Default for RequestHeaders {
    fn default() -> Self {
        let one = |name: &str| vec![name.to_owned()];
        Self {
            allowed_names: Vec::new(),
            username: one("X-Remote-User"),
            uid: one("X-Remote-Uid"),
            groups: one("X-Remote-Group"),
            extra_prefixes: one("X-Remote-Extra-"),
        }
    }
}

impl RequestHeaders {
    /// Refuses empty names: an empty prefix would be that of every header, and of names nothing but empty ones would be left.
    ///
    /// # Errors
    /// Fails with what is empty.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { allowed_names, username, uid, groups, extra_prefixes } = self;
        let all = [allowed_names, username, uid, groups, extra_prefixes];
        match all.into_iter().flatten().any(|name| name.trim().is_empty()) {
            true => Err("the name of a front proxy, or of a header of theirs, is empty".to_owned()),
            false => Ok(()),
        }
    }

    /// Whether a proxy with this common name may name users.
    pub(super) fn allows(&self, common_name: &str) -> bool {
        self.allowed_names.is_empty() || self.allowed_names.iter().any(|allowed| allowed == common_name)
    }

    /// The user whom a proxy names. `None`: it names nobody.
    ///
    /// # Errors
    /// Fails if a header cannot be read.
    pub(super) fn user(&self, headers: &HeaderMap) -> Result<Option<User>, NotText> {
        let Some(name) = first(headers, &self.username)? else { return Ok(None) };
        let groups: Vec<String> = self
            .groups
            .iter()
            .flat_map(|header| headers.get_all(header.trim()))
            .filter(|value| !value.is_empty())
            .map(text)
            .collect::<Result<_, _>>()?;
        let mut user =
            User { name, uid: first(headers, &self.uid)?.unwrap_or_default(), groups, ..User::default() };
        for prefix in &self.extra_prefixes {
            for (name, value) in headers {
                if let Some(key) = without_prefix(name, prefix) {
                    user.extra.entry(unescape(key)).or_default().push(text(value)?);
                }
            }
        }
        user.authenticate();
        Ok(Some(user))
    }

    /// Removes what says who the user is.
    pub(super) fn clear(&self, headers: &mut HeaderMap) {
        for name in [&self.username, &self.uid, &self.groups].into_iter().flatten() {
            headers.remove(name.trim());
        }
        let is_extra = |name: &&HeaderName| {
            self.extra_prefixes.iter().any(|prefix| without_prefix(name, prefix).is_some())
        };
        let extra: Vec<HeaderName> = headers.keys().filter(is_extra).cloned().collect();
        for name in extra {
            headers.remove(name);
        }
    }
}

fn first(headers: &HeaderMap, names: &[String]) -> Result<Option<String>, NotText> {
    let mut values = names.iter().filter_map(|name| headers.get(name.trim()));
    values.find(|value| !value.is_empty()).map(text).transpose()
}

fn text(value: &HeaderValue) -> Result<String, NotText> {
    String::from_utf8(value.as_bytes().to_vec()).map_err(|_| NotText)
}

/// The rest of a header's name, in lower case, which is how they are kept.
fn without_prefix<'a>(name: &'a HeaderName, prefix: &str) -> Option<&'a str> {
    name.as_str().strip_prefix(&*prefix.trim().to_ascii_lowercase())
}

/// The key of an extra field: as it is, if it is not escaped properly.
fn unescape(key: &str) -> String {
    let is_escaped = key
        .split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    let unescaped = percent_decode_str(key).decode_utf8().ok().filter(|_| is_escaped);
    unescaped.unwrap_or(key.into()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_refused() {
        assert!(RequestHeaders::default().check().is_ok());
        for headers in [
            RequestHeaders { allowed_names: vec![String::new()], ..Default::default() },
            RequestHeaders { extra_prefixes: vec![" ".into()], ..Default::default() },
        ] {
            assert!(headers.check().is_err());
        }
    }

    #[test]
    fn a_proxy_names_a_user() {
        let proxies =
            RequestHeaders { username: vec!["X-User".into(), "X-Name".into()], ..Default::default() };
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-user", ""),
            ("x-name", "jane"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "devs"),
            ("x-remote-group", "ops"),
            ("x-remote-extra-example.com%2fa", "1"),
            ("x-remote-extra-100%", "2"),
            ("accept", "*/*"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let user = proxies.user(&headers).unwrap().unwrap();
        assert_eq!((&*user.name, &*user.uid), ("jane", "7"));
        assert_eq!(user.groups, ["devs", "ops", "system:authenticated"]);
        assert_eq!(user.extra.keys().collect::<Vec<_>>(), ["100%", "example.com/a"]);
        proxies.clear(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
        assert!(proxies.user(&headers).unwrap().is_none());
        headers.insert("x-user", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(proxies.user(&headers).is_err());
    }
}
