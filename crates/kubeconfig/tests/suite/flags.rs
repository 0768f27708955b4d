//! Options do the same as kubectl's flags of the same names, as a real TLS server sees it.

use std::process::Stdio;

use hyper::{Request, StatusCode};
use kube::client::Body;
use kubeconfig::{AuthMethod, Options, Origin};
use tokio::process::Command;

use crate::sandbox::{Sandbox, one, text};
use crate::server::{Ca, Seen, Server};
use crate::view::kubectl;

/// Sets the option that is named like this flag.
fn option(options: Options, flag: &str) -> Options {
    let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
    match name {
        "--kubeconfig" => options.kubeconfig(value),
        "--context" => options.context(value),
        "--cluster" => options.cluster(value),
        "--user" => options.user(value),
        "--namespace" => options.namespace(value),
        "--server" => options.server(value),
        "--certificate-authority" => options.certificate_authority(value),
        "--insecure-skip-tls-verify" => options.insecure_skip_tls_verify(value == "true"),
        "--tls-server-name" => options.tls_server_name(value),
        "--proxy-url" => options.proxy_url(value),
        "--disable-compression" => options.disable_compression(value == "true"),
        "--token" => options.token(value),
        "--username" => options.username(value),
        "--password" => options.password(value),
        "--client-certificate" => options.client_certificate(value),
        "--client-key" => options.client_key(value),
        "--as" => options.impersonate(value),
        "--as-uid" => options.impersonate_uid(value),
        "--as-group" => options.impersonate_groups(value.split(',')),
        "--as-user-extra" => {
            options.impersonate_user_extra(value.split(',').map(|pair| pair.split_once(':').unwrap()))
        }
        _ => panic!("{flag}"),
    }
}

/// The flags of kubectl for one of ours, in which a list is separated by commas, and a key by a colon.
fn kubectl_flags(flag: &str) -> Vec<String> {
    match flag.split_once('=') {
        Some((name @ ("--as-group" | "--as-user-extra"), value)) => {
            value.split(',').map(|item| format!("{name}={}", item.replacen(':', "=", 1))).collect()
        }
        _ => vec![flag.to_owned()],
    }
}

/// A kubeconfig with these fields, and the flags. `SERVER`, `CA`, `OTHER-CA`, `CERT` and `KEY` stand for those of the
/// server.
struct Case {
    cluster: &'static str,
    user: &'static str,
    flags: &'static str,
}

const fn case(cluster: &'static str, user: &'static str, flags: &'static str) -> Case {
    Case { cluster, user, flags }
}

const GOOD: &str = "server: 'SERVER', certificate-authority: 'CA'";
const BEARER: &str = "token: file";

