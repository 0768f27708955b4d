//! Each fault, as a client observes it.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher;
use kube::{Client, Config, ResourceExt};
use kube_embedded::Body;
use kube_embedded::faults::{Fault, Verb};
use kube_embedded::{ManualClock, Server};
use serde_json::Value;
use tower::ServiceExt;

use super::support::{self, in_time};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn start() -> (Server, Api<ConfigMap>) {
    let server = Server::start();
    let maps = Api::default_namespaced(server.client());
    (server, maps)
}

async fn create(maps: &Api<ConfigMap>, name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.into());
    maps.create(&PostParams::default(), &map).await.expect("it is new")
}

/// Sends a request without a client that interprets the response.
async fn send(server: &Server, uri: &str) -> http::Response<Body> {
    let request = http::Request::get(uri).body(kube::client::Body::empty()).expect("a URI");
    in_time(server.service().oneshot(request)).await.expect("the service has no errors")
}

async fn json(response: http::Response<Body>) -> Value {
    let body = in_time(response.into_body().collect()).await.expect("the body is whole").to_bytes();
    serde_json::from_slice(&body).expect("the body is JSON")
}

fn code<T>(answer: Result<T, kube::Error>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(error) => support::code(&error),
    }
}

/// Opens a watch of ConfigMaps at resourceVersion 0.
async fn watch(
    maps: &Api<ConfigMap>,
) -> futures_util::stream::BoxStream<'static, Result<WatchEvent<ConfigMap>, kube::Error>> {
    in_time(maps.watch(&WatchParams::default(), "0")).await.expect("it opens").boxed()
}

#[tokio::test]
async fn requests_fail_as_on_an_overloaded_server() {
    let (server, maps) = start();
    let cases = [
        (Fault::TooManyRequests { retry_after: Some(7) }, 429, "TooManyRequests", Some("7")),
        (Fault::TooManyRequests { retry_after: None }, 429, "TooManyRequests", None),
        (Fault::InternalError { retry_after: None }, 500, "InternalError", None),
        (Fault::ServiceUnavailable { retry_after: Some(1) }, 503, "ServiceUnavailable", Some("1")),
        (Fault::Expired, 410, "Expired", None),
    ];
    for (fault, expected, reason, retry_after) in cases {
        let injected = server.faults().on(Verb::List, "configmaps").inject(fault);
        assert_eq!(code(maps.list(&ListParams::default()).await), expected);
        let response = send(&server, MAPS).await;
        assert_eq!(response.status(), expected);
        let header = response.headers().get("retry-after").map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(header.as_deref(), retry_after, "{reason}");
        let status = json(response).await;
        assert_eq!((status["kind"].as_str(), status["reason"].as_str()), (Some("Status"), Some(reason)));
        let seconds = retry_after.map(|it| it.parse::<u64>().unwrap());
        assert_eq!(status["details"]["retryAfterSeconds"].as_u64(), seconds, "{reason}");
        assert_eq!(injected.hits(), 2);
        injected.remove();
        assert_eq!(code(maps.list(&ListParams::default()).await), 200);
    }
}

