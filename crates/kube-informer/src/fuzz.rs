//! What must hold of any bytes that a server sends. The fuzz targets in `fuzz/` call these functions with bytes that they
//! invent; the tests below with those of `fuzz/seeds` and with their parts, put together anew.
//!
//! The first byte of the input says into how long chunks the rest is cut.

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

/// Lines come out whole, however they are chunked.
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

/// A list gives the same pieces however it is chunked, and the right ones if it is JSON.
pub fn list(input: &[u8]) {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        items: Option<Option<Vec<&'a RawValue>>>,
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    // Null is something else than nothing.
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
    // The names of members are compared as they are written; the API writes them without escapes.
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

/// An event is cut as a JSON parser cuts it, and its object decodes into the same in both forms.
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
            // Only a uid that no server gives is refused by the compact form alone.
            (Ok(_), Ok(Decoded::Undecoded(_))) | (Err(_), Err(_)) => {}
            _ => panic!("one form decodes, and the other does not"),
        }
    }
}

/// Whatever comes as answers, nothing panics, time goes on, and what a subscriber was told is what the cache has.
pub fn answers(input: &[u8]) {
    let scope = Scope::new(Some("default"));
    let state = Arc::new(State::<DynamicObject>::new([&scope]));
    let mut subscriber = Replay::new(Subscription::new(state.subscribe(), Arc::new(())));
    let (target, started) = (Target::new::<DynamicObject>(&blogs()), Instant::now());
    let watch_lists = Arc::default();
    let mut engine =
        Engine::new(target, scope, Settings::default(), 0, started, watch_lists, Arc::clone(&state));
    let mut now = Duration::ZERO;
    // An answer ends with a zero byte; its first one says how it begins and how it ends.
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

/// What a subscriber knows by what it was told.
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
    Decoder::new(skip, api_version, kind)
}

/// The chunks that an input asks for, and their whole.
fn chunked(input: &[u8]) -> (Vec<Bytes>, &[u8]) {
    let Some((length, text)) = input.split_first() else { return (Vec::new(), &[]) };
    let length = if *length == 0 { text.len().max(1) } else { usize::from(*length) };
    (text.chunks(length).map(Bytes::copy_from_slice).collect(), text)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    type Check = fn(&[u8]);

    const TARGETS: [(&str, Check); 4] =
        [("lines", lines), ("list", list), ("event", event), ("answers", answers)];

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn the_seeds_hold() {
        for (target, check) in TARGETS {
            let seeds = seeds(target);
            assert!(!seeds.is_empty());
            seeds.iter().for_each(|seed| check(seed));
        }
    }

    /// Parts of the seeds in another order, with a byte changed here and there.
    fn spliced(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
        let seed = prop::sample::select(seeds(target));
        let part = (seed, any::<prop::sample::Index>(), 0..200_usize).prop_map(|(seed, from, length)| {
            let from = from.index(seed.len() + 1);
            seed[from..(from + length).min(seed.len())].to_vec()
        });
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (prop::collection::vec(part, 1..6), changes).prop_map(|(parts, changes)| {
            let mut bytes = parts.concat();
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn what_is_made_of_the_seeds_holds(
            inputs in (spliced("lines"), spliced("list"), spliced("event"), spliced("answers")),
        ) {
            lines(&inputs.0);
            list(&inputs.1);
            event(&inputs.2);
            answers(&inputs.3);
        }
    }
}
