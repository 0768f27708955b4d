//! POST of a `TokenRequest`, and the documents with which others verify tokens.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::json;

use super::decode;
use super::render::{self, Response};
use super::request::Request;
use crate::cluster::{Cluster, PublicKey};
use crate::status::Status;

/// The path of the public keys.
const KEYS: &str = "/openid/v1/jwks";

/// GET of the documents that others need to verify tokens: OpenID Connect Discovery 1.0, section 4, and a JSON Web Key
/// Set (RFC 7517). `None`: it is another path.
pub(super) fn discovery(cluster: &Cluster, path: &str, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let (kind, value) = match path {
        "/.well-known/openid-configuration" => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let host = uri.authority().map(http::uri::Authority::as_str).or(host);
            let keys = format!("https://{}{KEYS}", host.unwrap_or("kubernetes.default.svc"));
            let keys_of_tokens = cluster.authentication.public_keys(&cluster.store)?;
            let algorithms: BTreeSet<_> = keys_of_tokens.iter().map(PublicKey::algorithm).collect();
            let value = json!({
                "issuer": cluster.authentication.issuer(),
                "jwks_uri": keys,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": algorithms,
            });
            ("application/json", value)
        }
        KEYS => {
            let keys = cluster.authentication.public_keys(&cluster.store)?;
            let keys: Vec<_> = keys.iter().map(PublicKey::jwk).collect();
            ("application/jwk-set+json", json!({ "keys": keys }))
        }
        _ => return None,
    };
    let mut response = render::document(&value);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let cached = HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(header::CACHE_CONTROL, cached);
    Some(response)
}

/// POST of a `TokenRequest`.
pub(super) async fn request(request: Request<'_>) -> Result<Response, Status> {
    let options = request.query.write_options("CreateOptions")?;
    let mut asked = decode::typed_subresource(&request, "authentication.k8s.io/v1", "TokenRequest")?;
    let admission = request.posted(&request.info.name, &options);
    request.cluster.admit_subresource(&admission, &mut asked).await?;
    let account = (request.info.namespace.as_str(), request.info.name.as_str());
    let token = request.cluster.request_token(request.resource, account, &asked, options.dry_run)?;
    Ok(render::value_response(StatusCode::CREATED, request.accept.encoding, &token))
}
