//! Tokens of ServiceAccounts: JSON Web Tokens (RFC 7519) that the server signs. It accepts them until they expire or an
//! object that they are bound to is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use kube_validation::go::quote_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::signing::{PublicKey, SigningKey};
use crate::resource::{GroupResource, NODES, PODS, SECRETS, SERVICE_ACCOUNTS};
use crate::store::Store;
use crate::strategy;
use crate::user::User;

/// The default issuer, and the default audience of tokens for this server: kube-apiserver's.
const ISSUER: &str = "https://kubernetes.default.svc";
/// The name under which the store keeps the key.
const KEPT: &str = "service-account/key";

/// How tokens are issued, and which are accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenOptions {
    /// The first one is that of new tokens; tokens of all are accepted. Empty: kube-apiserver's default.
    pub(crate) issuers: Vec<String>,
    /// What tokens for this server may name as their audience. Empty: the issuers.
    pub(crate) audiences: Vec<String>,
    /// Signs new tokens. By default, a key that the store keeps.
    pub(crate) signing_key: Option<Arc<SigningKey>>,
    /// Verify tokens that others have signed.
    pub(crate) keys: Vec<PublicKey>,
}

/// Signs tokens, and verifies those that it or another one with its keys has signed.
#[derive(Debug)]
pub(crate) struct Signer {
    key: Arc<SigningKey>,
    /// Its public key, and those of other signers.
    public_keys: Vec<PublicKey>,
    issuers: Vec<String>,
}

/// An object, in addition to its ServiceAccount, that a token is bound to: the token is invalid once it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `pod`, `secret` or `node`
    pub(crate) claim: &'static str,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// The content of a new token.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) audiences: &'a [String],
    pub(crate) issued: Timestamp,
    /// The lifetime, from then on.
    pub(crate) seconds: i64,
    pub(crate) bound: Option<&'a Bound>,
}

/// Why a token is not accepted. `TokenReview` reports the message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// It was not issued by this server.
    #[error("invalid bearer token")]
    Unknown,
    /// It has expired.
    #[error("[invalid bearer token, service account token has expired]")]
    Expired,
    /// It is meant for other audiences.
    #[error("[invalid bearer token, token audiences {} is invalid for the target audiences {}]", quote_all(.token), quote_all(.asked))]
    Audience { token: Vec<String>, asked: Vec<String> },
    /// The ServiceAccount, or an object that the token is bound to, was deleted or replaced by another one of that
    /// name.
    #[error("[invalid bearer token, service account token has been invalidated]")]
    Gone,
}

impl TokenOptions {
    /// Fills in the defaults.
    pub(super) fn complete(mut self) -> Self {
        if self.issuers.is_empty() {
            self.issuers.push(ISSUER.to_owned());
        }
        if self.audiences.is_empty() {
            self.audiences.clone_from(&self.issuers);
        }
        self
    }

    /// The issuer of new tokens.
    pub(super) fn issuer(&self) -> &str {
        self.issuers.first().map_or(ISSUER, String::as_str)
    }
}

impl Signer {
    /// Returns the signer with the key of its options or else the one that a store keeps; a new key is created if there is
    /// none. `None` if the system has no random numbers.
    pub(crate) fn of(store: &Store, options: &TokenOptions) -> Option<Self> {
        let key = match &options.signing_key {
            Some(key) => Arc::clone(key),
            None => Arc::new(SigningKey::from_der(&kept_key(store)?)?),
        };
        let mut public_keys = vec![key.public().clone()];
        for other in &options.keys {
            if public_keys.iter().all(|known| known.id() != other.id()) {
                public_keys.push(other.clone());
            }
        }
        Some(Self { key, public_keys, issuers: options.issuers.clone() })
    }

