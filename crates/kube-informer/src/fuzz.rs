//! Properties that must hold for any bytes that a server sends. `fuzz/README.md` in the repository describes how they are
//! fuzzed.
//!
//! The first byte of the input determines the length of the chunks that the rest is split into.

use std::{collections::BTreeMap, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::Stream as _;
use http::StatusCode;
use kube::core::{ApiResource, DynamicObject};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    Change, Compact, Error, Event, ObjectKey, Subscription,
    decode::{Decoded, Decoder, WatchEvent, watch_event},
    engine::{Engine, Flow},
    frame::{Lines, List, Piece},
    protocol::{Action, Settings, Target},
    scope::Scope,
    skip::Skip,
    state::State,
};

/// Lines come out complete, however they are chunked.
pub fn lines(input: &[u8]) {
    let (chunks, text) = chunked(input);
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for chunk in chunks {
        lines.push(chunk);
        while let Ok(Some(line)) = lines.next() {
            found.push(line);
        }
    }
    let end = text.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    let whole =
        text[..end].split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    assert!(found.iter().map(|line| &line[..]).eq(whole));
}

/// A list yields the same pieces however it is chunked, and the right ones if it is JSON.
pub fn list(input: &[u8]) {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        items: Option<Option<Vec<&'a RawValue>>>,
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    // Distinguishes null from a missing member.
    fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
        T::deserialize(value).map(Some)
    }
    let read = |chunks: Vec<Bytes>| {
        let mut list = List::new();
        let mut pieces = Vec::new();
        for chunk in chunks {
            list.push(chunk);
            while let Some(piece) = list.next()? {
                pieces.push(piece);
            }
        }
        Ok::<_, crate::frame::Error>(pieces)
    };
    let (chunks, text) = chunked(input);
    let found = read(chunks);
    assert_eq!(found, read(vec![Bytes::copy_from_slice(text)]));
    // Member names are compared as written; the API writes them without escapes.
    if let Ok(Whole { items, metadata }) = serde_json::from_slice(text)
        && !text.contains(&b'\\')
    {
        let Some(items) = items else { return assert_eq!(found, Err(crate::frame::Error::NotAList)) };
        let bytes = |value: &RawValue| Bytes::copy_from_slice(value.get().as_bytes());
        let items = items.unwrap_or_default().into_iter().map(|item| Piece::Item(bytes(item)));
        let wanted: Vec<Piece> = items.chain([Piece::End(bytes(metadata))]).collect();
        assert_eq!(found, Ok(wanted));
    }
}

/// An event is split as a JSON parser splits it, and its object decodes to the same in both stored forms.
pub fn event(input: &[u8]) {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(rename = "type")]
        kind: String,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let event = watch_event(input);
    if let Ok(Envelope { kind, object }) = serde_json::from_slice(input) {
        match (kind.as_str(), &event) {
            ("ADDED", Ok(WatchEvent::Added(cut)))
            | ("MODIFIED", Ok(WatchEvent::Modified(cut)))
            | ("DELETED", Ok(WatchEvent::Deleted(cut))) => {
                assert_eq!(cut.trim_ascii(), object.get().as_bytes());
            }
            ("ADDED" | "MODIFIED" | "DELETED", event) => panic!("{event:?}"),
            (_, event) => {
                assert!(matches!(event, Err(_) | Ok(WatchEvent::Bookmark { .. } | WatchEvent::Error(_))));
            }
        }
    }
    if let Ok(WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) = event
    {
        let (typed, compact) =
            (decoder().object::<DynamicObject>(object), decoder().object::<Compact<DynamicObject>>(object));
        match (typed, compact) {
            (Ok(Decoded::Item(typed)), Ok(Decoded::Item(compact))) => {
                assert_eq!((&typed.key, typed.version), (&compact.key, compact.version));
                let decoded = compact.object.decode().expect("it was decoded before");
                assert_eq!(*typed.object, decoded);
            }
            // Only the compact form refuses a uid that no server generates.
            (Ok(_), Ok(Decoded::Undecoded(_))) | (Err(_), Err(_)) => {}
            _ => panic!("one form decodes, and the other does not"),
        }
    }
}

