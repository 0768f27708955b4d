//! Which servers are trusted, and how a failed handshake is reported, with real TLS.

use hyper::StatusCode;
use kubeconfig::{Error, TlsError, TlsProblem};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P521_SHA512, SignatureAlgorithm, date_time_ymd,
};

use crate::client::{causes, client, get};
use crate::sandbox::{Sandbox, one, text};
use crate::server::{Ca, Clients, Server, base64};

/// A certificate that signs itself, for `localhost` and 127.0.0.1, and its key, PEM.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn trusting(server: &Server, authority: &str) -> String {
    format!("server: '{}', certificate-authority-data: {}", server.url(), base64(authority))
}

/// The problem of a request to a cluster with these fields.
async fn problem(cluster: &str, user: &str) -> TlsProblem {
    error(&Sandbox::new(), cluster, user, |error| error.problem.clone()).await
}

async fn error<T>(sandbox: &Sandbox, cluster: &str, user: &str, read: impl FnOnce(&TlsError) -> T) -> T {
    let error = get(&client(sandbox, cluster, user)).await.unwrap_err();
    let kube::Error::Service(cause) = &error else { panic!("{error:?}") };
    read(cause.downcast_ref().unwrap_or_else(|| panic!("{}", causes(&error))))
}

async fn is_accepted(cluster: &str, user: &str) {
    let status = get(&client(&Sandbox::new(), cluster, user)).await;
    assert_eq!(status.unwrap_or_else(|error| panic!("{}", causes(&error))), StatusCode::OK);
}

#[tokio::test]
async fn p521_is_accepted_everywhere() {
    for (authority, leaf) in [
        (&PKCS_ECDSA_P521_SHA512, &PKCS_ECDSA_P521_SHA512),
        (&PKCS_ECDSA_P521_SHA512, &PKCS_ECDSA_P256_SHA256),
        (&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P521_SHA512),
    ] as [(&SignatureAlgorithm, &SignatureAlgorithm); 3]
    {
        let ca = Ca::of(authority);
        let (certificate, key) = ca.issue_with(leaf, &["127.0.0.1"]);
        let server = Server::presenting(&certificate, &key, Clients::Required(&ca.pem)).await;
        let (certificate, key) = ca.issue_with(leaf, &["me"]);
        let user =
            format!("client-certificate-data: {}, client-key-data: {}", base64(&certificate), base64(&key));
        is_accepted(&trusting(&server, &ca.pem), &user).await;
        assert!(server.seen()[0].certificate.is_some());
    }
}

