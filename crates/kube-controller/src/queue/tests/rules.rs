//! Rules 1 to 11 of controllers, each by what it says.

use super::*;

// Rule 1
#[test]
fn higher_priorities_run_first_and_equal_ones_in_the_order_in_which_they_became_ready() {
    let mut world = World::new();
    for (priority, name) in [(0, "a"), (-100, "b"), (5, "c"), (0, "d"), (5, "e")] {
        world.add_at(priority, name);
    }
    assert_eq!(world.drain(), ["c", "e", "a", "d", "b"]);
}

/// Controller-runtime #3330: an urgent requeue waited behind less urgent ones.
#[test]
fn equal_ones_are_ordered_by_when_they_became_ready_and_not_by_when_they_were_added() {
    let mut world = World::new();
    world.add("a");
    world.run("a", Outcome::RequeueAfter(3 * SECOND));
    world.pass(SECOND);
    world.add("b");
    world.run("b", Outcome::RequeueAfter(SECOND));
    world.pass(SECOND);
    world.add("c");
    world.pass(SECOND);
    assert_eq!(world.drain(), ["b", "c", "a"]);
}

// Rule 2
#[test]
fn a_key_has_one_entry_with_the_highest_priority_and_the_earliest_time() {
    let mut world = World::new();
    world.add_at(-100, "a");
    world.add_at(0, "b");
    world.add_at(3, "a");
    world.add_at(-5, "a");
    let taken = world.take().unwrap();
    assert_eq!((taken.key.name(), taken.priority, taken.reasons.list().len()), ("a", 3, 3));
    assert_eq!(world.drain(), ["b"]);
}

// Rule 3
#[test]
fn what_was_there_at_the_start_runs_once_and_gives_way_to_changes() {
    let mut world = World::debounced(SECOND, SECOND);
    for name in ["a", "b", "c"] {
        world.queue.list(world.now, &key(name), -100);
    }
    assert_eq!(
        world.queue.entries().map(|entry| entry.reasons[0].trigger).collect::<Vec<_>>(),
        [Trigger::Listed; 3]
    );
    world.add("c");
    let taken = world.take().unwrap();
    let triggers: Vec<_> = taken.reasons.list().iter().map(|reason| reason.trigger).collect();
    assert_eq!(
        (taken.key.name(), taken.priority, &*triggers),
        ("c", 0, &[Trigger::Listed, Trigger::Changed][..])
    );
    assert_eq!(world.drain(), ["a", "b"]);
    for name in ["a", "b", "c"] {
        world.finish(name, Outcome::Done);
    }
    assert_eq!((world.take().is_none(), world.until_due()), (true, None));
}

// Rule 3; controller-runtime #3157
#[test]
fn a_requeue_and_a_retry_keep_the_priority() {
    for outcome in [Outcome::RequeueAfter(SECOND), Outcome::Failed] {
        let mut world = World::new();
        world.add_at(7, "a");
        world.run("a", outcome);
        world.pass(2 * SECOND);
        assert_eq!(world.take().unwrap().priority, 7);
    }
    let mut world = World::new();
    world.add_at(7, "a");
    world.run("a", Outcome::Done);
    world.add("a");
    assert_eq!(world.take().unwrap().priority, 0);
}

// Rule 4; controller-runtime #3496
#[test]
fn every_eighth_pick_is_the_one_that_is_ready_for_longest() {
    let mut world = World::new();
    world.add_at(-100, "old");
    world.pass(MS);
    for name in 0..20 {
        world.add_at(5, &name.to_string());
    }
    let picks = world.drain();
    assert_eq!(picks.iter().position(|name| name == "old"), Some(7));
}

// Rule 5
#[test]
fn what_comes_during_a_run_makes_exactly_one_more() {
    let mut world = World::new();
    world.add("a");
    assert_eq!(world.next().as_deref(), Some("a"));
    for _ in 0..3 {
        world.add("a");
        assert_eq!(world.next(), None);
    }
    world.finish("a", Outcome::Done);
    assert_eq!(world.take().unwrap().reasons.list().len(), 3);
    world.finish("a", Outcome::Done);
    assert_eq!(world.next(), None);
}