#[tokio::test]
async fn a_failed_write_is_not_performed() {
    let (server, maps) = start();
    let _fault =
        server.faults().on(Verb::Create, "configmaps").inject(Fault::InternalError { retry_after: None });
    assert_eq!(code(maps.create(&PostParams::default(), &ConfigMap::default()).await), 500);
    assert!(maps.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_rule_affects_only_matching_requests() {
    let (server, maps) = start();
    create(&maps, "one").await;
    create(&maps, "two").await;
    let fault = Fault::InternalError { retry_after: None };
    let secrets: Api<Secret> = Api::default_namespaced(server.client());
    let elsewhere: Api<ConfigMap> = Api::namespaced(server.client(), "kube-system");

    let get = server.faults().on(Verb::Get, "configmaps").name("one").inject(fault.clone());
    assert_eq!(code(maps.get("one").await), 500);
    assert_eq!(code(maps.get("two").await), 200);
    assert_eq!(code(maps.list(&ListParams::default()).await), 200);
    assert_eq!(get.hits(), 1);
    drop(get);
    assert_eq!(code(maps.get("one").await), 200);

    let here = server.faults().on(Verb::Any, "configmaps").namespace("default").inject(fault.clone());
    assert_eq!(code(maps.delete("one", &DeleteParams::default()).await), 500);
    assert_eq!(code(elsewhere.list(&ListParams::default()).await), 200);
    assert_eq!(code(secrets.list(&ListParams::default()).await), 200);
    drop(here);

    let all = server.faults().on(Verb::List, "*").inject(fault);
    assert_eq!(code(secrets.list(&ListParams::default()).await), 500);
    server.client().apiserver_version().await.expect("discovery is never affected");
    server.faults().clear();
    assert_eq!(code(secrets.list(&ListParams::default()).await), 200);
    assert_eq!(all.hits(), 1);
}

#[tokio::test]
async fn a_rule_can_name_a_group_and_a_subresource() {
    let (server, _) = start();
    let fault = Fault::InternalError { retry_after: None };
    let scale = server.faults().on(Verb::Get, "deployments.apps/scale").inject(fault);
    let of = |path: &str| format!("/apis/apps/v1/namespaces/default/deployments/web{path}");
    assert_eq!(send(&server, &of("")).await.status(), 404);
    assert_eq!(send(&server, &of("/scale")).await.status(), 500);
    assert_eq!(scale.hits(), 1);
}

#[tokio::test]
async fn the_first_rule_that_is_not_used_up_takes_a_request() {
    let (server, maps) = start();
    let rule = || server.faults().on(Verb::List, "configmaps");
    let first = rule().times(2).inject(Fault::ServiceUnavailable { retry_after: None });
    // This fault applies only to watches, so it takes no lists.
    let watches = rule().inject(Fault::EndAfter(0));
    let second = rule().times(1).inject(Fault::TooManyRequests { retry_after: None });
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(code(maps.list(&ListParams::default()).await));
    }
    assert_eq!(codes, [503, 503, 429, 200]);
    assert_eq!((first.hits(), watches.hits(), second.hits()), (2, 0, 1));
}

#[tokio::test]
async fn a_delayed_request_waits_for_the_clock() {
    let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
    let server = Server::builder().clock(&clock).start().expect("it has no data folder");
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let delay = server.faults().on(Verb::Create, "configmaps").inject(Fault::Delay(Duration::from_secs(30)));
    let creating = tokio::spawn({
        let maps = maps.clone();
        async move { create(&maps, "late").await }
    });
    in_time(delay.wait_for_hits(1)).await;
    clock.advance(Duration::from_secs(29));
    assert_eq!(code(maps.get("late").await), 404, "it is not performed yet");
    clock.advance(Duration::from_secs(1));
    let created = in_time(creating).await.unwrap();
    assert_eq!(created.creation_timestamp().unwrap().0.to_string(), "2026-01-01T00:00:30Z");
}

#[tokio::test]
async fn a_silent_request_is_held_until_the_server_is_dropped() {
    let (server, maps) = start();
    let silence = server.faults().on(Verb::Create, "configmaps").inject(Fault::Silence);
    let creating = tokio::spawn({
        let maps = maps.clone();
        async move { maps.create(&PostParams::default(), &ConfigMap::default()).await }
    });
    in_time(silence.wait_for_hits(1)).await;
    assert_eq!(code(maps.list(&ListParams::default()).await), 200);
    assert!(!creating.is_finished());
    drop(server);
    assert_eq!(code(in_time(creating).await.unwrap()), 503);
}

#[tokio::test]
async fn a_stale_list_is_as_it_was() {
    let (server, maps) = start();
    let version = create(&maps, "one").await.resource_version().unwrap();
    create(&maps, "two").await;
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    let rule = || server.faults().on(Verb::List, "configmaps").times(1);

    let stale = rule().inject(Fault::StaleList { resource_version: version.clone() });
    let newest = ListParams::default();
    let list = maps.list(&newest).await.unwrap();
    let names: Vec<_> = list.iter().map(ResourceExt::name_any).collect();
    assert_eq!((names, list.metadata.resource_version), (vec!["one".to_owned()], Some(version.clone())));
    assert_eq!(stale.hits(), 1);
    assert_eq!(maps.list(&newest).await.unwrap().items[0].name_any(), "two");

    let _broken = rule().inject(Fault::StaleList { resource_version: "x&y".into() });
    assert_eq!(code(maps.list(&newest).await), 400);
    server.compact();
    create(&maps, "three").await;
    let _gone = rule().inject(Fault::StaleList { resource_version: version });
    assert_eq!(code(maps.list(&newest).await), 410);
}

#[tokio::test]
async fn a_watch_list_is_refused_or_not_understood() {
    let (server, maps) = start();
    create(&maps, "one").await;
    let params = WatchParams::default().initial_events();
    let rule = || server.faults().on(Verb::Watch, "configmaps");

    let refused = rule().inject(Fault::WatchListRefused);
    let error = maps.watch(&params, "0").await.err().expect("it is refused");
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(status.code, 422);
    assert!(status.message.contains("sendInitialEvents: Forbidden"), "{}", status.message);
    drop(watch(&maps).await);
    assert_eq!(refused.hits(), 1, "a plain watch is not a watch-list");
    drop(refused);

    let ignored = rule().inject(Fault::WatchListIgnored);
    let mut events = maps.watch(&params, "0").await.unwrap().boxed();
    assert_eq!(ignored.hits(), 1);
    create(&maps, "two").await;
    for name in ["one", "two"] {
        let event = in_time(events.try_next()).await.unwrap();
        assert!(matches!(&event, Some(WatchEvent::Added(it)) if it.name_any() == name), "{event:?}");
    }
}

#[tokio::test]
async fn a_watch_can_be_refused_as_expired() {
    let (server, maps) = start();
    let _fault = server.faults().on(Verb::Watch, "configmaps").inject(Fault::Expired);
    assert_eq!(code(maps.watch(&WatchParams::default(), "1").await.map(|_| ())), 410);
}

/// Opens a watch with a fault after the first of three objects, and returns what follows this object.
async fn after_one(fault: Fault) -> Vec<Result<WatchEvent<ConfigMap>, kube::Error>> {
    let (server, maps) = start();
    for name in ["a", "b", "c"] {
        create(&maps, name).await;
    }
    let fault = server.faults().on(Verb::Watch, "configmaps").times(1).inject(fault);
    let mut events = watch(&maps).await;
    let first = in_time(events.try_next()).await.expect("the fault comes later");
    assert!(matches!(&first, Some(WatchEvent::Added(it)) if it.name_any() == "a"), "{first:?}");
    let mut rest = vec![];
    // A watch that continues has two more events, and does not end.
    while rest.len() < 2 {
        let Some(event) = in_time(events.next()).await else { break };
        rest.push(event);
    }
    assert_eq!(fault.hits(), 1);
    let next = watch(&maps).await.try_next().await.expect("the next watch is healthy");
    assert!(matches!(next, Some(WatchEvent::Added(_))), "the next watch is healthy");
    rest
}

#[tokio::test]
async fn a_watch_ends() {
    assert!(after_one(Fault::EndAfter(1)).await.is_empty());
    let (server, maps) = start();
    create(&maps, "one").await;
    let _fault = server.faults().on(Verb::Watch, "configmaps").inject(Fault::EndAfter(0));
    assert!(in_time(watch(&maps).await.try_next()).await.unwrap().is_none(), "at once");
}

#[tokio::test]
async fn a_watch_breaks_off() {
    let rest = after_one(Fault::ResetAfter(1)).await;
    assert!(matches!(&rest[..], [Err(kube::Error::ReadEvents(_))]), "{rest:?}");
}

#[tokio::test]
async fn a_watch_ends_in_the_middle_of_a_line() {
    assert!(after_one(Fault::TruncateAfter(1)).await.is_empty(), "kube leaves out half an event");
    let (server, maps) = start();
    create(&maps, "one").await;
    let _fault = server.faults().on(Verb::Watch, "configmaps").inject(Fault::TruncateAfter(0));
    let response = send(&server, &format!("{MAPS}?watch=true")).await;
    let body = in_time(response.into_body().collect()).await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"type\":\"ADDED\",\"object\":{") && !body.contains(&b'\n'), "{body:?}");
    assert!(serde_json::from_slice::<Value>(&body).unwrap_err().is_eof());
}

