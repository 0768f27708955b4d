//! Servers with kube-apiserver's options: certificates, tokens, addresses, authorization, and no controllers.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, UserInfo};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{AuthInfo, Kubeconfig};
use kube_embedded::{Error, Server, ServerBuilder};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::support::{client, code};

/// An authority of a test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate with its key.
    fn issue(&self, names: &[&str], subject: &[(DnType, &str)]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        for (part, value) in subject {
            params.distinguished_name.push(part.clone(), *value);
        }
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }
}

/// A server's kubeconfig with other credentials, and for other certificates.
fn kubeconfig(of: Kubeconfig, authority: Option<&Authority>, credentials: AuthInfo) -> Kubeconfig {
    let mut kubeconfig = of;
    kubeconfig.auth_infos[0].auth_info = Some(credentials);
    if let Some(authority) = authority {
        let cluster = kubeconfig.clusters[0].cluster.as_mut().expect("a cluster");
        cluster.certificate_authority_data = Some(BASE64_STANDARD.encode(&authority.pem));
    }
    kubeconfig
}

fn certificate((chain, key): (String, String)) -> AuthInfo {
    AuthInfo {
        client_certificate_data: Some(BASE64_STANDARD.encode(chain)),
        client_key_data: Some(BASE64_STANDARD.encode(key).into()),
        ..AuthInfo::default()
    }
}

fn token(token: &str) -> AuthInfo {
    AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() }
}

/// Who the server says that the client is.
async fn whoami(kubeconfig: Kubeconfig) -> Result<UserInfo, kube::Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client(kubeconfig).await);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(review.status.unwrap_or_default().user_info.unwrap_or_default())
}

#[tokio::test]
async fn certificates_can_be_those_of_others() {
    let (serving, clients) = (Authority::new(), Authority::new());
    let (chain, key) = serving.issue(&["127.0.0.1"], &[]);
    let server = Server::builder()
        .serving_certificate(chain.as_bytes(), key.as_bytes())
        .and_then(|builder| builder.client_authority(clients.pem.as_bytes()))
        .and_then(ServerBuilder::start)
        .unwrap();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let reach = |credentials| kubeconfig(endpoint.kubeconfig(), Some(&serving), credentials);
    let jane = clients.issue(&[], &[(DnType::CommonName, "jane"), (DnType::OrganizationName, "devs")]);
    let user = whoami(reach(certificate(jane))).await.unwrap();
    assert_eq!(user.username.as_deref(), Some("jane"));
    assert_eq!(user.groups.unwrap_or_default(), ["devs", "system:authenticated"]);
    // A certificate that names nobody authenticates nobody.
    let nobody = whoami(reach(certificate(clients.issue(&[], &[(DnType::OrganizationName, "devs")])))).await;
    assert_eq!(code(&nobody.unwrap_err()), 403);
    // The authority of the serving certificate is not one of clients.
    let stranger = serving.issue(&[], &[(DnType::CommonName, "jane")]);
    assert!(whoami(reach(certificate(stranger))).await.is_err());
    // Certificates of the server's own work, too.
    let own = endpoint.kubeconfig_with_certificate("joe", &["a", "b"]).unwrap().auth_infos.remove(0);
    let user = whoami(reach(own.auth_info.unwrap())).await.unwrap();
    assert_eq!(user.groups.unwrap_or_default(), ["a", "b", "system:authenticated"]);
}