// Rule 6
#[test]
fn a_debounce_has_a_deadline() {
    let mut world = World::debounced(SECOND, 3 * SECOND);
    for _ in 0..6 {
        world.add("a");
        assert_eq!(world.next(), None);
        world.pass(SECOND / 2);
    }
    assert_eq!(world.next().as_deref(), Some("a"), "after three seconds, although it changed all the time");
    world.finish("a", Outcome::Done);
    world.add("a");
    assert_eq!(world.until_due(), Some(SECOND));
}

// Rule 7
#[test]
fn the_wait_after_failures_doubles_up_to_five_minutes() {
    let mut world = World::new();
    world.add("a");
    let mut expected = Duration::from_millis(100);
    for _ in 0..30 {
        let wait = world.run("a", Outcome::Failed).unwrap();
        assert!(wait >= expected.mul_f64(0.9) && wait <= expected.mul_f64(1.1), "{wait:?}, not {expected:?}");
        world.pass(wait);
        expected = (expected * 2).min(Duration::from_secs(300));
    }
}

// Rule 8; kubernetes #132805
#[test]
fn a_change_runs_at_once_and_its_failure_moves_neither_the_count_nor_the_retry() {
    let mut world = World::new();
    world.add("a");
    let wait = world.run("a", Outcome::Failed).unwrap();
    let retry = world.now + wait;
    for _ in 0..5 {
        world.pass(MS);
        world.add("a");
        assert_eq!(world.take().unwrap().failures, 1);
        assert_eq!(world.finish("a", Outcome::Failed), Some(retry - world.now));
    }
    world.now = retry;
    let taken = world.take().unwrap();
    assert_eq!((taken.failures, taken.reasons.list()), (1, &[Reason::of(Trigger::Retry)][..]));
}

// Rule 9; controller-runtime #392
#[test]
fn failures_are_forgotten_after_a_success_a_requeue_or_another_object() {
    for outcome in [Outcome::Done, Outcome::RequeueAfter(SECOND)] {
        let mut world = World::new();
        world.add("a");
        let wait = world.run("a", Outcome::Failed).unwrap();
        world.pass(wait);
        world.run("a", outcome);
        world.add("a");
        assert_eq!(world.take().unwrap().failures, 0);
    }
    let mut world = World::new();
    world.add("a");
    world.run("a", Outcome::Failed);
    world.reset("a");
    assert_eq!(world.take().unwrap().failures, 0);
    world.finish("a", Outcome::Failed);
    world.queue.forget(&key("a"));
    assert_eq!((world.state("a"), world.until_due()), (None, None));
}

// Rule 10; controller-runtime #1720 and kube-runtime #1772
#[test]
fn a_requeue_is_at_latest_and_a_success_replaces_it() {
    let mut world = World::new();
    world.add("a");
    world.run("a", Outcome::RequeueAfter(10 * SECOND));
    world.pass(SECOND);
    world.add("a");
    world.run("a", Outcome::RequeueAfter(60 * SECOND));
    assert_eq!(world.until_due(), Some(60 * SECOND));
    world.add("a");
    world.run("a", Outcome::Done);
    assert_eq!(world.until_due(), None);
    world.add("a");
    world.run("a", Outcome::RequeueAfter(Duration::MAX));
    assert_eq!(world.next(), None);
    world.add("a");
    assert_eq!(world.next().as_deref(), Some("a"));
}

// Rule 11
#[test]
fn a_terminal_error_waits_for_a_change() {
    let mut world = World::new();
    world.add("a");
    world.run("a", Outcome::Terminal);
    assert_eq!((world.state("a"), world.until_due()), (Some(EntryState::Terminal), None));
    world.pass(3600 * SECOND);
    assert_eq!(world.next(), None);
    world.add("a");
    assert_eq!(world.next().as_deref(), Some("a"));
}

