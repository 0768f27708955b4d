//! `serviceaccounts/token`, where a ServiceAccount gets its tokens, `TokenReview`, which tells whose a token is, and the
//! documents by which others find that out for themselves.

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::negotiate::Encoding;
use super::{Api, Request, body, render};
use crate::auth::User;
use crate::field::FieldError;
use crate::registry::Resource;
use crate::service_account::{ALGORITHM, Bound, Claims, ISSUER};
use crate::status::Status;

/// Where the public keys are.
const KEYS: &str = "/openid/v1/jwks";
const GROUP: &str = "authentication.k8s.io";
/// Seconds, of a token whose request does not say.
const DEFAULT_SECONDS: i64 = 3600;

/// GET of what others need to verify tokens: OpenID Connect Discovery 1.0, section 4, and a JSON Web Key Set. None for
/// other paths.
pub(super) fn discovery(api: &Api, path: &str, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let (kind, value) = match path {
        "/.well-known/openid-configuration" => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let host = uri.authority().map(http::uri::Authority::as_str).or(host);
            let keys = format!("https://{}{KEYS}", host.unwrap_or("kubernetes.default.svc"));
            let value = json!({
                "issuer": ISSUER,
                "jwks_uri": keys,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
            });
            ("application/json", value)
        }
        KEYS => ("application/jwk-set+json", json!({"keys": [api.auth.public_key(&api.store)?]})),
        _ => return None,
    };
    let mut response = render::value_response(StatusCode::OK, Encoding::Json, &value);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let cached = HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(header::CACHE_CONTROL, cached);
    Some(response)
}

/// POST of a `TokenRequest`.
pub(super) fn request(api: &Api, request: &Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("CreateOptions")?;
    let asked = body::subresource(request, "authentication.k8s.io/v1", "TokenRequest")?;
    let (namespace, name) = (&request.path.namespace, &request.path.name);
    for (field, is) in [("name", name), ("namespace", namespace)] {
        let given = &asked["metadata"][field];
        if given.as_str().is_some_and(|given| !given.is_empty() && given != is) {
            let why = format!("must match the service account {field} if specified");
            let error = FieldError::invalid(format_args!("metadata.{field}"), given, &why);
            return Err(Status::invalid(GROUP, "TokenRequest", name, &[error]));
        }
    }
    let account = api.object(request.resource, request.path)?.value();
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
        return Err(Status::invalid(GROUP, "TokenRequest", "", &[error]));
    }
    let audiences = audiences(&spec["audiences"]);
    let bound = bound(api, namespace, name, &spec["boundObjectRef"])?;
    let issued = api.clock.now();
    let claims =
        Claims { namespace, name, uid, audiences: &audiences, issued, seconds, bound: bound.as_ref() };
    let token = match options.dry_run {
        true => String::new(),
        false => api.auth.sign(&api.store, &claims).ok_or_else(|| Status::internal("no random numbers"))?,
    };
    let end = issued.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX);
    let answer = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid, "creationTimestamp": api.clock.seconds(),
        },
        "spec": {
            "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": spec["boundObjectRef"],
        },
        "status": {"token": token, "expirationTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()},
    });
    Ok(render::value_response(StatusCode::CREATED, request.accept.encoding, &answer))
}

/// The status of a `TokenReview`.
pub(super) fn review(api: &Api, spec: &Value) -> Result<Value, Status> {
    let Some(token) = spec["token"].as_str().filter(|token| !token.is_empty()) else {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    };
    let asked = audiences(&spec["audiences"]);
    Ok(match api.auth.whose(&api.store, api.clock.now(), token, &asked) {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user_info(&user), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

/// A user as `UserInfo` of authentication/v1.
pub(super) fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// Those that are asked for, or this server.
fn audiences(asked: &Value) -> Vec<String> {
    let given = asked.as_array().map_or(&[][..], Vec::as_slice);
    let given: Vec<String> = given.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if given.is_empty() { vec![ISSUER.to_owned()] } else { given }
}

/// What a token is to be bound to.
fn bound(api: &Api, namespace: &str, account: &str, reference: &Value) -> Result<Option<Bound>, Status> {
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
    let resource = api.registry(|registry| registry.get("", "v1", &plural).cloned());
    let found = resource.and_then(|resource| api.store.get(&resource.collection, &place(&resource)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_without_audiences_is_for_this_server() {
        assert_eq!(audiences(&Value::Null), [ISSUER]);
        assert_eq!(audiences(&json!([])), [ISSUER]);
        assert_eq!(audiences(&json!(["vault"])), ["vault"]);
    }
}
