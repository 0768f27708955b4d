//! Raw HTTP requests, for tests that check codes, headers and exact messages.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use kube::client::{Body, Client};
use serde_json::Value;
use tokio::time::timeout;

/// How long a response, or the next event of a watch, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// JSON patch (RFC 6902).
pub const JSON_PATCH: &str = "application/json-patch+json";
/// JSON merge patch (RFC 7386).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Strategic merge patch, for built-in kinds.
pub const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
/// Server-side apply.
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// Sends requests as one user. An error status is not an error here but a [`Reply`].
#[derive(Clone)]
pub struct Http {
    client: Client,
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// Method and path of the request, for messages.
    pub request: String,
    /// The HTTP status code.
    pub code: u16,
    /// The response's headers.
    pub headers: HeaderMap,
    /// The body; a string if it is not JSON.
    pub body: Value,
    /// The body as it was sent.
    pub text: String,
}

/// An open watch, read line by line.
pub struct Watch {
    request: String,
    body: Body,
    buffer: Vec<u8>,
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub kind: String,
    /// The object, or the `Status` of an error.
    pub object: Value,
}

impl Http {
    /// Sends the requests of a client.
    pub fn new(client: Client) -> Http {
        Http { client }
    }

    /// Sends a GET request for JSON.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.get_as(path, "application/json").await
    }

    /// Sends a GET request with an `Accept` header.
    pub async fn get_as(&self, path: &str, accept: &str) -> Result<Reply> {
        self.send(Method::GET, path, &[("accept", accept)], Vec::new()).await
    }

    /// Sends a POST request with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// Sends a PUT request with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    /// Sends a PATCH request with the content type of the patch format.
    pub async fn patch(&self, path: &str, content_type: &str, body: &Value) -> Result<Reply> {
        self.send(Method::PATCH, path, &[("content-type", content_type)], body.to_string().into()).await
    }

    /// Sends a DELETE request without options.
    pub async fn delete(&self, path: &str) -> Result<Reply> {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    /// Sends a DELETE request with `DeleteOptions`.
    pub async fn delete_with(&self, path: &str, options: &Value) -> Result<Reply> {
        let headers = [("content-type", "application/json")];
        self.send(Method::DELETE, path, &headers, options.to_string().into()).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Fails if there is no response within 30 s, whatever its status code.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply> {
        let request = format!("{method} {path}");
        let answer = async {
            let response = self.open(method, path, headers, body).await?;
            let (head, body) = response.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(text.clone()));
            let code = head.status.as_u16();
            anyhow::Ok(Reply { request: request.clone(), code, headers: head.headers, body, text })
        };
        timeout(PATIENCE, answer)
            .await
            .context("no answer in time")
            .flatten()
            .with_context(|| request.clone())
    }

    /// Opens a watch. The path must contain `watch=true`.
    ///
    /// # Errors
    /// Fails if the status code is not 200. The message contains the response.
    pub async fn watch(&self, path: &str) -> Result<Watch> {
        self.watch_as(path, "application/json").await
    }

    /// Opens a watch with an `Accept` header.
    ///
    /// # Errors
    /// Fails as [`Http::watch`] does.
    pub async fn watch_as(&self, path: &str, accept: &str) -> Result<Watch> {
        let request = format!("watch {path}");
        let headers = [("accept", accept)];
        let response = timeout(PATIENCE, self.open(Method::GET, path, &headers, Vec::new()))
            .await
            .context("no answer in time")
            .flatten()
            .with_context(|| request.clone())?;
        let code = response.status();
        if code != 200 {
            let bytes = response.into_body().collect().await?.to_bytes();
            bail!("{request}: {code}: {}", String::from_utf8_lossy(&bytes));
        }
        Ok(Watch { request, body: response.into_body(), buffer: Vec::new() })
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<http::Response<Body>> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(self.client.send(request.body(Body::from(body))?).await?)
    }
}

impl Reply {
    /// Returns the body if the request succeeded.
    ///
    /// # Errors
    /// Fails unless the code is 2xx.
    pub fn ok(self) -> Result<Value> {
        ensure!((200..300).contains(&self.code), "{}: {}: {}", self.request, self.code, self.body);
        Ok(self.body)
    }

    /// Returns the body if the status code is `code`.
    ///
    /// # Errors
    /// Fails if it is another code.
    pub fn code(self, code: u16) -> Result<Value> {
        ensure!(self.code == code, "{}: {}, not {code}: {}", self.request, self.code, self.body);
        Ok(self.body)
    }

    /// Returns the `Status` body if it has exactly this code, reason and message.
    ///
    /// # Errors
    /// Fails if one of them differs.
    pub fn refused(self, code: u16, reason: &str, message: &str) -> Result<Value> {
        let request = &self.request;
        let got = (self.code, self.body["reason"].as_str().unwrap_or_default(), self.message());
        ensure!(
            got == (code, reason, message),
            "{request}\n expected {:?}\n got      {got:?}",
            (code, reason, message)
        );
        ensure!(
            self.body["kind"] == "Status" && self.body["code"] == code && self.body["status"] == "Failure",
            "{request}: not a Status of a failure: {}",
            self.body
        );
        Ok(self.body)
    }

    /// Returns the message of a `Status`.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// Returns the texts of the `Warning` headers.
    pub fn warnings(&self) -> Vec<String> {
        let quoted = self.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok());
        let texts = quoted.filter_map(|value| value.strip_prefix("299 - \"")?.strip_suffix('"'));
        texts.map(|text| text.replace("\\\"", "\"")).collect()
    }
}

impl Watch {
    /// Returns the next event.
    ///
    /// # Errors
    /// Fails if no event arrives within 30 s, the stream ends, or a line is not an event.
    pub async fn next(&mut self) -> Result<Event> {
        let request = self.request.clone();
        self.try_next().await?.with_context(|| format!("{request}: the stream ended"))
    }

    /// Returns the next event, or `None` at the end of the stream.
    ///
    /// # Errors
    /// Fails if nothing happens within 30 s, the connection breaks, or a line is not an event.
    pub async fn try_next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line)
                    .with_context(|| format!("{}: {}", self.request, String::from_utf8_lossy(&line)))?;
                let kind = event["type"].as_str().context("an event without a type")?.to_owned();
                return Ok(Some(Event { kind, object: event["object"].take() }));
            }
            let frame = timeout(PATIENCE, self.body.frame())
                .await
                .with_context(|| format!("{}: no event in time", self.request))?;
            match frame.transpose()? {
                Some(frame) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                None => return Ok(None),
            }
        }
    }

    /// Returns the object of the next event, which must be of this kind and about an object of this name.
    ///
    /// # Errors
    /// Fails if it is another event, and as [`Watch::next`] does.
    pub async fn expect(&mut self, kind: &str, name: &str) -> Result<Value> {
        let event = self.next().await?;
        let got = (event.kind.as_str(), event.object["metadata"]["name"].as_str().unwrap_or_default());
        ensure!(got == (kind, name), "{}: {got:?}, not {:?}: {}", self.request, (kind, name), event.object);
        Ok(event.object)
    }
}
