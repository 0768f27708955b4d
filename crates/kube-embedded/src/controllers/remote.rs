//! Requests to the servers behind APIServices in the name of this server's own parts.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::user::User;
use crate::webhook::{BoxBody, Location, set_user};

/// How large an answer may be.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// A request.
pub(super) struct Request<'a> {
    pub(super) user: &'a User,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) accept: &'static str,
    /// JSON; null: none.
    pub(super) body: &'a Value,
    pub(super) timeout: Duration,
}

/// An answer with a success.
pub(super) struct Answer {
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer with a success.
pub(super) enum Unanswered {
    /// What was answered instead.
    Code(u16, Vec<u8>),
    Failed(String),
}

impl Request<'_> {
    /// Sends it.
    pub(super) async fn send(self, cluster: &Cluster, at: &Location) -> Result<Answer, Unanswered> {
        let body = if self.body.is_null() { Bytes::new() } else { self.body.to_string().into() };
        let mut request = http::Request::new(BoxBody::new(Full::new(body).map_err(|never| match never {})));
        *request.method_mut() = self.method;
        *request.uri_mut() = self
            .path
            .parse()
            .map_err(|error: http::uri::InvalidUri| Unanswered::Failed(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static(self.accept));
        if !self.body.is_null() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let User { name, uid, groups, extra } = self.user;
        set_user(headers, name, uid, groups, extra).map_err(|why| Unanswered::Failed(why.to_string()))?;
        let answer = async {
            let answer = cluster.webhook_client.forward(at, request).await;
            let answer = answer.map_err(|why| Unanswered::Failed(why.to_string()))?;
            let (code, headers) = (answer.status(), answer.headers());
            let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
            let content_type = content_type.unwrap_or_default().to_owned();
            let body = collect(answer.into_body()).await?;
            match code.is_success() {
                true => Ok(Answer { content_type, body }),
                false => Err(Unanswered::Code(code.as_u16(), body)),
            }
        };
        let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        let answer = tokio::time::timeout(self.timeout, answer).await;
        answer.unwrap_or_else(|_| Err(Unanswered::Failed(late.to_owned())))
    }
}

/// The user of kube-aggregator.
pub(super) fn aggregator() -> User {
    User {
        name: "system:kube-aggregator".to_owned(),
        uid: String::new(),
        groups: vec!["system:masters".to_owned()],
        extra: BTreeMap::new(),
    }
}

/// Reads a whole body.
async fn collect(mut body: BoxBody) -> Result<Vec<u8>, Unanswered> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unanswered::Failed(error.to_string()))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if bytes.len() > ANSWER_MAX {
            return Err(Unanswered::Failed(format!("the answer has more than {ANSWER_MAX} bytes")));
        }
    }
    Ok(bytes)
}
