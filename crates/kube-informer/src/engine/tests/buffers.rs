//! What an engine holds while it waits.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Blog,
    model::{bookmark, line},
};
use crate::{
    Cached, Compact,
    engine::Engine,
    protocol::{Action, Request, Settings, Target, Time},
    scope::Scope,
    state::State,
};

/// Requests what the engine wants, and returns the request.
fn request<K: Cached>(engine: &mut Engine<K>) -> Request {
    match engine.next_action(Time::from_secs(1)) {
        Action::Send(request) => request,
        action => panic!("{action:?}"),
    }
}

/// Plays a response, and checks that nothing of it is held.
fn play<K: Cached>(engine: &mut Engine<K>, body: &str, chunk: usize) {
    let now = Time::from_secs(1);
    engine.on_headers(now, StatusCode::OK, None);
    let chunks: Vec<Bytes> = body.as_bytes().chunks(chunk).map(Bytes::copy_from_slice).collect();
    for chunk in &chunks {
        let _ = engine.on_chunk(now, chunk.clone());
    }
    assert_eq!(engine.held(), 0);
    assert!(chunks.iter().all(Bytes::is_unique), "a buffer of the connection is held");
}

fn large(name: &str, version: u64) -> Value {
    json!({
        "apiVersion": "web.helloworld/v1",
        "kind": "Blog",
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": version.to_string()},
        "spec": {"url": "x".repeat(1 << 20)},
    })
}

fn holds_nothing_of<K: Cached<Object = Blog>>(watch_list: bool, chunk: usize) {
    let scope = Scope::new(Some("default"));
    let state = Arc::new(State::<K>::new([&scope]));
    let settings = Settings { watch_list, ..Settings::default() };
    let target = Target::new::<Blog>(&());
    let mut engine =
        Engine::new(target, scope, settings, 1, Instant::now(), Arc::default(), Arc::clone(&state));
    if watch_list {
        assert!(matches!(request(&mut engine), Request::WatchList { .. }));
        play(&mut engine, &(line("ADDED", &large("a", 5)) + &bookmark(5, true)), chunk);
    } else {
        assert!(matches!(request(&mut engine), Request::List { .. }));
        let list = json!({"items": [large("a", 5)], "metadata": {"resourceVersion": "5"}});
        play(&mut engine, &format!("{list}\n"), chunk);
        assert!(matches!(request(&mut engine), Request::Watch { .. }));
    }
    play(&mut engine, &line("MODIFIED", &large("a", 6)), chunk);
    // The next line has only just begun.
    let begun = Bytes::from_static(b"{");
    let _ = engine.on_chunk(Time::from_secs(1), begun);
    assert!(engine.held() < 64, "{}", engine.held());
    assert_eq!(state.snapshot().map(|snapshot| snapshot.len()), Some(1));
}

/// Contract 15.
#[test]
fn a_watch_that_waits_holds_no_buffer() {
    for watch_list in [true, false] {
        for chunk in [10_000, 4 << 20] {
            holds_nothing_of::<Blog>(watch_list, chunk);
            holds_nothing_of::<Compact<Blog>>(watch_list, chunk);
        }
    }
}