#[test]
fn what_is_not_in_pem_is_an_error() {
    let (chain, key) = Authority::new().issue(&[], &[]);
    let (_, other) = Authority::new().issue(&[], &[]);
    let (chain, key) = (chain.as_bytes(), key.as_bytes());
    let is_pem = |result: Result<ServerBuilder, Error>| matches!(result, Err(Error::Pem(_)));
    let build = Server::builder;
    assert!(is_pem(build().serving_certificate(b"", key)));
    assert!(is_pem(build().serving_certificate(chain, b"x")));
    assert!(matches!(build().serving_certificate(chain, other.as_bytes()), Err(Error::Tls(_))));
    assert!(is_pem(build().client_authority(key)));
    assert!(is_pem(build().token_signing_key(chain)));
    assert!(is_pem(build().token_keys(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")));
    for range in ["10.0.0.0/33", "fd00::/112", "10.0.0.0"] {
        let Err(error) = build().service_addresses(range) else { panic!("{range}") };
        assert!(error.to_string().starts_with(&format!("{range:?} cannot be")), "{error}");
    }
}

#[tokio::test]
async fn tokens_can_be_signed_by_the_key_of_another_server() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let issuers = ["https://here/", "https://there/"];
    let here = Server::builder()
        .token_signing_key(key.serialize_pem().as_bytes())
        .unwrap()
        .token_issuers(issuers)
        .token_audiences(["api"])
        .start()
        .unwrap();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(here.client());
    let bot = serde_json::from_value(json!({"metadata": {"name": "bot"}})).unwrap();
    let bot = accounts.create(&PostParams::default(), &bot).await.unwrap();
    let (params, request) = (PostParams::default(), TokenRequest::default());
    let issued = accounts.create_token_request("bot", &params, &request).await.unwrap();
    let issued = issued.status.unwrap().token.unwrap();
    let mut parts = issued.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
    let header: Value = serde_json::from_slice(&parts.next().unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&parts.next().unwrap()).unwrap();
    assert_eq!(
        (&header["alg"], &claims["iss"], &claims["aud"]),
        (&json!("ES384"), &json!(issuers[0]), &json!(["api"]))
    );

    let endpoint = here.listen("127.0.0.1:0").await.unwrap();
    let user = whoami(kubeconfig(endpoint.kubeconfig(), None, token(&issued))).await.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:default:bot"));
    let published: Value = here
        .client()
        .request(http::Request::get("/.well-known/openid-configuration").body(Vec::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(published["issuer"], issuers[0]);
    assert_eq!(published["id_token_signing_alg_values_supported"], json!(["ES384"]));

    // A server that knows only the public key accepts the token, if it has the ServiceAccount.
    let there = Server::builder()
        .token_keys(key.public_key_pem().as_bytes())
        .unwrap()
        .token_issuers([issuers[1], issuers[0]])
        .token_audiences(["api"])
        .start_copy(&here);
    let other = there.listen("127.0.0.1:0").await.unwrap();
    let user = whoami(kubeconfig(other.kubeconfig(), None, token(&issued))).await.unwrap();
    assert_eq!(user.uid, bot.metadata.uid);
    let elsewhere = Server::builder().start_copy(&here);
    let elsewhere = elsewhere.listen("127.0.0.1:0").await.unwrap();
    let refused = whoami(kubeconfig(elsewhere.kubeconfig(), None, token(&issued))).await;
    assert_eq!(code(&refused.unwrap_err()), 401);
}

#[tokio::test]
async fn users_can_have_tokens_of_the_callers_choice() {
    let server = Server::start();
    server.add_token("secret", "jane", "7", &["devs"]);
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let user = whoami(kubeconfig(endpoint.kubeconfig(), None, token("secret"))).await.unwrap();
    assert_eq!((user.username.as_deref(), user.uid.as_deref()), (Some("jane"), Some("7")));
}

#[tokio::test]
async fn everybody_may_do_everything_or_must_say_who_they_are() {
    let list = async |builder: ServerBuilder, credentials| {
        let server = builder.start().unwrap();
        server.add_token("secret", "jane", "", &[]);
        let endpoint = server.listen("127.0.0.1:0").await.unwrap();
        let client = client(kubeconfig(endpoint.kubeconfig(), None, credentials)).await;
        Api::<ConfigMap>::all(client)
            .list(&ListParams::default())
            .await
            .map(drop)
            .map_err(|error| code(&error))
    };
    assert_eq!(list(Server::builder(), token("secret")).await, Err(403));
    assert_eq!(list(Server::builder().always_allow(), token("secret")).await, Ok(()));
    assert_eq!(list(Server::builder().always_allow(), AuthInfo::default()).await, Ok(()));
    assert_eq!(
        list(Server::builder().always_allow().without_anonymous(), AuthInfo::default()).await,
        Err(401)
    );
}

#[tokio::test]
async fn services_get_addresses_of_the_range() {
    let server = Server::builder().service_addresses("10.0.0.0/29").unwrap().start().unwrap();
    let services: Api<Service> = Api::default_namespaced(server.client());
    let mut addresses = Vec::new();
    let last = loop {
        let service = json!({"metadata": {"generateName": "s-"}, "spec": {"ports": [{"port": 80}]}});
        match services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await {
            Ok(service) => addresses.extend(service.spec.unwrap().cluster_ip),
            Err(error) => break error,
        }
    };
    assert_eq!(addresses.len(), 6);
    assert!(addresses.iter().all(|address| address.starts_with("10.0.0.")), "{addresses:?}");
    assert!(last.to_string().contains("range is full"), "{last}");
}

#[tokio::test]
async fn without_controllers_namespaces_stay_and_definitions_end() {
    let server = Server::builder().without_controllers().start().unwrap();
    let namespaces: Api<Namespace> = Api::all(server.client());
    namespaces.delete("kube-node-lease", &DeleteParams::default()).await.unwrap();
    let crds = kube::discovery::ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&());
    let crds: Api<kube::api::DynamicObject> = Api::all_with(server.client(), &crds);
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.b.c"},
        "spec": {"group": "b.c", "scope": "Cluster", "names": {"plural": "as", "kind": "A"}, "versions": [{
            "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
        }]},
    });
    crds.create(&PostParams::default(), &serde_json::from_value(crd).unwrap()).await.unwrap();
    crds.delete("as.b.c", &DeleteParams::default()).await.unwrap();
    // Work is done in its order: once the definition has gone, so would have the namespace.
    super::support::in_time(async {
        while crds.get_opt("as.b.c").await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let namespace = namespaces.get("kube-node-lease").await.unwrap();
    assert_eq!(namespace.status.unwrap().phase.as_deref(), Some("Terminating"));
    let accounts: Api<ServiceAccount> = Api::default_namespaced(server.client());
    assert_eq!(accounts.list(&ListParams::default()).await.unwrap().items.len(), 0);
}