// Rule 14
#[test]
fn a_held_key_keeps_its_place_and_others_go_on() {
    let mut world = World::new();
    world.add("a");
    assert_eq!(world.next().as_deref(), Some("a"));
    world.queue.hold(&key("a"));
    world.finish("a", Outcome::Done);
    world.add("a");
    world.pass(MS);
    world.add("b");
    assert_eq!(world.state("a"), Some(EntryState::Held));
    world.queue.release(world.now, &key("a"));
    assert_eq!(world.drain(), ["a", "b"]);
}

#[test]
fn a_slowed_key_waits_whatever_happens_to_it() {
    let mut world = World::new();
    world.add("a");
    world.queue.slow(world.now, &key("a"), 5 * SECOND);
    world.add("a");
    assert_eq!((world.next(), world.until_due()), (None, Some(5 * SECOND)));
    world.pass(5 * SECOND);
    assert_eq!(world.next().as_deref(), Some("a"));
}

/// Controller-runtime #3538: the queue deadlocked at shutdown.
#[test]
fn after_the_stop_nothing_is_taken_and_runs_can_end() {
    let mut world = World::new();
    world.add("a");
    world.add("b");
    assert_eq!(world.next().as_deref(), Some("a"));
    world.queue.stop();
    assert_eq!(world.next(), None);
    world.finish("a", Outcome::Failed);
    assert_eq!(world.next(), None);
}

/// Under 300 bytes for a key that waits, with its place in the map of times.
#[test]
fn a_waiting_key_is_small() {
    let entry = size_of::<ObjectKey>() + size_of::<super::super::entry::Entry>();
    let place = size_of::<super::super::time::Place>() + size_of::<ObjectKey>();
    // A hash map is at least 7/16 full, a B-tree at least half.
    assert!(entry * 16 / 7 + place * 2 < 460 && entry + place < 200, "{entry} and {place}");
}

proptest::proptest! {
    /// Whatever happens: no key runs twice at once, what was added runs unless it is forgotten, and the depth adds up.
    #[test]
    fn whatever_happens_no_key_runs_twice_and_none_is_lost(
        steps in proptest::collection::vec((0_u8..9, 0_u8..6, 0_u64..3000), 1..200)
    ) {
        let mut world = World::new();
        let mut running = std::collections::BTreeSet::new();
        let mut held = std::collections::BTreeSet::new();
        let mut owed = std::collections::BTreeSet::new();
        for (step, name, time) in steps {
            let name = name.to_string();
            match step {
                0 | 1 => {
                    world.add_at(i32::try_from(time % 3).unwrap(), &name);
                    owed.insert(name);
                }
                2 | 3 => {
                    if let Some(taken) = world.take() {
                        let name = taken.key.name().to_owned();
                        proptest::prop_assert!(!held.contains(&name), "held keys are not taken");
                        proptest::prop_assert!(running.insert(name.clone()), "it runs already");
                        owed.remove(&name);
                    }
                }
                4 | 5 => {
                    if running.remove(&name) {
                        if time % 4 == 0 {
                            world.queue.hold(&key(&name));
                            held.insert(name.clone());
                        }
                        let outcomes =
                            [Outcome::Done, Outcome::Failed, Outcome::Terminal, Outcome::RequeueAfter(MS * 700)];
                        world.finish(&name, outcomes[usize::try_from(time % 4).unwrap()]);
                    }
                }
                6 => {
                    if held.remove(&name) {
                        world.queue.release(world.now, &key(&name));
                    }
                }
                7 => {
                    world.queue.forget(&key(&name));
                    owed.remove(&name);
                }
                _ => world.pass(MS * u32::try_from(time).unwrap()),
            }
        }
        for name in std::mem::take(&mut running) {
            world.finish(&name, Outcome::Done);
        }
        for name in held {
            world.queue.release(world.now, &key(&name));
        }
        let left = world.drain();
        for name in owed {
            proptest::prop_assert!(left.contains(&name), "{} was lost", name);
        }
    }
}