/// Whatever the responses contain, nothing panics, time advances, and replaying a subscriber's events yields the
/// cache.
pub fn answers(input: &[u8]) {
    let scope = Scope::new(Some("default"));
    let state = Arc::new(State::<DynamicObject>::new([&scope]));
    let mut subscriber = Replay::new(Subscription::new(state.subscribe(), Arc::new(())));
    let (target, started) = (Target::new::<DynamicObject>(&blogs()), Instant::now());
    let watch_lists = Arc::default();
    let mut engine =
        Engine::new(target, scope, Settings::default(), 0, started, watch_lists, Arc::clone(&state));
    let mut now = Duration::ZERO;
    // A response ends with a zero byte. Its first byte determines how it begins and how it ends.
    for answer in input.split(|byte| *byte == 0) {
        loop {
            match engine.next_action(now) {
                Action::Send(_) => break,
                Action::WaitUntil(until) => {
                    assert!(until > now);
                    now = until;
                }
                Action::InFlight => panic!("a request is under way that nobody made"),
            }
        }
        let Some((how, body)) = answer.split_first() else { continue };
        let code = match how % 8 {
            0 => StatusCode::GONE,
            1 => StatusCode::NOT_FOUND,
            2 => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::OK,
        };
        engine.on_headers(now, code, None);
        let (chunks, _) = chunked(body);
        let stopped = chunks.into_iter().any(|chunk| engine.on_chunk(now, chunk) == Flow::Stop);
        if !stopped && how & 64 == 0 {
            engine.on_eof(now);
        } else if !stopped {
            engine.on_error(now, Error::Stopped);
        }
        subscriber.read();
        let cached: Option<BTreeMap<_, _>> = state.snapshot().map(|snapshot| {
            snapshot.entries().map(|(key, object)| (key.clone(), Arc::clone(object))).collect()
        });
        assert_eq!(cached.is_some(), subscriber.synced);
        assert_eq!(subscriber.known, cached.unwrap_or_default(), "a subscriber knows something else");
    }
}

/// The state that results from a subscriber's events.
struct Replay {
    subscription: Subscription<DynamicObject>,
    known: BTreeMap<ObjectKey, Arc<DynamicObject>>,
    synced: bool,
}

impl Replay {
    fn new(subscription: Subscription<DynamicObject>) -> Self {
        Self { subscription, known: BTreeMap::new(), synced: false }
    }

    fn read(&mut self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(event)) =
            std::pin::Pin::new(&mut self.subscription).poll_next(&mut context)
        {
            match event {
                Event::Change(Change::Added { key, object, .. }) => {
                    assert!(self.known.insert(key, object).is_none());
                }
                Event::Change(Change::Updated { key, old, new }) => {
                    assert!(self.known.insert(key, new).is_some_and(|known| Arc::ptr_eq(&known, &old)));
                }
                Event::Change(Change::Deleted { key, .. }) => assert!(self.known.remove(&key).is_some()),
                Event::Synced { .. } => self.synced = true,
            }
        }
    }
}

fn blogs() -> ApiResource {
    ApiResource {
        group: "web.helloworld".to_owned(),
        version: "v1".to_owned(),
        api_version: "web.helloworld/v1".to_owned(),
        kind: "Blog".to_owned(),
        plural: "blogs".to_owned(),
    }
}

fn decoder() -> Decoder {
    let ApiResource { api_version, kind, .. } = blogs();
    let mut skip = Skip::managed_fields();
    skip.last_applied();
    Decoder::new(skip, api_version, kind, Arc::default())
}

/// Returns the chunks that an input asks for, and all of its text.
fn chunked(input: &[u8]) -> (Vec<Bytes>, &[u8]) {
    let Some((length, text)) = input.split_first() else { return (Vec::new(), &[]) };
    let length = if *length == 0 { text.len().max(1) } else { usize::from(*length) };
    (text.chunks(length).map(Bytes::copy_from_slice).collect(), text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_lines() {
        fuzz::check("lines", 256, super::lines);
    }

    #[test]
    fn lists() {
        fuzz::check("list", 256, super::list);
    }

    #[test]
    fn events() {
        fuzz::check("event", 256, super::event);
    }

    #[test]
    fn all_answers() {
        fuzz::check("answers", 256, super::answers);
    }
}
