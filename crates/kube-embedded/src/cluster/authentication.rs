//! Tokens and certificates, and whose they are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine;
use jiff::Timestamp;

use super::service_account::{Claims, Error, ISSUER, Signer};
use crate::store::Store;
use crate::user::User;

/// What the store keeps the tokens under.
const KEPT: &str = "token/";
/// What the store keeps the holders of certificates under, by the SHA-256 of these.
const KEPT_HOLDER: &str = "certificate/";

/// Who the users of a server are.
#[derive(Debug)]
pub(crate) struct Authentication {
    tokens: Mutex<Tokens>,
    signer: OnceLock<Option<Signer>>,
}

/// The bearer tokens of a server.
#[derive(Debug)]
struct Tokens(HashMap<String, User>);

impl Tokens {
    /// Those that a store keeps.
    fn load(store: &Store) -> Self {
        let kept = store.kept_under(KEPT).into_iter();
        Self(kept.filter_map(|(token, user)| Some((token, serde_json::from_slice(&user).ok()?))).collect())
    }

    /// The token of a user: the one that it has, or a new one of 244 random bits, which the store keeps.
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

    /// Whose a token is, and for which of the audiences that are asked for it is good.
    pub(crate) fn whose(
        &self,
        store: &Store,
        now: Timestamp,
        token: &str,
        asked: &[String],
    ) -> Result<(User, Vec<String>), Error> {
        // Looked up by its hash, so the time that it takes says nothing of the tokens that there are.
        let known = self.lock().0.get(token).cloned();
        match known {
            // It is for this server, whatever else is asked for.
            Some(user) if asked.iter().any(|it| it == ISSUER) => Ok((user, vec![ISSUER.to_owned()])),
            Some(_) => Err(Error::Unknown),
            None => self.signer(store).ok_or(Error::Unknown)?.authenticate(store, now, token, asked),
        }
    }

    /// Remembers who has a certificate.
    pub(crate) fn hold(store: &Store, certificate: &[u8], user: &User) {
        store.keep(&holder_key(certificate), serde_json::to_vec(user).unwrap_or_default());
    }

    /// Who has a certificate.
    pub(crate) fn holder(store: &Store, certificate: &[u8]) -> Option<User> {
        serde_json::from_slice(&store.kept(&holder_key(certificate))?).ok()
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
    fn a_token_is_its_users() {
        let store = Store::new(Clock::default());
        let users = Authentication::new(&store);
        let token = users.issue(&store, User::new("jane", &["devs"]));
        assert_eq!(users.issue(&store, User::new("jane", &["devs"])), token);
        assert_ne!(users.issue(&store, User::new("jane", &[])), token);
        // The store keeps it.
        let users = Authentication::new(&store);
        let whose = |token: &str| users.whose(&store, Timestamp::UNIX_EPOCH, token, &[ISSUER.to_owned()]);
        assert_eq!(whose(&token).unwrap().0, User::new("jane", &["devs"]));
        for wrong in ["wrong", "a.b.c", ""] {
            assert_eq!(whose(wrong), Err(Error::Unknown), "{wrong}");
        }
    }
}
