//! What a person sees: the output on a terminal in memory, in widths that people have.

use kube_informer::ObjectKey;
use serde_json::{Value, json};

use super::*;
use crate::{
    cli::{Color, Timestamps},
    diff::{Guessed, Pattern},
    rows::{CELLS, Column},
};

impl Object for Value {
    fn to_json(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

/// The screen of a terminal after a text was written to it, without empty lines at its end. A line that wraps shows as two.
fn screen(text: &str, columns: u16) -> Vec<String> {
    let mut terminal = vt100::Parser::new(40.try_into().unwrap(), columns.try_into().unwrap(), 0);
    terminal.process(text.replace('\n', "\r\n").as_bytes());
    let mut lines: Vec<String> =
        terminal.screen().rows(0, columns).map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

fn args() -> OutputArgs {
    OutputArgs {
        format: Format::Table,
        diff: Diff::Auto,
        ignore: Vec::new(),
        by: false,
        timestamps: None,
        label_columns: Vec::new(),
        show_labels: false,
        no_headers: false,
        watch_only: false,
        color: Color::Auto,
    }
}

fn blog(name: &str, url: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "web.helloworld/v1", "kind": "Blog",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"example.com/app": "web"},
            "managedFields": [
                {"manager": "blog-controller", "operation": "Update", "subresource": "status", "time": "2026-11-28T03:47:31Z",
                 "fieldsV1": {"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": {"f:status": {}, "f:reason": {}, "f:message": {}}}}}},
                {"manager": "kubectl-patch", "operation": "Update", "time": "2026-11-28T03:47:20Z", "fieldsV1": {"f:spec": {"f:url": {}}}},
            ],
        },
        "spec": {"url": url},
        "status": {"conditions": [{
            "type": "Ready", "status": ready, "reason": if ready == "True" { "Reached" } else { "Unreachable" },
            "message": if ready == "True" { "200" } else { "503" },
        }]},
        CELLS: [name, url, ready, "2d"],
    })
}

/// A table of blogs whose first list has these objects.
struct Watched {
    printer: Printer,
    first: String,
}

impl Watched {
    fn new(args: OutputArgs, width: Option<usize>, colors: bool, first: &[&Value]) -> Self {
        let columns = json!([
            {"name": "Name", "format": "name"}, {"name": "URL"}, {"name": "Ready"}, {"name": "Age"},
        ]);
        let columns: Vec<Column> = serde_json::from_value(columns).unwrap();
        let mut output = Output::new(args, Terminal::fixed(width, colors));
        output.shape.zone = TimeZone::UTC;
        let scope = Scope { contexts: false, namespaces: false, types: false };
        let resource = ResourceType::for_tests("web.helloworld", "v1", "Blog");
        let mut printer =
            Printer::new(&Arc::new(output), &resource, scope, Rows::fixed(columns), Box::new(Guessed));
        let keys: Vec<ObjectKey> = first.iter().map(|object| key(object)).collect();
        let lines: Vec<Line<'_>> = first
            .iter()
            .zip(&keys)
            .map(|(object, key)| line(Event::Added { initial: true }, key, object, None))
            .collect();
        let first = printer.first(&lines);
        Self { printer, first }
    }

    fn then(&mut self, event: Event, object: &Value, old: Option<&Value>) -> String {
        self.printer.event(&line(event, &key(object), object, old))
    }
}

fn key(object: &Value) -> ObjectKey {
    ObjectKey::new(object["metadata"]["namespace"].as_str(), object["metadata"]["name"].as_str().unwrap())
}

fn line<'a>(event: Event, key: &'a ObjectKey, object: &'a Value, old: Option<&'a Value>) -> Line<'a> {
    let time = "2026-11-28T03:47:20Z".parse().unwrap();
    Line { event, time, context: None, key, object, old: old.map(|old| old as &dyn Object) }
}

fn story(args: OutputArgs, width: usize) -> Vec<String> {
    let states = [
        blog("alpha", "https://a.example", "True"),
        blog("alpha", "https://changed.example", "True"),
        blog("alpha", "https://changed.example", "False"),
    ];
    let mut watched =
        Watched::new(args, Some(width), true, &[&states[0], &blog("例えば", "https://b.example", "True")]);
    let mut text = watched.first.clone();
    text += &watched.then(Event::Modified, &states[1], Some(&states[0]));
    text += &watched.then(Event::Modified, &states[2], Some(&states[1]));
    text += &watched.then(Event::Deleted, &states[2], None);
    screen(&text, u16::try_from(width).unwrap())
}

#[test]
fn a_terminal_shows_what_changed_and_who_did_it() {
    let args = OutputArgs { by: true, timestamps: Some(Timestamps::Local), ..args() };
    assert_eq!(
        story(args, 200),
        [
            "TIME       EVENT      NAME     URL                 READY   AGE   BY",
            "03:47:20   ADDED      alpha    https://a.example   True    2d",
            "03:47:20   ADDED      例えば   https://b.example   True    2d",
            "03:47:20   MODIFIED   alpha    https://changed.example   True    2d    kubectl-patch",
            "                      spec.url: https://a.example -> https://changed.example",
            "03:47:20   MODIFIED   alpha    https://changed.example   False   2d    blog-controller (status)",
            "                      status.conditions[Ready]: True -> False (Unreachable: 503)",
            "03:47:20   DELETED    alpha    https://changed.example   False   2d",
        ]
    );
}

