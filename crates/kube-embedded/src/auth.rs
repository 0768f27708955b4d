//! Who a request is from.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine;
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::service_account::{Claims, Error, ISSUER, Signer};
use crate::store::Store;

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of all who said who they are.
const AUTHENTICATED: &str = "system:authenticated";

/// What the store keeps the tokens under.
const KEPT: &str = "token/";
/// What the store keeps the holders of certificates under, by the SHA-256 of these.
const KEPT_HOLDER: &str = "certificate/";

/// A user, as RBAC knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Empty: it has none.
    #[serde(default)]
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

/// Who the users of a server are.
#[derive(Debug)]
pub(crate) struct Authentication {
    tokens: Mutex<Tokens>,
    signer: OnceLock<Option<Signer>>,
}

/// The bearer tokens of a server.
#[derive(Debug)]
struct Tokens(HashMap<String, User>);

impl User {
    /// A user who said who it is.
    pub(crate) fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain([AUTHENTICATED]).map(str::to_owned).collect();
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// The user of requests without a socket.
    pub(crate) fn admin() -> Self {
        Self::new("admin", &[MASTERS])
    }

    /// The user of requests without a token.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    /// Whether it may do everything.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

impl Tokens {
    /// Those that a store keeps.
    fn load(store: &Store) -> Self {
        let kept = store.kept_under(KEPT).into_iter();
        Self(kept.filter_map(|(token, user)| Some((token, serde_json::from_slice(&user).ok()?))).collect())
    }

    /// The token of a user: the one that it has, or a new one of 256 random bits, which the store keeps.
    fn issue(&mut self, store: &Store, user: User) -> String {
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
}

impl Authentication {
    /// That of a store's users.
    pub(crate) fn new(store: &Store) -> Self {
        Self { tokens: Mutex::new(Tokens::load(store)), signer: OnceLock::new() }
    }

    /// The token of a user, which a new one gets.
    pub(crate) fn issue(&self, store: &Store, user: User) -> String {
        self.lock().issue(store, user)
    }

    /// A token for a ServiceAccount; none if the system has no random numbers.
    pub(crate) fn sign(&self, store: &Store, claims: &Claims<'_>) -> Option<String> {
        self.signer(store)?.sign(claims)
    }

    /// The key by which others verify the tokens of ServiceAccounts; none if the system has no random numbers.
    pub(crate) fn public_key(&self, store: &Store) -> Option<serde_json::Value> {
        Some(self.signer(store)?.public_key())
    }

    /// Whose a token is, and for which of the audiences that are asked for.
    pub(crate) fn whose(
        &self,
        store: &Store,
        now: Timestamp,
        token: &str,
        asked: &[String],
    ) -> Result<(User, Vec<String>), Error> {
        // Looked up by its hash, so the time it takes tells nothing of the tokens that there are.
        let known = self.lock().0.get(token).cloned();
        match known {
            // It is for this server, whatever else is asked for.
            Some(user) if asked.iter().any(|it| it == ISSUER) => Ok((user, vec![ISSUER.to_owned()])),
            Some(_) => Err(Error::Unknown),
            None => self.signer(store).ok_or(Error::Unknown)?.authenticate(store, now, token, asked),
        }
    }

    /// Says who has a certificate.
    pub(crate) fn hold(store: &Store, certificate: &[u8], user: &User) {
        store.keep(&holder_key(certificate), serde_json::to_vec(user).unwrap_or_default());
    }

    /// Who has a certificate.
    pub(crate) fn holder(store: &Store, certificate: &[u8]) -> Option<User> {
        serde_json::from_slice(&store.kept(&holder_key(certificate))?).ok()
    }

    /// Who a request is from; none if it has a token that is nobody's.
    pub(crate) fn authenticate(&self, store: &Store, now: Timestamp, headers: &HeaderMap) -> Option<User> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Some(User::anonymous()) };
        let value = value.to_str().ok()?.trim();
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(self.whose(store, now, token.trim(), &[ISSUER.to_owned()]).ok()?.0)
    }

    fn signer(&self, store: &Store) -> Option<&Signer> {
        self.signer.get_or_init(|| Signer::of(store)).as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn holder_key(certificate: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, certificate);
    format!("{KEPT_HOLDER}{}", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_request_is_its_tokens_users() {
        let store = Store::new(Clock::default());
        let users = Authentication::new(&store);
        let token = users.issue(&store, User::new("jane", &["devs"]));
        assert_eq!(users.issue(&store, User::new("jane", &["devs"])), token);
        assert_ne!(users.issue(&store, User::new("jane", &[])), token);
        let users = Authentication::new(&store);
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            users.authenticate(&store, Timestamp::UNIX_EPOCH, &headers)
        };
        assert_eq!(with(&format!("Bearer {token}")).unwrap().name, "jane");
        assert_eq!(with(&format!("bearer {token}")).unwrap().groups, ["devs", "system:authenticated"]);
        assert_eq!(with("Bearer wrong"), None);
        assert_eq!(with("Bearer a.b.c"), None);
        assert_eq!(with(&format!("Basic {token}")), None);
        let none = users.authenticate(&store, Timestamp::UNIX_EPOCH, &HeaderMap::new());
        assert_eq!(none, Some(User::anonymous()));
    }
}
