use serde_json::json;

use super::*;

fn plan(all: &str, or: &str, fail_on: &str) -> Plan {
    let list = |texts: &str| texts.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    Plan::parse(&list(all), &list(or), &list(fail_on)).unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

/// An object with these conditions, such as `Ready=True`.
fn object(conditions: &str) -> Value {
    let condition = |text: &str| {
        let (kind, status) = text.split_once('=').unwrap();
        json!({"type": kind, "status": status})
    };
    json!({"status": {"conditions": conditions.split_whitespace().map(condition).collect::<Vec<_>>()}})
}

/// Plays a history of the object `a`: `-` deletes it, `.` completes the first list, everything else is a state. Returns the
/// outcome of each event: `+` met, `!` failed.
fn play(plan: &Plan, target: &mut Target, history: &[&str]) -> String {
    let outcome = |outcome: Option<Outcome<'_>>| match outcome {
        None => '_',
        Some(Outcome::Met(_)) => '+',
        Some(Outcome::Failed(_)) => '!',
    };
    let mut event = |event: &&str| match *event {
        "-" => outcome(target.gone(plan, &key("a"))),
        "." => outcome(target.synced(plan, Some("ns")).map(|(_, outcome)| outcome)),
        state => outcome(target.exists(plan, key("a"), object(state), Instant::now()).unwrap()),
    };
    history.iter().map(&mut event).collect()
}

#[track_caller]
fn named(plan: &Plan, history: &[&str], expected: &str, met: bool) {
    let mut target = Target::new(Some("a"));
    assert_eq!(play(plan, &mut target, history), expected, "{history:?}");
    assert_eq!(all_met(plan, [&target]), met, "{history:?}");
}

#[test]
fn a_condition_is_waited_for_from_before_the_object_exists() {
    let ready = plan("condition=Ready", "", "");
    named(&ready, &["Ready=True", "."], "+_", true);
    named(&ready, &["Ready=True"], "+", false);
    named(&ready, &[".", "Ready=False", "Ready=True"], "__+", true);
    named(&ready, &["Ready=False", ".", "-", "Ready=True"], "___+", true);
    named(&ready, &["."], "_", false);
    // Once met, it stays met.
    named(&ready, &["Ready=True", ".", "Ready=False", "-"], "+___", true);
    named(&plan("create", "", ""), &[".", ""], "_+", true);
}

#[test]
fn all_conditions_have_to_hold_of_one_state() {
    let both = plan("condition=A condition=B", "", "");
    named(&both, &[".", "A=True B=False", "A=False B=True"], "___", false);
    named(&both, &[".", "A=True B=False", "A=True B=True"], "__+", true);
}

#[test]
fn any_alternative_is_enough() {
    let either = plan("condition=A condition=B", "condition=C create", "");
    named(&either, &[".", ""], "_+", true);
    let either = plan("condition=A condition=B", "condition=C", "");
    named(&either, &[".", "A=True"], "__", false);
    named(&either, &[".", "C=True"], "_+", true);
    named(&either, &[".", "A=True B=True"], "_+", true);
    let mut target = Target::new(Some("a"));
    let outcome = target.exists(&either, key("a"), object("C=True"), Instant::now()).unwrap();
    assert_eq!(outcome, Some(Outcome::Met("condition=C")));
}

#[test]
fn a_deletion_is_met_by_an_object_that_is_not_there() {
    let delete = plan("delete", "", "");
    named(&delete, &["."], "+", true);
    named(&delete, &["", ".", "-"], "__+", true);
    named(&delete, &["", "."], "__", false);
    // Unless it has to be created first, or was seen without the other condition.
    let create = plan("delete create", "", "");
    named(&create, &["."], "_", false);
    named(&create, &[".", "", "-"], "__+", true);
    let ready = plan("condition=Ready delete", "", "");
    named(&ready, &["."], "+", true);
    named(&ready, &["Ready=False", ".", "-"], "___", false);
    named(&ready, &["Ready=True", ".", "Ready=False", "-"], "___+", true);
}