// As in Go, where a certificate among the roots is trusted itself, whatever it may be used for otherwise.
#[tokio::test]
async fn a_servers_own_certificate_is_trusted_if_it_is_given_as_authority() {
    let ca = Ca::new();
    for (certificate, key) in [
        self_signed(|_| ()),
        self_signed(|params| params.is_ca = IsCa::ExplicitNoCa),
        self_signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        self_signed(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        self_signed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ca.issue(&["127.0.0.1"]),
    ] {
        let server = Server::presenting(&certificate, &key, Clients::Anonymous).await;
        is_accepted(&trusting(&server, &certificate), "").await;
        is_accepted(&trusting(&server, &format!("{}{certificate}", Ca::new().pem)), "").await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_still_checked() {
    let client_only =
        self_signed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let expired = self_signed(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = self_signed(|params| params.not_before = date_time_ymd(2999, 1, 1));
    let for_another = self_signed(|params| params.subject_alt_names.truncate(1));
    for ((certificate, key), want) in [
        (client_only, TlsProblem::WrongUsage),
        (expired, TlsProblem::Expired { at: "2020-01-01T00:00:00Z".to_owned() }),
        (early, TlsProblem::NotYetValid { from: "2999-01-01T00:00:00Z".to_owned() }),
        (
            for_another,
            TlsProblem::WrongName { wanted: "127.0.0.1".to_owned(), presented: vec!["localhost".to_owned()] },
        ),
    ] {
        let server = Server::presenting(&certificate, &key, Clients::Anonymous).await;
        assert_eq!(problem(&trusting(&server, &certificate), "").await, want);
        let insecure = format!("server: '{}', insecure-skip-tls-verify: true", server.url());
        is_accepted(&insecure, "").await;
    }
    let (certificate, key) = self_signed(|params| params.subject_alt_names.truncate(1));
    let server = Server::presenting(&certificate, &key, Clients::Anonymous).await;
    is_accepted(&format!("{}, tls-server-name: localhost", trusting(&server, &certificate)), "").await;
}

#[tokio::test]
async fn a_leaf_that_is_trusted_vouches_for_no_other() {
    for change in [
        |_: &mut CertificateParams| (),
        |params: &mut CertificateParams| params.is_ca = IsCa::ExplicitNoCa,
        |params: &mut CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        },
    ] {
        let leaf = Ca::with(&PKCS_ECDSA_P256_SHA256, change);
        let (certificate, key) = leaf.issue(&["127.0.0.1"]);
        let server = Server::presenting(&certificate, &key, Clients::Anonymous).await;
        assert_eq!(problem(&trusting(&server, &leaf.pem), "").await, TlsProblem::UnknownAuthority);
    }
    // The same names and the same issuer are not the same certificate.
    let (mine, other) = (self_signed(|_| ()), self_signed(|_| ()));
    let server = Server::presenting(&other.0, &other.1, Clients::Anonymous).await;
    assert_eq!(problem(&trusting(&server, &mine.0), "").await, TlsProblem::UnknownAuthority);
}

// What Go's `AppendCertsFromPEM` skips.
#[tokio::test]
async fn what_is_no_certificate_in_a_bundle_is_skipped() {
    let server = Server::start(|_| StatusCode::OK).await;
    let good = &server.ca.pem;
    let block =
        |content: &str| format!("-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n");
    for bad in [
        "garbage\n".to_owned(),
        "# Subject: CN=root\n\n".to_owned(),
        block("!!!! not base64 !!!!"),
        block("AAECAwQ="),
        "-----BEGIN CERTIFICATE-----\nMIIB\n".to_owned(),
        KeyPair::generate().unwrap().serialize_pem(),
    ] {
        for bundle in [format!("{bad}{good}"), format!("{good}{bad}"), format!("{bad}{good}{bad}")] {
            is_accepted(&trusting(&server, &bundle), "").await;
            is_accepted(&trusting(&server, &bundle.replace('\n', "\r\n")), "").await;
        }
        let sandbox = Sandbox::new();
        sandbox.write("home/.kube/config", one(&trusting(&server, &bad), ""));
        let error = sandbox.load().unwrap_err();
        assert!(
            error.to_string().contains("certificate-authority-data contains no PEM certificate"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_pods_bundle_may_contain_bad_blocks() {
    let (mut sandbox, server) = (Sandbox::new(), Server::start(|_| StatusCode::OK).await);
    sandbox.pod("127.0.0.1", server.address.port());
    let bad = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    sandbox.write("serviceaccount/ca.crt", format!("{bad}{}", server.ca.pem));
    let client = sandbox.load().unwrap().client().unwrap();
    assert_eq!(get(&client).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_name_is_reported_with_the_names_and_the_entry() {
    let (sandbox, server) = (Sandbox::new(), Server::start(|_| StatusCode::OK).await);
    let cluster = format!("{}, tls-server-name: other.test", server.cluster());
    let file = text(&sandbox.path("home/.kube/config"));
    error(&sandbox, &cluster, "", |error| {
        assert_eq!(
            error.to_string(),
            format!(
                "the certificate of {} is for localhost, api.test, 127.0.0.1, not for other.test (cluster \"cl\" in {file})",
                server.url()
            )
        );
        assert_eq!(error.cluster, Some(format!("cluster \"cl\" in {file}")));
    })
    .await;
}

#[tokio::test]
async fn an_unknown_authority_is_reported_with_those_that_are_trusted() {
    let (sandbox, server) = (Sandbox::new(), Server::start(|_| StatusCode::OK).await);
    let path = sandbox.write("ca.pem", &Ca::new().pem);
    let cluster = format!("server: '{}', certificate-authority: '{}'", server.url(), text(&path));
    let message = error(&sandbox, &cluster, "", ToString::to_string).await;
    assert!(
        message.contains(&format!("a trusted authority (certificate-authority {})", text(&path))),
        "{message}"
    );
    // The server shows its authority's certificate instead of its own.
    let (certificate, key) = self_signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let server = Server::presenting(&certificate, &key, Clients::Anonymous).await;
    assert_eq!(problem(&trusting(&server, &Ca::new().pem), "").await, TlsProblem::UnknownAuthority);
}

#[tokio::test]
async fn http_and_https_that_were_confused_are_reported() {
    let plain = Server::start_plain().await;
    let cluster = format!("server: 'https://{}', insecure-skip-tls-verify: true", plain.address);
    assert_eq!(problem(&cluster, "").await, TlsProblem::NotTls);
    let secure = Server::start(|_| StatusCode::OK).await;
    let cluster = format!("server: 'http://{}'", secure.address);
    assert_eq!(problem(&cluster, "").await, TlsProblem::NotPlain);
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_refused_is_reported() {
    let ca = Ca::new();
    let (certificate, key) = ca.issue(&["127.0.0.1"]);
    for clients in [Clients::Required(&ca.pem), Clients::Required12(&ca.pem)] {
        let server = Server::presenting(&certificate, &key, clients).await;
        let cluster = trusting(&server, &ca.pem);
        assert_eq!(problem(&cluster, "token: t").await, TlsProblem::CertificateRequired);
        let (certificate, key) = Ca::new().issue(&["me"]);
        let user =
            format!("client-certificate-data: {}, client-key-data: {}", base64(&certificate), base64(&key));
        assert_eq!(problem(&cluster, &user).await, TlsProblem::CertificateRefused);
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_reported_with_user_and_file() {
    let (certificate, _) = Ca::new().issue(&["me"]);
    let sandbox = Sandbox::new();
    let crt = text(&sandbox.write("me.crt", &certificate));
    let key = text(&sandbox.write("me.key", include_str!("keys/encrypted-pkcs8.key")));
    let data = base64(&KeyPair::generate().unwrap().serialize_pem());
    let file = text(&sandbox.path("home/.kube/config"));
    for (user, problem) in [
        (
            format!("client-certificate: '{crt}', client-key: '{key}'"),
            format!("client-key {key} is encrypted"),
        ),
        (
            format!("client-certificate: '{crt}', client-key-data: {data}"),
            "client-key-data does not belong to the certificate".to_owned(),
        ),
        (
            format!("client-certificate: '{key}', client-key-data: {data}"),
            format!("client-certificate {key} contains no PEM certificate"),
        ),
    ] {
        sandbox.write("home/.kube/config", one("server: 'https://c'", &user));
        let Err(error) = sandbox.load().unwrap().client() else { panic!("{problem}") };
        assert!(matches!(error, Error::InvalidEntry { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("user \"me\" in {file}: {problem}")), "{message}");
    }
}

#[tokio::test]
async fn a_servers_name_that_is_none_is_reported() {
    let sandbox = Sandbox::new();
    sandbox.write("home/.kube/config", one("server: 'https://c', tls-server-name: 'a b'", ""));
    let Err(error) = sandbox.load().unwrap().client() else { panic!("it was taken for a name") };
    assert!(error.to_string().contains("cluster \"cl\""), "{error}");
    assert!(error.to_string().contains("tls-server-name"), "{error}");
}

#[tokio::test]
async fn a_plugins_bad_key_is_reported_as_the_plugins() {
    let (sandbox, server) = (Sandbox::new(), Server::start(|_| StatusCode::OK).await);
    let (certificate, _) = server.ca.issue(&["me"]);
    let (_, other) = server.ca.issue(&["me"]);
    let answer = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "status": {"clientCertificateData": certificate, "clientKeyData": other},
    });
    let plugin = sandbox.script("plugin", &format!("cat <<'END'\n{answer}\nEND"));
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: '{}'}}",
        text(&plugin)
    );
    let error = get(&client(&sandbox, &server.cluster(), &user)).await.unwrap_err();
    let all = causes(&error);
    let want = format!(
        "exec plugin {} returned a clientKeyData that does not belong to the certificate",
        text(&plugin)
    );
    assert!(all.contains(&want), "{all}");
}