#[tokio::test]
async fn a_watch_expires() {
    let rest = after_one(Fault::ExpiredAfter(1)).await;
    assert!(matches!(&rest[..], [Ok(WatchEvent::Error(status))] if status.code == 410), "{rest:?}");
}

#[tokio::test]
async fn an_event_does_not_decode() {
    let rest = after_one(Fault::UndecodableAfter(1)).await;
    // kube reads a line that is not an event of its type as an empty Status.
    let [Err(_), Ok(WatchEvent::Added(last))] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!(last.name_any(), "c", "and the watch continues");
}

#[tokio::test]
async fn a_watch_falls_silent() {
    let (server, maps) = start();
    let silent = server.faults().on(Verb::Watch, "configmaps").inject(Fault::SilentAfter(1));
    let mut events = watch(&maps).await;
    create(&maps, "one").await;
    assert!(in_time(events.try_next()).await.unwrap().is_some());
    create(&maps, "two").await;
    assert!(events.next().now_or_never().is_none(), "the second event is not sent");
    assert_eq!(silent.hits(), 1);
    drop(server);
    assert!(in_time(events.try_next()).await.unwrap().is_none());
}

#[tokio::test]
async fn kubes_watcher_recovers() {
    let faults = [
        Fault::Expired,
        Fault::EndAfter(0),
        Fault::EndAfter(1),
        Fault::ResetAfter(1),
        Fault::TruncateAfter(0),
        Fault::ExpiredAfter(1),
    ];
    for fault in faults {
        let (server, maps) = start();
        create(&maps, "one").await;
        let injected = server.faults().on(Verb::Watch, "configmaps").times(3).inject(fault.clone());
        let mut events = watcher(maps.clone(), watcher::Config::default()).boxed();
        let mut number = 0;
        in_time(async {
            while injected.hits() < 3 {
                number += 1;
                create(&maps, &format!("map-{number:03}")).await;
                // The watcher reports errors and continues.
                let _ = events.next().await.expect("a watcher has no end");
            }
            create(&maps, "last").await;
            loop {
                if let Some(Ok(watcher::Event::Apply(it) | watcher::Event::InitApply(it))) =
                    events.next().await
                    && it.name_any() == "last"
                {
                    break;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn faults_are_the_same_over_a_socket() {
    let (server, maps) = start();
    create(&maps, "one").await;
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let config = Config::from_custom_kubeconfig(endpoint.kubeconfig(), &Default::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(Client::try_from(config).unwrap());
    let rule = || server.faults().on(Verb::Watch, "configmaps").times(1);

    for (fault, events_before) in
        [(Fault::EndAfter(1), 1), (Fault::EndAfter(0), 0), (Fault::TruncateAfter(0), 0)]
    {
        let injected = rule().inject(fault);
        let events: Vec<_> = in_time(watch(&maps).await.try_collect()).await.unwrap();
        assert_eq!((events.len(), injected.hits()), (events_before, 1));
    }

    let _reset = rule().inject(Fault::ResetAfter(0));
    let error = in_time(maps.watch(&WatchParams::default(), "0").map(|opened| match opened {
        // The response's head may be lost with the connection.
        Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        Ok(events) => events.boxed(),
    }))
    .await;
    let seen: Vec<_> = in_time(error.collect()).await;
    assert!(seen.iter().all(Result::is_err), "no event comes: {seen:?}");

    let unavailable = server
        .faults()
        .on(Verb::Get, "configmaps")
        .times(1)
        .inject(Fault::InternalError { retry_after: None });
    assert_eq!(code(maps.get("one").await), 500);
    assert_eq!(unavailable.hits(), 1);

    let silent = rule().inject(Fault::SilentAfter(0));
    let mut events = watch(&maps).await;
    in_time(silent.wait_for_hits(1)).await;
    create(&maps, "two").await;
    endpoint.stop().await;
    let last = in_time(events.next()).await;
    assert!(!matches!(last, Some(Ok(_))), "nothing came until the socket was closed: {last:?}");
}

#[tokio::test]
async fn a_write_is_refused_in_the_words_of_the_api_server() {
    let (server, maps) = start();
    create(&maps, "one").await;
    let denied = |message: &str| Fault::AdmissionDenied { webhook: "a.b.c".into(), message: message.into() };
    let modified =
        "the object has been modified; please apply your changes to the latest version and try again";
    let cases = [
        (
            Fault::Conflict,
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on configmaps \"one\": {modified}"),
        ),
        (
            Fault::Forbidden,
            403,
            "Forbidden",
            "configmaps \"one\" is forbidden: User \"admin\" cannot delete resource \"configmaps\" in API group \"\" \
             in the namespace \"default\""
                .to_owned(),
        ),
        (denied("no"), 400, "", "admission webhook \"a.b.c\" denied the request: no".to_owned()),
        (denied(""), 400, "", "admission webhook \"a.b.c\" denied the request without explanation".to_owned()),
    ];
    for (fault, code, reason, message) in cases {
        let refused = server.faults().on(Verb::Any, "configmaps").times(1).inject(fault.clone());
        if fault != Fault::Forbidden {
            maps.get("one").await.expect("it is for writes");
            assert_eq!(refused.hits(), 0);
        }
        let error = maps.delete("one", &DeleteParams::default()).await.expect_err("it is refused");
        let kube::Error::Api(status) = error else { panic!("{error}") };
        assert_eq!((status.code, &*status.reason, &*status.message), (code, reason, &*message));
        assert_eq!(refused.hits(), 1);
        maps.get("one").await.expect("it is not performed");
    }
    let _quota = server.faults().on(Verb::Create, "configmaps").inject(Fault::Conflict);
    let error = maps.create(&PostParams::default(), &ConfigMap::default()).await.expect_err("it is refused");
    assert!(
        error.to_string().contains("Operation cannot be fulfilled on resourcequotas \"quota\""),
        "{error}"
    );
}

/// Creates an object whose answer is lost, and finds it.
async fn lose_an_answer(server: &Server, maps: &Api<ConfigMap>, name: &str) {
    let lost = server.faults().on(Verb::Create, "configmaps").times(1).inject(Fault::AnswerLost);
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.into());
    let error = in_time(maps.create(&PostParams::default(), &map)).await.expect_err("nothing is answered");
    assert!(!matches!(error, kube::Error::Api(_)), "{error}");
    assert_eq!(lost.hits(), 1);
    maps.get(name).await.expect("it was performed");
}

#[tokio::test]
async fn a_lost_answer_is_of_a_request_that_was_performed() {
    let (server, maps) = start();
    lose_an_answer(&server, &maps, "one").await;

    let _lost = server.faults().on(Verb::Any, "configmaps").inject(Fault::AnswerLost);
    let response = send(&server, &format!("{MAPS}/none")).await;
    assert_eq!(response.status(), 200, "the head shows nothing of the answer");
    in_time(response.into_body().collect()).await.expect_err("the body breaks");
    let mut events = watch(&maps).await;
    assert!(matches!(in_time(events.next()).await, Some(Err(_))), "no event comes");
}

#[tokio::test]
async fn an_answer_can_be_lost_on_a_socket() {
    let server = Server::start();
    let endpoint = server.listen("127.0.0.1:0").await.unwrap();
    let maps = Api::default_namespaced(support::client(endpoint.kubeconfig()).await);
    lose_an_answer(&server, &maps, "one").await;
}
