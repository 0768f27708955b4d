//! Tokens of ServiceAccounts: JSON Web Tokens (RFC 7519) that the server signs with its own key (ES256). It accepts
//! them until they expire or an object that they are bound to is deleted.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use kube_validation::go::quote_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::resource::{GroupResource, NODES, PODS, SECRETS, SERVICE_ACCOUNTS};
use crate::store::Store;
use crate::strategy;
use crate::user::User;

/// The issuer, and the audience of tokens for this server: kube-apiserver's default.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";
/// ECDSA with P-256 and SHA-256 (RFC 7518).
pub(crate) const ALGORITHM: &str = "ES256";
/// The size in bytes of each of a point's two coordinates.
const COORDINATE: usize = 32;
/// The bytes before the point in a `SubjectPublicKeyInfo` (RFC 5480).
const P256_KEY_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The name under which the store keeps the key.
const KEPT: &str = "service-account/key";

/// Signs tokens, and verifies those that it has signed.
#[derive(Debug)]
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
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

impl Signer {
    /// The signer with the key that a store keeps; a new key is created if there is none. `None` if the system has no
    /// random numbers.
    pub(crate) fn of(store: &Store) -> Option<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = match store.kept(KEPT) {
            Some(kept) => kept,
            None => {
                let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok()?.as_ref().to_vec();
                store.keep(KEPT, made.clone());
                made
            }
        };
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &document).ok()?;
        Some(Self { key, random })
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
            "iss": ISSUER,
            "jti": id.to_string(),
            "kubernetes.io": private,
            "nbf": issued,
            "sub": User::service_account(claims.namespace, claims.name).name,
        });
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let header = json!({"alg": ALGORITHM, "kid": self.key_id()}).to_string();
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload.to_string().as_bytes()));
        let signature = self.key.sign(&self.random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", encode(signature.as_ref())))
    }

    /// The public key with which others verify tokens, as a JSON Web Key (RFC 7517).
    pub(crate) fn public_key(&self) -> Value {
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        // An uncompressed point: a byte that marks it as such, and two coordinates.
        let point = self.key.public_key().as_ref();
        let number = |from: usize| point.get(from..from + COORDINATE).unwrap_or_default();
        json!({
            "use": "sig", "kty": "EC", "kid": self.key_id(), "crv": "P-256", "alg": ALGORITHM,
            "x": encode(number(1)), "y": encode(number(1 + COORDINATE)),
        })
    }

    /// The key's id as kube-apiserver derives it: the digest of the public key's DER.
    fn key_id(&self) -> String {
        let key = [P256_KEY_INFO, self.key.public_key().as_ref()].concat();
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &key))
    }

    /// The content of a token that this server has signed.
    fn read(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        // The signature covers the header, so a verified header is ours: the token does not choose the algorithm.
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let (_, payload) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
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
        let signer = Signer::of(&store).unwrap();
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
        at(1599, &Signer::of(&store).unwrap()).unwrap();
        let other = Signer::of(&Store::new(Clock::default())).unwrap();
        assert_eq!(at(1599, &other), Err(Error::Unknown));
    }

    #[test]
    fn what_was_changed_is_nobodys() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let signer = Signer::of(&store).unwrap();
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
        let signer = Signer::of(&store).unwrap();
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
        let signer = Signer::of(&store).unwrap();
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
    fn others_verify_tokens_by_the_public_key() {
        let (store, audiences) = (store(), [ISSUER.to_owned()]);
        let signer = Signer::of(&store).unwrap();
        let token = signer.sign(&claims(&audiences), Uuid::nil()).unwrap();
        let key = signer.public_key();
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let header: Value = serde_json::from_slice(&part(signed.split_once('.').unwrap().0)).unwrap();
        assert_eq!(header, json!({"alg": "ES256", "kid": key["kid"]}));
        let [x, y] = ["x", "y"].map(|name| part(key[name].as_str().unwrap()));
        let point = [vec![4], x, y].concat();
        let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &part(signature));
        assert!(verified.is_ok());
    }

    #[test]
    fn audiences_are_kept_apart() {
        let store = store();
        let signer = Signer::of(&store).unwrap();
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
