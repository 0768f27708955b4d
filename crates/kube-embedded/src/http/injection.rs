//! Faults over HTTP, for clients in other processes. [`PATH`] exists only if the server was started with this option,
//! and only for users in `system:masters`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::Body;
use super::control::{authorize, json_response};
use super::faults::{Fault, Faults, Injection, Verb};
use super::render::Response;
use crate::status::Status;
use crate::user::User;

/// The path of the faults.
pub(super) const PATH: &str = "/kube-embedded/faults";

/// The faults that were injected over HTTP, by id.
#[derive(Debug, Default)]
pub(crate) struct Injections(Mutex<BTreeMap<u64, (Rule, Injection)>>);

/// A rule and its fault, as sent by a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    verb: Verb,
    resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    fault: Fault,
}

impl Injections {
    /// Answers a request about faults.
    pub(super) async fn answer(
        &self,
        faults: &Faults,
        user: &User,
        method: &Method,
        id: &str,
        body: Body,
    ) -> Result<Response, Status> {
        authorize(user, method, PATH)?;
        let body = body.collect_request().await?;
        if id.is_empty() { self.answer_all(faults, method, &body) } else { self.answer_one(method, id) }
    }

    fn answer_all(&self, faults: &Faults, method: &Method, body: &Bytes) -> Result<Response, Status> {
        let mut all = self.lock();
        match *method {
            Method::GET => {
                let items: Vec<Value> = all.iter().map(|(id, known)| show(*id, known)).collect();
                Ok(json_response(StatusCode::OK, &json!({"items": items})))
            }
            Method::POST => {
                let rule: Rule = serde_json::from_slice(body)
                    .map_err(|error| Status::bad_request(format!("this is not a fault: {error}")))?;
                let injection = inject(faults, &rule);
                let (id, known) = (injection.id(), (rule, injection));
                let shown = show(id, &known);
                all.insert(id, known);
                Ok(json_response(StatusCode::CREATED, &shown))
            }
            Method::DELETE => {
                all.clear();
                Ok(json_response(StatusCode::OK, &json!({"items": []})))
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn answer_one(&self, method: &Method, id: &str) -> Result<Response, Status> {
        let mut all = self.lock();
        let number = id.parse().ok();
        let missing = || Status::not_found("", "faults", id);
        match *method {
            Method::GET => {
                let (id, known) = number.and_then(|id| all.get_key_value(&id)).ok_or_else(missing)?;
                Ok(json_response(StatusCode::OK, &show(*id, known)))
            }
            Method::DELETE => {
                let (id, known) = number.and_then(|id| all.remove_entry(&id)).ok_or_else(missing)?;
                Ok(json_response(StatusCode::OK, &show(id, &known)))
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Rule, Injection)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inject(faults: &Faults, asked: &Rule) -> Injection {
    let mut rule = faults.on(asked.verb, &asked.resource);
    if let Some(namespace) = &asked.namespace {
        rule = rule.namespace(namespace);
    }
    if let Some(name) = &asked.name {
        rule = rule.name(name);
    }
    if let Some(times) = asked.times {
        rule = rule.times(times);
    }
    rule.inject(asked.fault.clone())
}

fn show(id: u64, (rule, injection): &(Rule, Injection)) -> Value {
    let mut shown = json!(rule);
    shown["id"] = id.into();
    shown["hits"] = injection.hits().into();
    shown
}