    /// Signs a token with an id.
    pub(crate) fn sign(&self, claims: &Claims<'_>, id: Uuid) -> Option<String> {
        let issued = claims.issued.as_second();
        let mut private = json!({
            "namespace": claims.namespace,
            "serviceaccount": {"name": claims.name, "uid": claims.uid},
        });
        if let Some(bound) = claims.bound {
            private[bound.claim] = json!({"name": bound.name, "uid": bound.uid});
        }
        let payload = json!({
            "aud": claims.audiences,
            "exp": issued.saturating_add(claims.seconds),
            "iat": issued,
            "iss": self.issuers.first(),
            "jti": id.to_string(),
            "kubernetes.io": private,
            "nbf": issued,
            "sub": User::service_account(claims.namespace, claims.name).name,
        });
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let public = self.key.public();
        let header = json!({"alg": public.algorithm(), "kid": public.id()}).to_string();
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload.to_string().as_bytes()));
        let signature = self.key.sign(signed.as_bytes())?;
        Some(format!("{signed}.{}", encode(&signature)))
    }

    /// The keys with which others verify tokens: its own, and those of other signers.
    pub(crate) fn public_keys(&self) -> &[PublicKey] {
        &self.public_keys
    }

    /// The content of a token that one of the keys has signed.
    fn read(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        // The signature covers the header, so a verified header is its signer's: the token does not choose the algorithm.
        self.public_keys.iter().find(|key| key.verifies(signed.as_bytes(), &signature))?;
        let (_, payload) = signed.split_once('.')?;
        let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let issuer = claims["iss"].as_str()?;
        self.issuers.iter().any(|accepted| accepted == issuer).then_some(claims)
    }

    /// Returns the user of a token that is valid now for one of these audiences, and the audiences for which it is.
    pub(crate) fn authenticate(
        &self,
        store: &Store,
        now: Timestamp,
        token: &str,
        asked: &[String],
    ) -> Result<(User, Vec<String>), Error> {
        let claims = self.read(token).ok_or(Error::Unknown)?;
        let audiences: Vec<String> = strategy::texts(&claims["aud"]);
        let common: Vec<String> = asked.iter().filter(|it| audiences.contains(it)).cloned().collect();
        if common.is_empty() {
            return Err(Error::Audience { token: audiences, asked: asked.to_vec() });
        }
        if claims["exp"].as_i64().is_none_or(|end| end <= now.as_second()) {
            return Err(Error::Expired);
        }
        let private = &claims["kubernetes.io"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let namespace = text(&private["namespace"]);
        let is_there = |resource: GroupResource<'_>, namespace: &str, reference: &Value| {
            let name = text(&reference["name"]);
            let key = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
            store
                .get(resource.collection(), &key)
                .is_some_and(|it| it.value()["metadata"]["uid"] == reference["uid"])
        };
        let account = &private["serviceaccount"];
        let bound = |claim: &str, resource: GroupResource<'_>, namespace: &str| {
            private[claim].is_null() || is_there(resource, namespace, &private[claim])
        };
        if !(is_there(SERVICE_ACCOUNTS, &namespace, account)
            && bound("pod", PODS, &namespace)
            && bound("secret", SECRETS, &namespace)
            && bound("node", NODES, ""))
        {
            return Err(Error::Gone);
        }
        let mut extra = BTreeMap::new();
        let mut add = |key: &str, value: String| {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
        };
        add("credential-id", format!("JTI={}", text(&claims["jti"])));
        for claim in ["pod", "node"] {
            if private[claim].is_object() {
                add(&format!("{claim}-name"), text(&private[claim]["name"]));
                add(&format!("{claim}-uid"), text(&private[claim]["uid"]));
            }
        }
        let user = User::service_account(&namespace, &text(&account["name"]));
        Ok((User { uid: text(&account["uid"]), extra, ..user }, common))
    }
}

