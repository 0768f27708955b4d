//! Tokens of ServiceAccounts: `serviceaccounts/token`, which issues them, and `TokenReview`, which identifies their
//! user.

use jiff::SignedDuration;
use kube_validation::FieldError;
use serde_json::{Value, json};

use super::service_account::{Bound, Claims};
use super::state::Cluster;
use crate::clock;
use crate::resource::Resource;
use crate::status::Status;
use crate::strategy;

const GROUP: &str = "authentication.k8s.io";
/// The lifetime in seconds of a token whose request does not set one.
const DEFAULT_SECONDS: i64 = 3600;

impl Cluster {
    /// Issues a token for a ServiceAccount. Returns the `TokenRequest` with it; a dry run issues none.
    pub(crate) fn request_token(
        &self,
        accounts: &Resource,
        (namespace, name): (&str, &str),
        asked: &Value,
        dry_run: bool,
    ) -> Result<Value, Status> {
        for (field, is) in [("name", name), ("namespace", namespace)] {
            let given = &asked["metadata"][field];
            if given.as_str().is_some_and(|given| !given.is_empty() && given != is) {
                let why = format!("must match the service account {field} if specified");
                let error = FieldError::invalid(format_args!("metadata.{field}"), given, &why);
                return Err(Status::invalid(GROUP, "TokenRequest", name, vec![error]));
            }
        }
        let account = self.object(accounts, namespace, name)?.value();
        let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
        let spec = &asked["spec"];
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        let wrong = match seconds {
            ..600 => Some("may not specify a duration less than 10 minutes"),
            600..=4_294_967_296 => None,
            _ => Some("may not specify a duration larger than 2^32 seconds"),
        };
        if let Some(why) = wrong {
            let error = FieldError::invalid("spec.expirationSeconds", &seconds.into(), why);
            return Err(Status::invalid(GROUP, "TokenRequest", "", vec![error]));
        }
        let audiences = self.audiences(&spec["audiences"]);
        let bound = self.bound(namespace, name, &spec["boundObjectRef"])?;
        let issued = self.clock.now();
        let claims =
            Claims { namespace, name, uid, audiences: &audiences, issued, seconds, bound: bound.as_ref() };
        let token = match dry_run {
            true => String::new(),
            false => self
                .authentication
                .sign(&self.store, &claims)
                .ok_or_else(|| Status::internal_error("no random numbers"))?,
        };
        let end = issued.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX);
        Ok(json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {
                "name": name, "namespace": namespace, "uid": uid, "creationTimestamp": self.clock.seconds(),
            },
            "spec": {
                "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": spec["boundObjectRef"],
            },
            "status": {"token": token, "expirationTimestamp": clock::seconds(end)},
        }))
    }

    /// The status of a `TokenReview`.
    pub(crate) fn review_token(&self, spec: &Value) -> Result<Value, Status> {
        let Some(token) = spec["token"].as_str().filter(|token| !token.is_empty()) else {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        };
        let asked = self.audiences(&spec["audiences"]);
        Ok(match self.authentication.whose(&self.store, self.clock.now(), token, &asked) {
            Ok((user, audiences)) => {
                json!({"authenticated": true, "user": user.info(), "audiences": audiences})
            }
            Err(error) => json!({"user": {}, "error": error.to_string()}),
        })
    }

    /// The requested audiences, or this server.
    fn audiences(&self, asked: &Value) -> Vec<String> {
        let given = strategy::texts(asked);
        if given.is_empty() { self.authentication.audiences().to_vec() } else { given }
    }

    /// The object that a token is to be bound to.
    fn bound(&self, namespace: &str, account: &str, reference: &Value) -> Result<Option<Bound>, Status> {
        if !reference.is_object() {
            return Ok(None);
        }
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
        let claim = match (version, kind) {
            ("v1", "Pod") => "pod",
            ("v1", "Secret") => "secret",
            ("v1", "Node") => "node",
            _ => {
                let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
                let why = format!("cannot bind token to object of type {version}, Kind={kind}");
                return Err(Status::bad_request(why));
            }
        };
        let plural = format!("{claim}s");
        let place = |resource: &Resource| resource.key(namespace, name);
        let resource = self.scheme().get("", "v1", &plural).cloned();
        let found = resource.and_then(|resource| self.store.get(&resource.collection, &place(&resource)));
        let object = found.ok_or_else(|| Status::not_found("", &plural, name))?.value();
        if claim == "pod" && object["spec"]["serviceAccountName"] != account {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            )));
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let given = text("uid");
        if !given.is_empty() && given != uid {
            let why = format!(
                "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been \
             deleted and then recreated"
            );
            return Err(Status::conflict_on(kind, name, &why));
        }
        Ok(Some(Bound { claim, name: name.to_owned(), uid: uid.to_owned() }))
    }
}