const CASES: &[Case] = &[
    case(GOOD, BEARER, ""),
    case(GOOD, BEARER, "--token=flag"),
    case(GOOD, BEARER, "--token="),
    case(GOOD, "username: me, password: p", "--token=flag"),
    case(GOOD, "tokenFile: empty", "--token=flag"),
    case(GOOD, "username: me, password: p", "--username=you"),
    case(GOOD, "username: me, password: p", "--password=q"),
    case(GOOD, BEARER, "--username=me"),
    case(GOOD, "client-certificate: CERT, client-key: KEY", ""),
    case(GOOD, "client-certificate: CERT, client-key: KEY", "--token=flag"),
    case(GOOD, BEARER, "--client-certificate=CERT --client-key=KEY"),
    case(GOOD, BEARER, "--client-certificate=CERT"),
    case(
        GOOD,
        "client-certificate-data: aGVsbG8=, client-key-data: aGVsbG8=, token: t",
        "--client-certificate=CERT --client-key=KEY",
    ),
    case(GOOD, BEARER, "--client-key=KEY"),
    case(GOOD, BEARER, "--client-certificate=missing --client-key=KEY"),
    case(
        GOOD,
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false', interactiveMode: Never}",
        "--token=flag",
    ),
    case(GOOD, BEARER, "--as=boss"),
    case(GOOD, BEARER, "--as=boss --as-group=a,b --as-uid=7 --as-user-extra=k:v,k:w,Acme/Why:x"),
    case(GOOD, BEARER, "--as-group=a"),
    case(GOOD, BEARER, "--as-uid=a"),
    case(GOOD, BEARER, "--as-user-extra=k:v"),
    case(GOOD, "token: t, as: me, as-groups: [g], as-uid: u, as-user-extra: {k: [v], l: [m]}", ""),
    case(GOOD, "token: t, as: me, as-groups: [g], as-uid: u, as-user-extra: {k: [v], l: [m]}", "--as=boss"),
    case(
        GOOD,
        "token: t, as: me, as-groups: [g], as-user-extra: {k: [v], l: [m]}",
        "--as-group=h --as-user-extra=k:w",
    ),
    case(GOOD, BEARER, "--server=https://127.0.0.1:1"),
    case("server: 'https://127.0.0.1:1', certificate-authority: 'CA'", BEARER, "--server=SERVER"),
    case(
        "server: 'https://127.0.0.1:1', certificate-authority: 'CA', tls-server-name: wrong.test",
        BEARER,
        "--server=SERVER",
    ),
    case(
        "server: 'SERVER', certificate-authority: 'CA', tls-server-name: wrong.test",
        BEARER,
        "--tls-server-name=api.test",
    ),
    case(GOOD, BEARER, "--tls-server-name=wrong.test"),
    case("server: 'SERVER', certificate-authority: 'OTHER-CA'", BEARER, "--certificate-authority=CA"),
    case("server: 'SERVER', certificate-authority-data: 'aGVsbG8='", BEARER, "--certificate-authority=CA"),
    case("server: 'SERVER', insecure-skip-tls-verify: true", BEARER, "--certificate-authority=CA"),
    case("server: 'SERVER', insecure-skip-tls-verify: true", BEARER, "--certificate-authority=OTHER-CA"),
    case("server: 'SERVER', certificate-authority: 'OTHER-CA'", BEARER, "--insecure-skip-tls-verify"),
    case("server: 'SERVER', certificate-authority-data: 'aGVsbG8='", BEARER, "--insecure-skip-tls-verify"),
    case("server: 'SERVER', certificate-authority: 'OTHER-CA'", BEARER, "--insecure-skip-tls-verify=false"),
    case(GOOD, BEARER, "--insecure-skip-tls-verify --certificate-authority=CA"),
    case(GOOD, BEARER, "--certificate-authority=missing"),
    case(GOOD, BEARER, "--disable-compression"),
    case(GOOD, BEARER, "--proxy-url=ftp://p"),
    case(GOOD, BEARER, "--cluster=other"),
    case(GOOD, BEARER, "--cluster=missing"),
    case(GOOD, BEARER, "--cluster=missing --server=SERVER"),
    case(GOOD, BEARER, "--user=other"),
    case(GOOD, BEARER, "--user=missing"),
    case(GOOD, BEARER, "--user=missing --token=flag"),
    case(GOOD, BEARER, "--context=dangling"),
    case(GOOD, BEARER, "--context=dangling --server=SERVER --certificate-authority=CA --token=flag"),
    case(GOOD, BEARER, "--context=dangling --cluster=cl --user=other"),
    case(GOOD, BEARER, "--context=missing --server=SERVER --token=flag"),
    case(
        GOOD,
        BEARER,
        "--kubeconfig= --context= --cluster= --user= --server= --as= --as-uid= --tls-server-name=",
    ),
    case(GOOD, BEARER, "--kubeconfig=empty --server=SERVER --certificate-authority=CA --token=flag"),
    case(
        GOOD,
        BEARER,
        "--kubeconfig=empty --server=SERVER --insecure-skip-tls-verify --token=flag --as=boss",
    ),
    case(GOOD, BEARER, "--kubeconfig=empty --server=SERVER --token=flag"),
    case(GOOD, BEARER, "--kubeconfig=missing --server=SERVER --insecure-skip-tls-verify --token=flag"),
    case(GOOD, BEARER, "--kubeconfig=unselected --cluster=cl --user=me"),
    case(GOOD, BEARER, "--kubeconfig=unselected --cluster=cl --token=flag"),
];

