//! Faults that are injected over HTTP, as by a client in another process.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ListParams};
use kube_embedded::Server;
use serde_json::{Value, json};

#[tokio::test]
async fn a_remote_client_injects_faults() {
    const FAULTS: &str = "/kube-embedded/faults";
    let server = Server::builder().faults_over_http().start().expect("it has no data folder");
    let endpoint = server.listen("127.0.0.1:0").await.expect("a free port");
    let connect = async |kubeconfig| {
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        config.default_retry = false;
        Client::try_from(config).unwrap()
    };
    let client = connect(endpoint.kubeconfig()).await;
    let send = async |client: &Client, method: &str, path: &str, body: Value| {
        let request = http::Request::builder().method(method).uri(path);
        client.request::<Value>(request.body(body.to_string().into_bytes()).unwrap()).await
    };
    let refused = |error: kube::Error| match error {
        kube::Error::Api(status) => (status.code, status.message),
        other => panic!("{other}"),
    };
    let fault = json!({
        "verb": "list", "resource": "configmaps", "namespace": "default", "times": 2,
        "fault": {"serviceUnavailable": {"retryAfter": 1}},
    });
    let made = send(&client, "POST", FAULTS, fault.clone()).await.unwrap();
    let mut expected = fault.clone();
    expected["id"] = made["id"].clone();
    expected["hits"] = 0.into();
    assert_eq!(made, expected);
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    assert_eq!(refused(maps.list(&ListParams::default()).await.unwrap_err()).0, 503);
    let one = format!("{FAULTS}/{}", made["id"]);
    assert_eq!(send(&client, "GET", &one, Value::Null).await.unwrap()["hits"], 1);
    send(&client, "DELETE", &one, Value::Null).await.unwrap();
    maps.list(&ListParams::default()).await.expect("it is removed");
    assert_eq!(refused(send(&client, "GET", &one, Value::Null).await.unwrap_err()).0, 404);

    // All faults are accepted, and returned as they were sent.
    let faults = [
        json!("silence"),
        json!("expired"),
        json!({"delay": 1500}),
        json!({"tooManyRequests": {"retryAfter": null}}),
        json!({"internalError": {"retryAfter": 2}}),
        json!({"staleList": {"resourceVersion": "7"}}),
        json!("conflict"),
        json!("forbidden"),
        json!({"admissionDenied": {"webhook": "a.b.c", "message": "no"}}),
        json!("answerLost"),
        json!("watchListRefused"),
        json!("watchListIgnored"),
        json!({"endAfter": 0}),
        json!({"resetAfter": 1}),
        json!({"truncateAfter": 1}),
        json!({"expiredAfter": 1}),
        json!({"undecodableAfter": 1}),
        json!({"silentAfter": 1}),
    ];
    for fault in &faults {
        let rule = json!({"verb": "watch", "resource": "nothing", "fault": fault});
        send(&client, "POST", FAULTS, rule).await.unwrap();
    }
    let received = send(&client, "GET", FAULTS, Value::Null).await.unwrap();
    let received: Vec<&Value> =
        received["items"].as_array().unwrap().iter().map(|item| &item["fault"]).collect();
    assert_eq!(received, faults.iter().collect::<Vec<_>>());
    send(&client, "DELETE", FAULTS, Value::Null).await.unwrap();
    assert_eq!(send(&client, "GET", FAULTS, Value::Null).await.unwrap(), json!({"items": []}));

    // Invalid faults and users without permission are refused.
    for wrong in [json!({"verb": "list"}), json!({"verb": "list", "resource": "a", "fault": "nonsense"})] {
        let (code, message) = refused(send(&client, "POST", FAULTS, wrong).await.unwrap_err());
        assert!(code == 400 && message.starts_with("this is not a fault: "), "{message}");
    }
    let jane = connect(endpoint.kubeconfig_with("jane", &server.add_user("jane", &[]))).await;
    let (code, message) = refused(send(&jane, "POST", FAULTS, fault.clone()).await.unwrap_err());
    let said = "forbidden: User \"jane\" cannot post path \"/kube-embedded/faults\"";
    assert_eq!((code, message.as_str()), (403, said));
    let other = Server::start();
    let error = send(&other.client(), "POST", FAULTS, fault).await.unwrap_err();
    assert_eq!(refused(error).0, 404, "it is off by default");
}
