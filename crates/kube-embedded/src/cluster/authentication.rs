//! Tokens, and the users they belong to.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine;
use jiff::Timestamp;

use super::service_account::{Claims, Error, Signer, TokenOptions};
use super::signing::PublicKey;
use crate::random::Random;
use crate::store::Store;
use crate::user::User;

/// The prefix of the tokens' names in the store.
const KEPT: &str = "token/";

/// Identifies the users of a server.
#[derive(Debug)]
pub(crate) struct Authentication {
    tokens: Mutex<Tokens>,
    signer: OnceLock<Option<Signer>>,
    /// How tokens of ServiceAccounts are issued.
    options: TokenOptions,
    random: Random,
}

/// The bearer tokens of a server.
#[derive(Debug)]
struct Tokens(HashMap<String, User>);

impl Tokens {
    /// Loads the tokens that a store keeps.
    fn load(store: &Store) -> Self {
        let kept = store.kept_under(KEPT).into_iter();
        Self(kept.filter_map(|(token, user)| Some((token, serde_json::from_slice(&user).ok()?))).collect())
    }

    /// Returns the token of a user: the existing one, or a new one of 244 random bits, which the store then keeps.
    fn issue(&mut self, store: &Store, numbers: &Random, user: User) -> String {
        if let Some((token, _)) = self.0.iter().find(|(_, it)| **it == user) {
            return token.clone();
        }
        let mut random = Vec::with_capacity(32);
        random.extend_from_slice(numbers.uuid().as_bytes());
        random.extend_from_slice(numbers.uuid().as_bytes());
        let token = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(random);
        self.keep(store, token.clone(), user);
        token
    }

    fn keep(&mut self, store: &Store, token: String, user: User) {
        store.keep(&format!("{KEPT}{token}"), serde_json::to_vec(&user).unwrap_or_default());
        self.0.insert(token, user);
    }
}

impl Authentication {
    /// Loads the users of a store.
    pub(crate) fn new(store: &Store, random: Random, options: TokenOptions) -> Self {
        Self {
            tokens: Mutex::new(Tokens::load(store)),
            signer: OnceLock::new(),
            options: options.complete(),
            random,
        }
    }

    /// The issuer of new tokens of ServiceAccounts.
    pub(crate) fn issuer(&self) -> &str {
        self.options.issuer()
    }

    /// What tokens for this server name as their audience.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.options.audiences
    }

    /// Returns the token of a user, and issues one to a new user.
    pub(crate) fn issue(&self, store: &Store, user: User) -> String {
        self.lock().issue(store, &self.random, user)
    }

    /// Accepts a token as a user's.
    #[cfg(feature = "listen")]
    pub(crate) fn accept(&self, store: &Store, token: &str, user: User) {
        self.lock().keep(store, token.to_owned(), user);
    }

    /// Issues a token for a ServiceAccount. `None` if the system has no random numbers.
    pub(crate) fn sign(&self, store: &Store, claims: &Claims<'_>) -> Option<String> {
        self.signer(store)?.sign(claims, self.random.uuid())
    }

    /// The keys with which others verify the tokens of ServiceAccounts. `None` if the system has no random numbers.
    pub(crate) fn public_keys(&self, store: &Store) -> Option<&[PublicKey]> {
        Some(self.signer(store)?.public_keys())
    }

    /// Returns the user of a token, and the requested audiences for which it is valid.
    pub(crate) fn whose(
        &self,
        store: &Store,
        now: Timestamp,
        token: &str,
        asked: &[String],
    ) -> Result<(User, Vec<String>), Error> {
        // Looked up by its hash, so the time this takes reveals nothing about the existing tokens.
        let known = self.lock().0.get(token).cloned();
        match known {
            // Such a token is valid for this server only, whatever else is requested.
            Some(user) => {
                let audiences = self.audiences().iter().filter(|audience| asked.contains(audience));
                let audiences: Vec<_> = audiences.cloned().collect();
                if audiences.is_empty() { Err(Error::Unknown) } else { Ok((user, audiences)) }
            }
            None => self.signer(store).ok_or(Error::Unknown)?.authenticate(store, now, token, asked),
        }
    }

    fn signer(&self, store: &Store) -> Option<&Signer> {
        self.signer.get_or_init(|| Signer::of(store, &self.options)).as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_token_is_its_users() {
        let store = Store::new(Clock::default());
        let users = Authentication::new(&store, Random::default(), TokenOptions::default());
        let token = users.issue(&store, User::new("jane", &["devs"]));
        assert_eq!(users.issue(&store, User::new("jane", &["devs"])), token);
        assert_ne!(users.issue(&store, User::new("jane", &[])), token);
        // The store has kept it.
        let users = Authentication::new(&store, Random::default(), TokenOptions::default());
        let whose = |token: &str| users.whose(&store, Timestamp::UNIX_EPOCH, token, users.audiences());
        assert_eq!(whose(&token).unwrap().0, User::new("jane", &["devs"]));
        for wrong in ["wrong", "a.b.c", ""] {
            assert_eq!(whose(wrong), Err(Error::Unknown), "{wrong}");
        }
    }
}