/// The headers that say who asks, with the number of client certificates.
fn who(seen: &Seen) -> Vec<String> {
    let mut who: Vec<String> = seen
        .headers
        .iter()
        .filter(|(name, _)| name.as_str() == "authorization" || name.as_str().starts_with("impersonate"))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    who.sort();
    who.push(format!("certificate: {}", seen.certificate.is_some()));
    who
}

/// The request of a case, by `send`, or `None` if it was refused.
async fn request<F: Future<Output = bool>>(server: &Server, send: impl FnOnce() -> F) -> Option<Vec<String>> {
    let before = server.seen().len();
    let is_ok = send().await;
    let seen = server.seen();
    assert_eq!(is_ok, seen.len() > before);
    seen.last().filter(|_| is_ok).map(who)
}

/// Whether a kubectl has the flags of ours. Some of them are young.
fn has_all_flags(kubectl: &std::path::PathBuf) -> bool {
    let output = std::process::Command::new(kubectl).args(["version", "--client", "-o", "json"]).output();
    let version =
        output.ok().and_then(|output| serde_json::from_slice::<serde_json::Value>(&output.stdout).ok());
    let minor =
        version.as_ref().and_then(|version| version["clientVersion"]["minor"].as_str()?.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 37)
}

#[tokio::test]
async fn options_are_the_same_as_kubectls_flags() {
    let Some(kubectl) = kubectl().filter(has_all_flags) else {
        println!("skipped: no kubectl 1.37 or later on PATH to compare with");
        return;
    };
    let server = Server::start(|_| StatusCode::OK).await;
    let mut sandbox = Sandbox::new();
    let (certificate, key) = server.ca.issue(&["me"]);
    let values = [
        ("SERVER", server.url()),
        ("OTHER-CA", text(&sandbox.write("other-ca", Ca::new().pem))),
        ("CA", text(&sandbox.write("ca", &server.ca.pem))),
        ("CERT", text(&sandbox.write("cert", certificate))),
        ("KEY", text(&sandbox.write("key", key))),
    ];
    let fill =
        |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    sandbox.write("empty", "");
    sandbox.kubeconfig(&["config", "more"]);
    sandbox.write(
        "more",
        fill(
            "clusters: [{name: other, cluster: {server: SERVER, certificate-authority: CA, tls-server-name: api.test}}]\n\
             users: [{name: other, user: {token: other}}]\n\
             contexts: [{name: dangling, context: {cluster: gone, user: gone}}]\n",
        ),
    );
    let mut differing = Vec::new();
    for case in CASES {
        let config = one(&fill(case.cluster), &fill(case.user));
        sandbox.write("unselected", config.replace("current-context: ctx", ""));
        sandbox.write("config", config);
        let flags: Vec<String> = case.flags.split_whitespace().map(&fill).collect();
        let theirs = request(&server, async || {
            let status = Command::new(&kubectl)
                .args(["get", "--raw", "/probe", "--request-timeout=10s"])
                .args(flags.iter().flat_map(|flag| kubectl_flags(flag)))
                .env_clear()
                .envs(sandbox.variables().iter().map(|(name, value)| (name, value)))
                .current_dir(sandbox.path(""))
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .status();
            status.await.unwrap().success()
        });
        let theirs = theirs.await;
        let ours = request(&server, async || {
            let options = flags.iter().fold(sandbox.options(), |options, flag| option(options, flag));
            let Ok(client) = options.load().and_then(|resolved| resolved.client()) else { return false };
            client.send(Request::get("/probe").body(Body::empty()).unwrap()).await.is_ok()
        });
        let ours = ours.await;
        if ours != theirs {
            differing.push(format!(
                "{} | {} | {}\n  ours   {ours:?}\n  theirs {theirs:?}",
                case.cluster, case.user, case.flags
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[tokio::test]
async fn a_given_token_replaces_a_token_file() {
    let (sandbox, server) = (Sandbox::new(), Server::start(|_| StatusCode::OK).await);
    sandbox.write("home/.kube/token", "from-file");
    sandbox.write("home/.kube/config", one(&server.cluster(), "tokenFile: token"));
    // kubectl sends the token of the file.
    let client = sandbox.options().token("given").load().unwrap().client().unwrap();
    client.send(Request::get("/probe").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(server.authorizations(), [Some("Bearer given".to_owned())]);
}

#[test]
fn the_report_shows_what_was_given() {
    let sandbox = Sandbox::new();
    sandbox.write("home/.kube/config", one("server: 'https://c'", "token: hunter2"));
    let options = sandbox
        .options()
        .cluster("cl")
        .user("me")
        .namespace("ns")
        .server("https://other")
        .impersonate("boss");
    let options = options.proxy_url("http://me:hunter2@proxy:1").token("hunter2");
    let resolved = options.load().unwrap();
    let report = resolved.report();
    for located in [&report.cluster, &report.user, &report.proxy] {
        assert_eq!(located.as_ref().unwrap().origin, Origin::Option);
    }
    assert_eq!((&report.server.origin, &report.namespace.origin), (&Origin::Option, &Origin::Option));
    assert_eq!(resolved.namespace(), "ns");
    assert_eq!(report.auth, [AuthMethod::Token]);
    let shown = format!("{report} {options:?}");
    assert!(
        shown.contains("server     https://other (given)\n") && shown.contains("as         boss\n"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn nothing_but_a_server_is_needed() {
    let sandbox = Sandbox::new();
    let resolved = sandbox.options().server("https://c").load().unwrap();
    let report = resolved.report();
    assert_eq!((&report.server.value[..], &report.server.origin), ("https://c", &Origin::Option));
    assert_eq!((&report.context, &report.cluster, &report.user), (&None, &None, &None));
    // Without one, the other options do not lead to localhost:8080.
    assert!(sandbox.options().token("t").impersonate("boss").load().unwrap_err().is_empty_configuration());
}

#[test]
fn options_that_cannot_be_used_are_named() {
    let sandbox = Sandbox::new();
    let missing = text(&sandbox.path("missing"));
    let server = sandbox.options().server("https://c");
    for (options, want) in [
        (sandbox.options().cluster("c"), "cluster \"c\" is not defined in "),
        (server.clone().user("u"), "user \"u\" is not defined in "),
        (server.clone().impersonate_uid("u"), "the options are invalid: as-uid, as-groups or as-user-extra"),
        (
            server.clone().certificate_authority("missing"),
            &format!("cannot read certificate-authority {missing}"),
        ),
        (server.clone().token("t").username("u"), "the options are invalid: a token and a user name"),
        (sandbox.options().server("c:1/path"), "the options are invalid: server is neither"),
    ] {
        let error = options.load().unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
    // If only the combination is invalid, the message says so.
    sandbox.write("home/.kube/config", one("server: 'https://c'", "username: me"));
    let error = sandbox.options().token("t").load().unwrap_err().to_string();
    assert!(error.starts_with("user \"me\" with options in "), "{error}");
}

#[test]
fn options_change_the_pods_cluster() {
    let mut sandbox = Sandbox::new();
    sandbox.pod("10.0.0.1", 443);
    let ca = sandbox.write("ca", Ca::new().pem);
    let options = sandbox
        .options()
        .impersonate("boss")
        .impersonate_groups(["a"])
        .namespace("ns")
        .tls_server_name("api");
    let resolved = options.load().unwrap();
    assert!(resolved.report().in_cluster && resolved.namespace() == "ns");
    assert_eq!(resolved.report().impersonate.as_deref(), Some("boss"));
    assert_eq!(resolved.report().auth, [AuthMethod::TokenFile(sandbox.path("serviceaccount/token"))]);
    assert_eq!(resolved.config().tls_server_name.as_deref(), Some("api"));
    let resolved = sandbox.options().token("t").certificate_authority(&ca).load().unwrap();
    assert_eq!(resolved.report().auth, [AuthMethod::Token]);
    assert_eq!(resolved.config().root_cert_file.as_ref(), Some(&ca));
    assert!(
        sandbox.options().insecure_skip_tls_verify(true).load().unwrap().report().insecure_skip_tls_verify
    );
    // A server that is given is not the pod's, and does not get its token.
    let resolved = sandbox.options().server("https://other").load().unwrap();
    assert!(!resolved.report().in_cluster && resolved.report().auth.is_empty());
}
