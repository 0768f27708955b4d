//! Properties of the machine itself, whatever a server does.

use proptest::prelude::*;

use super::*;

/// The outcome of a request. None makes progress.
#[derive(Debug, Clone)]
enum Outcome {
    Status(u16),
    NoAnswer,
    Broken,
    Ended,
    Silent,
    Malformed,
    /// A list succeeds, each time at a higher version; a watch brings nothing new.
    Works,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        prop::sample::select(vec![400_u16, 401, 403, 404, 410, 422, 429, 500, 503]).prop_map(Outcome::Status),
        Just(Outcome::NoAnswer),
        Just(Outcome::Broken),
        Just(Outcome::Ended),
        Just(Outcome::Silent),
        Just(Outcome::Malformed),
        Just(Outcome::Works),
    ]
}

proptest! {
    /// Contract 12: every request has a deadline, and requests that make no progress become rare, however they fail
    /// and whatever succeeds in between.
    #[test]
    fn requests_that_get_nowhere_become_rare(
        outcomes in prop::collection::vec(outcome(), 60),
        seed: u64,
        from_cache: bool,
    ) {
        let list_semantic = if from_cache { ListSemantic::Any } else { ListSemantic::MostRecent };
        let mut machine = Machine::new(Settings { list_semantic, ..Settings::default() }, true, seed, Arc::default());
        let (mut now, mut waited, mut version) = (Time::ZERO, Time::ZERO, 100_u64);
        for outcome in outcomes {
            let request = loop {
                match machine.next_action(now) {
                    Action::Send(request) => break request,
                    Action::WaitUntil(until) => {
                        waited += until - now;
                        now = until;
                    }
                    Action::InFlight => panic!("nothing is under way"),
                }
            };
            prop_assert!(machine.deadline() > Some(now));
            if !matches!(outcome, Outcome::NoAnswer) {
                machine.on_bytes(now, 0);
                prop_assert!(machine.deadline() > Some(now));
            }
            version += 1;
            play(&mut machine, &request, &outcome, now, version);
        }
        prop_assert!(waited > Duration::from_secs(20), "60 requests with {waited:?} of waiting");
    }
}

fn play(machine: &mut Machine, request: &Request, outcome: &Outcome, now: Time, version: u64) {
    let version = version.to_string().parse().unwrap();
    match (outcome, request) {
        (Outcome::Status(code), _) => {
            let status = Status::failure("no", "").with_code(*code);
            machine.on_failure(now, &Fault::Status { status: &status, retry_after: None });
        }
        (Outcome::NoAnswer | Outcome::Broken, _) => drop(machine.on_failure(now, &Fault::Transport)),
        (Outcome::Silent, _) => drop(machine.on_failure(now, &Fault::Silent)),
        (Outcome::Malformed, _) => drop(machine.on_failure(now, &Fault::Malformed)),
        (Outcome::Ended, _) => drop(machine.on_eof(now)),
        (Outcome::Works, Request::WatchList { .. }) => {
            machine.on_event(now, EventKind::Bookmark { ends_initial: true }, version);
            machine.on_eof(now);
        }
        (Outcome::Works, Request::List { .. }) => drop(machine.on_page(now, version, None)),
        (Outcome::Works, Request::Watch { from, .. }) => {
            machine.on_event(now, EventKind::Bookmark { ends_initial: false }, *from);
            machine.on_eof(now);
        }
        (Outcome::Works, Request::Discover) => drop(machine.on_discovery(now, Discovered::Served)),
    }
}

#[test]
fn a_watch_that_got_somewhere_is_resumed_at_once_and_makes_waits_short_again() {
    let version = |text: &str| text.parse().unwrap();
    let mut machine = Machine::new(Settings::default(), false, 1, Arc::default());
    let mut now = Time::ZERO;
    for _ in 0..8 {
        assert!(matches!(machine.next_action(now), Action::Send(Request::WatchList { .. })));
        let Recovery::Retry { at } = machine.on_failure(now, &Fault::Transport) else {
            panic!("no fallback")
        };
        now = at;
    }
    assert!(matches!(machine.next_action(now), Action::Send(Request::WatchList { .. })));
    machine.on_bytes(now, 0);
    machine.on_event(now, EventKind::Bookmark { ends_initial: true }, version("5"));
    now += SHORT_WATCH;
    assert_eq!(machine.on_event(now, EventKind::Modified, version("6")), Verdict::Apply);
    assert_eq!(machine.on_eof(now), None);
    assert!(
        matches!(machine.next_action(now), Action::Send(Request::Watch { from, .. }) if from == version("6"))
    );
    let Recovery::Retry { at } = machine.on_failure(now, &Fault::Transport) else { panic!("no fallback") };
    assert!(at - now < Duration::from_secs(1));
}