#[test]
fn rows_are_cut_to_the_terminal_and_never_wrapped() {
    assert_eq!(
        story(OutputArgs { timestamps: Some(Timestamps::Utc), ..args() }, 80),
        [
            "TIME        EVENT      NAME     URL                 READY   AGE",
            "03:47:20Z   ADDED      alpha    https://a.example   True    2d",
            "03:47:20Z   ADDED      例えば   https://b.example   True    2d",
            "03:47:20Z   MODIFIED   alpha    https://changed.example   True    2d",
            "                       spec.url: https://a.example -> https://changed.example",
            "03:47:20Z   MODIFIED   alpha    https://changed.example   False   2d",
            "                       status.conditions[Ready]: True -> False (Unreachable: 50…",
            "03:47:20Z   DELETED    alpha    https://changed.example   False   2d",
        ]
    );
    assert_eq!(
        story(args(), 50),
        [
            "EVENT      NAME     URL                 READY   A…",
            "ADDED      alpha    https://a.example   True    2d",
            "ADDED      例えば   https://b.example   True    2d",
            "MODIFIED   alpha    https://changed.example   Tru…",
            "           spec.url: https://a.example -> https:/…",
            "MODIFIED   alpha    https://changed.example   Fal…",
            "           status.conditions[Ready]: True -> Fals…",
            "DELETED    alpha    https://changed.example   Fal…",
        ]
    );
}

#[test]
fn a_pipe_gets_whole_lines_with_the_namespace_and_without_colors_or_diffs() {
    let (old, new) = (blog("alpha", "https://a.example", "True"), blog("alpha", &"x".repeat(300), "True"));
    let mut watched = Watched::new(args(), None, false, &[&old]);
    assert_eq!(
        watched.first,
        "EVENT      NAMESPACE   NAME    URL                 READY   AGE\n\
         ADDED      default     alpha   https://a.example   True    2d\n"
    );
    let line = watched.then(Event::Modified, &new, Some(&old));
    assert_eq!(line, format!("MODIFIED   default     alpha   {}   True    2d\n", "x".repeat(300)));
}

#[test]
fn values_cannot_control_the_terminal() {
    let (old, mut new) = (blog("alpha", "a", "True"), blog("alpha", "\u{1b}[2J\u{9b}2Jgone\nmore", "True"));
    new["metadata"]["labels"] = json!({"\u{1b}]0;title\u{7}": "x"});
    for diff in [Diff::Paths, Diff::Unified] {
        let args = OutputArgs { diff, show_labels: true, ..args() };
        let mut watched = Watched::new(args, Some(120), false, &[&old]);
        let text = watched.then(Event::Modified, &new, Some(&old));
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("gone"), "{text}");
    }
    let template = kube_selectors::JsonPathTemplate::parse("{.spec.url}{\"\\n\"}").unwrap();
    for format in [Format::Json, Format::JsonPath(template)] {
        let args = OutputArgs { format, ..args() };
        let text = Watched::new(args, Some(120), false, &[&new]).first;
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("gone"), "{text}");
    }
}

#[test]
fn events_have_colors_and_new_columns_a_new_header() {
    let (old, new) = (blog("alpha", "a", "True"), blog("alpha", "b", "True"));
    let mut watched = Watched::new(OutputArgs { diff: Diff::None, ..args() }, Some(60), true, &[&old]);
    assert!(watched.first.contains("\u{1b}[32mADDED\u{1b}[0m"), "{:?}", watched.first);
    let line = watched.then(Event::Modified, &new, Some(&old));
    assert!(line.starts_with("\u{1b}[33mMODIFIED\u{1b}[0m"), "{line:?}");
    assert!(watched.then(Event::Deleted, &new, None).starts_with("\u{1b}[31mDELETED\u{1b}[0m"));
}

#[test]
fn labels_have_columns() {
    let args = OutputArgs {
        label_columns: vec!["example.com/app".into(), "none".into()],
        show_labels: true,
        ..args()
    };
    let watched = Watched::new(args, Some(120), false, &[&blog("alpha", "a", "True")]);
    assert_eq!(
        watched.first,
        "EVENT      NAME    URL   READY   AGE   APP   NONE     LABELS\n\
         ADDED      alpha   a     True    2d    web   <none>   example.com/app=web\n"
    );
}

#[test]
fn changes_of_ignored_fields_only_are_not_printed() {
    let (old, new) = (blog("alpha", "a", "True"), blog("alpha", "a", "False"));
    let ignore = vec![Pattern::parse("status").unwrap()];
    let mut watched = Watched::new(OutputArgs { ignore, ..args() }, Some(80), false, &[&old]);
    assert_eq!(watched.then(Event::Modified, &new, Some(&old)), "");
    let other = blog("alpha", "b", "True");
    assert_eq!(watched.then(Event::Modified, &other, Some(&new)).lines().count(), 2);
}

#[test]
fn json_has_the_changes_the_time_and_who_made_them() {
    let (old, new) = (blog("alpha", "a", "True"), blog("alpha", "b", "True"));
    let args = OutputArgs { format: Format::Json, by: true, ..args() };
    let mut watched = Watched::new(args, None, false, &[&old]);
    let first: Value = serde_json::from_str(&watched.first).unwrap();
    assert_eq!((&first["type"], &first["time"]), (&json!("ADDED"), &json!("2026-11-28T03:47:20Z")));
    assert!(first["object"]["metadata"].get("managedFields").is_none(), "{first}");
    let line: Value = serde_json::from_str(&watched.then(Event::Modified, &new, Some(&old))).unwrap();
    assert_eq!(line["changes"], json!([{"path": "spec.url", "old": "a", "new": "b"}]));
    assert_eq!(line["by"]["manager"], "kubectl-patch");
    assert_eq!(line["old"]["spec"]["url"], "a");
    assert_eq!(line["object"]["spec"]["url"], "b");
}