#[test]
fn a_failure_takes_precedence() {
    let ready = plan("condition=Ready", "", "condition=Failed");
    named(&ready, &[".", "Ready=True Failed=True"], "_!", false);
    named(&ready, &[".", "Failed=False"], "__", false);
    let gone = plan("condition=Ready", "", "delete");
    named(&gone, &["."], "_", false);
    named(&gone, &["Ready=False", ".", "-"], "__!", false);
    named(&plan("delete", "", "create"), &["", "."], "!_", false);
}

#[test]
fn a_path_that_cannot_be_compared_ends_the_wait() {
    let compared = plan("jsonpath={.status}=x", "", "");
    let mut target = Target::new(Some("a"));
    assert!(target.exists(&compared, key("a"), object(""), Instant::now()).is_err());
}

/// Plays a history of several objects: `b Ready=True`, `b -` or `.`.
#[track_caller]
fn selected(plan: &Plan, history: &[&str], met: bool) {
    let mut target = Target::new(None);
    for event in history {
        match event.split_once(' ') {
            None => assert_eq!(target.synced(plan, Some("ns")), None),
            Some((name, "-")) => _ = target.gone(plan, &key(name)),
            Some((name, state)) => _ = target.exists(plan, key(name), object(state), Instant::now()).unwrap(),
        }
    }
    assert_eq!(all_met(plan, [&target]), met, "{history:?}");
}

#[test]
fn a_selection_has_to_have_objects_and_follows_its_changes() {
    let ready = plan("condition=Ready", "", "");
    selected(&ready, &["."], false);
    selected(&ready, &["a Ready=True"], false);
    selected(&ready, &["a Ready=True", "."], true);
    selected(&ready, &["a Ready=True", "b Ready=False", "."], false);
    selected(&ready, &["a Ready=True", "b Ready=False", ".", "b Ready=True"], true);
    selected(&ready, &[".", "a Ready=True"], true);
    // A replaced object is not waited for, but its successor is.
    selected(&ready, &["a Ready=True", "b Ready=False", ".", "b -"], true);
    selected(&ready, &["b Ready=False", ".", "b -"], false);
    selected(&ready, &["b Ready=False", ".", "b -", "c Ready=False"], false);
    selected(&ready, &["b Ready=False", ".", "b -", "c Ready=True"], true);
}

#[test]
fn of_several_types_one_has_to_have_objects() {
    let ready = plan("condition=Ready", "", "");
    let mut targets = [Target::new(None), Target::new(None)];
    for target in &mut targets {
        target.synced(&ready, None);
    }
    assert!(!all_met(&ready, &targets));
    targets[0].exists(&ready, key("a"), object("Ready=True"), Instant::now()).unwrap();
    assert!(all_met(&ready, &targets));
    targets[1].exists(&ready, key("b"), object("Ready=False"), Instant::now()).unwrap();
    assert!(!all_met(&ready, &targets));
}

#[test]
fn a_deleted_selection_is_what_existed_at_first() {
    let delete = plan("delete", "", "");
    selected(&delete, &["."], true);
    selected(&delete, &["a ", "."], false);
    selected(&delete, &["a ", "b ", ".", "a -"], false);
    selected(&delete, &["a ", ".", "b ", "a -"], true);
}

#[test]
fn the_last_state_is_described() {
    let now = Instant::now();
    let described = |plan: &Plan, history: &[&str]| {
        let mut target = Target::new(Some("a"));
        play(plan, &mut target, history);
        let state = target.unmet(plan, now).map(|(_, state)| state).collect::<Vec<_>>().join("\n");
        state.replace(", last seen 0s ago", " NOW")
    };
    let ready = plan("condition=Ready", "", "");
    assert_eq!(described(&ready, &["."]), "does not exist");
    assert_eq!(described(&ready, &["Ready=False", "."]), "condition Ready is False NOW");
    assert_eq!(
        described(&ready, &["Ready=False", ".", "-"]),
        "was deleted; before, condition Ready is False NOW"
    );
    let both = plan("condition=A condition=B create", "condition=C", "");
    assert_eq!(
        described(&both, &["B=False C=False", "."]),
        "has no condition A and condition B is False; condition C is False NOW"
    );
    assert_eq!(described(&plan("delete", "", ""), &["", "."]), "exists NOW");
    assert_eq!(
        described(&plan("condition=Ready delete", "", ""), &["Ready=True", ".", "Ready=False"]),
        "exists NOW"
    );
}
