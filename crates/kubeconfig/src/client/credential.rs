//! Credentials.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use jiff::Timestamp;

use super::identity::Identity;

/// A credential. Not `Debug`, because it is secret.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Credential {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) expires: Option<Timestamp>,
}

impl Credential {
    pub(super) fn bearer(token: &str) -> Option<Self> {
        let authorization = Some(header(&format!("Bearer {token}"))?);
        Some(Self { authorization, ..Self::default() })
    }

    pub(super) fn basic(username: &str, password: &str) -> Self {
        let value = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        Self { authorization: header(&value), ..Self::default() }
    }
}

fn header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}