/// The key that a store keeps, which is created if there is none.
fn kept_key(store: &Store) -> Option<Vec<u8>> {
    if let Some(kept) = store.kept(KEPT) {
        return Some(kept);
    }
    let made = SigningKey::generate()?;
    store.keep(KEPT, made.clone());
    Some(made)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::store::{Content, Object};

    fn create(store: &Store, resource: GroupResource<'_>, key: &str, uid: &str) -> Arc<Object> {
        let value = json!({"metadata": {"uid": uid}});
        store.create(&resource.collection().into(), key, Content { value: &value, mark: 0 }, &[]).unwrap()
    }

    fn store() -> Store {
        let store = Store::new(Clock::default());
        create(&store, SERVICE_ACCOUNTS, "web/bot", "u1");
        store
    }

    fn claims(audiences: &[String]) -> Claims<'_> {
        let issued = Timestamp::from_second(1000).unwrap();
        Claims { namespace: "web", name: "bot", uid: "u1", audiences, issued, seconds: 600, bound: None }
    }

    #[test]
    fn a_token_is_its_accounts_until_it_expires() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let signer = Signer::of(&store, &TokenOptions::default().complete()).unwrap();
        let token = signer.sign(&claims(&audiences), Uuid::nil()).unwrap();
        let at = |second: i64, signer: &Signer| {
            signer.authenticate(&store, Timestamp::from_second(second).unwrap(), &token, &audiences)
        };
        let (user, _) = at(1599, &signer).unwrap();
        assert_eq!(user.name, "system:serviceaccount:web:bot");
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:web", "system:authenticated"]
        );
        assert_eq!(at(1600, &signer), Err(Error::Expired));
        // The store has kept the key.
        at(1599, &Signer::of(&store, &TokenOptions::default().complete()).unwrap()).unwrap();
        let other = Signer::of(&Store::new(Clock::default()), &TokenOptions::default().complete()).unwrap();
        assert_eq!(at(1599, &other), Err(Error::Unknown));
    }

    #[test]
    fn what_was_changed_is_nobodys() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let signer = Signer::of(&store, &TokenOptions::default().complete()).unwrap();
        let token = signer.sign(&claims(&audiences), Uuid::nil()).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            let now = Timestamp::from_second(1001).unwrap();
            let found = signer.authenticate(&store, now, &other, &audiences);
            assert_eq!(found, Err(Error::Unknown), "at {at}");
        }
    }

    #[test]
    fn a_token_ends_with_what_it_is_bound_to() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let signer = Signer::of(&store, &TokenOptions::default().complete()).unwrap();
        let bound = Bound { claim: "pod", name: "p".to_owned(), uid: "p1".to_owned() };
        let token = signer.sign(&Claims { bound: Some(&bound), ..claims(&audiences) }, Uuid::nil()).unwrap();
        let now = Timestamp::from_second(1001).unwrap();
        let user = || signer.authenticate(&store, now, &token, &audiences).map(|(user, _)| user);
        assert_eq!(user(), Err(Error::Gone));
        let pod = create(&store, PODS, "web/p", "p1");
        assert_eq!(user().unwrap().extra["authentication.kubernetes.io/pod-name"], ["p"]);
        let value = json!({"metadata": {"uid": "p2"}});
        store
            .update(&PODS.collection().into(), "web/p", pod.revision, Content { value: &value, mark: 0 })
            .unwrap();
        assert_eq!(user(), Err(Error::Gone));
    }

    #[test]
    fn a_token_ends_with_its_account() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let signer = Signer::of(&store, &TokenOptions::default().complete()).unwrap();
        let token = signer.sign(&claims(&audiences), Uuid::nil()).unwrap();
        let now = Timestamp::from_second(1001).unwrap();
        let user = || signer.authenticate(&store, now, &token, &audiences).map(|(user, _)| user.name);
        user().unwrap();
        let accounts: Arc<str> = SERVICE_ACCOUNTS.collection().into();
        let account = store.get(&accounts, "web/bot").unwrap();
        store.delete(&accounts, "web/bot", account.revision).unwrap();
        assert_eq!(user(), Err(Error::Gone));
        // A new account of the same name does not inherit the tokens.
        create(&store, SERVICE_ACCOUNTS, "web/bot", "u2");
        assert_eq!(user(), Err(Error::Gone));
    }

    #[test]
    fn tokens_of_other_signers_are_verified_by_their_keys() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let other = Arc::new(SigningKey::from_der(&SigningKey::generate().unwrap()).unwrap());
        let options = TokenOptions { signing_key: Some(Arc::clone(&other)), ..TokenOptions::default() };
        let token =
            Signer::of(&store, &options.complete()).unwrap().sign(&claims(&audiences), Uuid::nil()).unwrap();
        let now = Timestamp::from_second(1001).unwrap();
        let user = |options: TokenOptions| {
            Signer::of(&store, &options.complete())
                .unwrap()
                .authenticate(&store, now, &token, &audiences)
                .map(|it| it.0.name)
        };
        assert_eq!(user(TokenOptions::default()), Err(Error::Unknown));
        let keys = TokenOptions { keys: vec![other.public().clone()], ..TokenOptions::default() };
        user(keys.clone()).unwrap();
        // It is an issuer's, not only a key's.
        assert_eq!(
            user(TokenOptions { issuers: vec!["https://a".to_owned()], ..keys.clone() }),
            Err(Error::Unknown)
        );
        user(TokenOptions { issuers: vec!["https://a".to_owned(), ISSUER.to_owned()], ..keys }).unwrap();
    }

    #[test]
    fn others_find_the_key_of_a_token_by_its_id() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let signer = Signer::of(&store, &TokenOptions::default().complete()).unwrap();
        let token = signer.sign(&claims(&audiences), Uuid::nil()).unwrap();
        let keys = signer.public_keys();
        let header = BASE64_URL_SAFE_NO_PAD.decode(token.split_once('.').unwrap().0).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header, json!({"alg": "ES256", "kid": keys[0].jwk()["kid"]}));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn audiences_are_kept_apart() {
        let store = store();
        let signer = Signer::of(&store, &TokenOptions::default().complete()).unwrap();
        let [vault, other] = ["vault", "other"].map(|name| vec![name.to_owned()]);
        let token = signer.sign(&claims(&vault), Uuid::nil()).unwrap();
        let now = Timestamp::from_second(1001).unwrap();
        let both = [other.clone(), vault.clone()].concat();
        assert_eq!(signer.authenticate(&store, now, &token, &both).unwrap().1, vault);
        let refused = signer.authenticate(&store, now, &token, &other).unwrap_err();
        let said = r#"[invalid bearer token, token audiences ["vault"] is invalid for the target audiences ["other"]]"#;
        assert_eq!(refused.to_string(), said);
    }
}
