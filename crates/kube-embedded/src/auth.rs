//! Who a request is from.

use std::collections::HashMap;

use base64::Engine;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of all who said who they are.
const AUTHENTICATED: &str = "system:authenticated";

/// What the store keeps the tokens under.
const KEPT: &str = "token/";

/// A user, as RBAC knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

/// The bearer tokens of a server.
#[derive(Debug)]
pub(crate) struct Tokens(HashMap<String, User>);

impl User {
    /// A user who said who it is.
    pub(crate) fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain([AUTHENTICATED]).map(str::to_owned).collect();
        Self { name: name.to_owned(), groups }
    }

    /// The user of requests without a socket.
    pub(crate) fn admin() -> Self {
        Self::new("admin", &[MASTERS])
    }

    /// The user of requests without a token.
    pub(crate) fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
    }

    /// Whether it may do everything.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

impl Tokens {
    /// Those that a store keeps.
    pub(crate) fn load(store: &Store) -> Self {
        let kept = store.kept_under(KEPT).into_iter();
        Self(kept.filter_map(|(token, user)| Some((token, serde_json::from_slice(&user).ok()?))).collect())
    }

    /// The token of a user: the one that it has, or a new one of 256 random bits, which the store keeps.
    pub(crate) fn issue(&mut self, store: &Store, user: User) -> String {
        if let Some((token, _)) = self.0.iter().find(|(_, it)| **it == user) {
            return token.clone();
        }
        let mut random = Vec::with_capacity(32);
        random.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
        random.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
        let token = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(random);
        store.keep(&format!("{KEPT}{token}"), serde_json::to_vec(&user).unwrap_or_default());
        self.0.insert(token.clone(), user);
        token
    }

    /// Who a request is from; none if it has a token that is nobody's.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Option<User> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Some(User::anonymous()) };
        let value = value.to_str().ok()?.trim();
        let (scheme, token) = value.split_once(' ')?;
        // Looked up by its hash, so the time it takes tells nothing of the tokens that there are.
        scheme.eq_ignore_ascii_case("bearer").then(|| self.0.get(token.trim()).cloned())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_request_is_its_tokens_users() {
        let store = Store::new(Clock::default());
        let mut tokens = Tokens::load(&store);
        let token = tokens.issue(&store, User::new("jane", &["devs"]));
        assert_eq!(tokens.issue(&store, User::new("jane", &["devs"])), token);
        assert_ne!(tokens.issue(&store, User::new("jane", &[])), token);
        let tokens = Tokens::load(&store);
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            tokens.authenticate(&headers)
        };
        assert_eq!(with(&format!("Bearer {token}")).unwrap().name, "jane");
        assert_eq!(with(&format!("bearer {token}")).unwrap().groups, ["devs", "system:authenticated"]);
        assert_eq!(with("Bearer wrong"), None);
        assert_eq!(with(&format!("Basic {token}")), None);
        assert_eq!(tokens.authenticate(&HeaderMap::new()), Some(User::anonymous()));
    }
}
