//! `-o table`, `-o wide` and `-o custom-columns`: one line per event, in columns.

use std::sync::Arc;

use anstyle::{AnsiColor, Effects, Style};
use jiff::{Timestamp, tz::TimeZone};
use kube_informer::ObjectKey;
use kube_tables::CustomColumns;
use serde_json::Value;

use super::{
    changes,
    line::{Changes, Event, Line, States},
};
use crate::{
    cli::{Diff, Timestamps},
    field_path::bare,
    rows::{Column, Rows},
    stdio::one_line,
    terminal::{Span, Terminal, width},
};

/// The number of spaces between two columns, as in kubectl.
const GAP: usize = 3;

/// What a table shows besides the columns of the type.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) terminal: Terminal,
    pub(super) headers: bool,
    pub(super) timestamps: Option<Timestamps>,
    /// When the command started.
    pub(super) started: Timestamp,
    pub(super) zone: TimeZone,
    /// Whether there is a column with the context.
    pub(super) contexts: bool,
    pub(super) namespaces: bool,
    pub(super) diff: Diff,
    pub(super) by: bool,
    pub(super) labels: Vec<String>,
    pub(super) show_labels: bool,
}

/// Where the columns of a type come from.
pub(super) enum Source {
    /// The server, which sends the cells with each object.
    Server { rows: Rows, wide: bool },
    /// `-o custom-columns`.
    Custom(CustomColumns),
}

/// The table of one type. The first list determines the widths of its columns; later rows keep them.
pub(super) struct Table {
    shape: Arc<Shape>,
    source: Source,
    /// `blog.web.helloworld/`, if several types are shown.
    prefix: String,
    /// The server's columns for which the widths hold.
    columns: Option<Arc<[Column]>>,
    widths: Vec<usize>,
}

/// A row before it is aligned.
struct Row {
    event: Event,
    cells: Vec<String>,
    below: Vec<Vec<Span>>,
}

impl Table {
    pub(super) fn new(shape: Arc<Shape>, source: Source, prefix: String) -> Self {
        Self { shape, source, prefix, columns: None, widths: Vec::new() }
    }

    /// Renders the first list with the column names above it. If there are several types, those without objects are silent
    /// until the first one appears, and those before are followed by an empty line, as in `kubectl get all`.
    pub(super) fn first(&mut self, lines: &[Line<'_>], is_alone: bool) -> String {
        self.columns = self.current_columns();
        if lines.is_empty() && !is_alone {
            return String::new();
        }
        let row = |line: &Line<'_>| self.row(line, &States::of(line, false), &Changes::default());
        let rows: Vec<Row> = lines.iter().map(row).collect();
        self.fit(&rows);
        let text = rows.iter().fold(self.header(), |text, row| text + &self.rendered(row));
        if is_alone { text } else { text + "\n" }
    }

    /// Renders a later event. If the columns of the type have changed, their names are repeated.
    pub(super) fn event(&mut self, line: &Line<'_>, states: &States, changes: &Changes) -> String {
        let columns = self.current_columns();
        let changed = columns != self.columns;
        self.columns = columns;
        let row = self.row(line, states, changes);
        let mut text = String::new();
        if changed || self.widths.is_empty() {
            self.fit(std::slice::from_ref(&row));
            text = self.header();
        }
        text + &self.rendered(&row)
    }

    /// Renders an Event about an object, in a line between the rows.
    pub(super) fn about(&self, time: Timestamp, context: Option<&str>, event: &Value) -> String {
        let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = field(&event["type"]);
        let color = if kind == "Normal" { AnsiColor::Blue } else { AnsiColor::Magenta };
        let about = &event["involvedObject"];
        let count = event["series"]["count"].as_u64().or(event["count"].as_u64()).filter(|count| *count > 1);
        let text = format!(
            "{}/{}: {}: {}{}",
            field(&about["kind"]).to_lowercase(),
            field(&about["name"]),
            field(&event["reason"]),
            field(&event["message"]).trim_end(),
            count.map(|count| format!(" (x{count})")).unwrap_or_default(),
        );
        let mut cells: Vec<String> = self.fixed(time, context);
        cells.push(kind.to_uppercase());
        let cells: Vec<String> = cells.iter().map(|cell| one_line(cell)).collect();
        let mut spans = self.aligned(&cells, color);
        spans.push(Span::plain(one_line(&text)));
        self.shape.terminal.line(&spans)
    }

    /// The index of the column with the event.
    fn event_column(&self) -> usize {
        usize::from(self.shape.timestamps.is_some()) + usize::from(self.shape.contexts)
    }

    fn current_columns(&self) -> Option<Arc<[Column]>> {
        match &self.source {
            Source::Server { rows, .. } => rows.columns(),
            Source::Custom(_) => None,
        }
    }

    /// The columns before the event.
    fn fixed(&self, time: Timestamp, context: Option<&str>) -> Vec<String> {
        let time = self.shape.timestamps.map(|how| self.shape.time(how, time));
        time.into_iter().chain(self.shape.contexts.then(|| context.unwrap_or_default().to_owned())).collect()
    }

    fn row(&self, line: &Line<'_>, states: &States, changes: &Changes) -> Row {
        let object = &states.object;
        let mut cells = self.fixed(line.time, line.context);
        cells.push(line.event.name().to_owned());
        if self.shape.namespaces {
            cells.push(line.key.namespace().unwrap_or_default().to_owned());
        }
        cells.extend(self.cells(line.key, states));
        let labels = &object["metadata"]["labels"];
        for label in &self.shape.labels {
            cells.push(labels[label].as_str().unwrap_or("<none>").to_owned());
        }
        if self.shape.show_labels {
            cells.push(all_labels(labels));
        }
        if self.shape.by {
            cells.push(changes.writer.as_ref().map(ToString::to_string).unwrap_or_default());
        }
        let cells = cells.iter().map(|cell| one_line(cell)).collect();
        let below = match (self.shape.diff, &states.old) {
            (_, None) | (Diff::Auto | Diff::None, _) => Vec::new(),
            (Diff::Paths, Some(_)) => changes::paths(&changes.fields, object),
            (Diff::Unified, Some(old)) => changes::unified(old, object),
        };
        Row { event: line.event, cells, below }
    }

    /// The cells of the type's columns.
    fn cells(&self, key: &ObjectKey, states: &States) -> Vec<String> {
        match &self.source {
            // As a template that does not fit an object, the error stands in its place.
            Source::Custom(columns) => {
                columns.cells(&states.object).unwrap_or_else(|error| vec![format!("error: {error}")])
            }
            Source::Server { wide, .. } => match &self.columns {
                Some(columns) => {
                    let shown =
                        columns.iter().enumerate().filter(|(_, column)| *wide || column.priority == 0);
                    shown
                        .map(|(place, column)| match states.cells.get(place).map(text).unwrap_or_default() {
                            name if column.format == "name" => format!("{}{name}", self.prefix),
                            cell => cell,
                        })
                        .collect()
                }
                // A server without tables.
                None => vec![format!("{}{}", self.prefix, key.name()), age(&states.object)],
            },
        }
    }

    fn header_names(&self) -> Vec<String> {
        let shape = &self.shape;
        let mut names: Vec<String> = Vec::new();
        names.extend(shape.timestamps.map(|_| "TIME".to_owned()));
        names.extend(shape.contexts.then(|| "CONTEXT".to_owned()));
        names.push("EVENT".to_owned());
        names.extend(shape.namespaces.then(|| "NAMESPACE".to_owned()));
        match (&self.source, &self.columns) {
            (Source::Custom(columns), _) => names.extend(columns.headers().map(str::to_owned)),
            (Source::Server { wide, .. }, Some(columns)) => names.extend(
                columns
                    .iter()
                    .filter(|column| *wide || column.priority == 0)
                    .map(|column| one_line(&column.name.to_uppercase())),
            ),
            (Source::Server { .. }, None) => names.extend(["NAME", "AGE"].map(str::to_owned)),
        }
        // As kubectl does, the part after the slash.
        let label = |label: &String| label.rsplit('/').next().unwrap_or(label).to_uppercase();
        names.extend(shape.labels.iter().map(label));
        names.extend(shape.show_labels.then(|| "LABELS".to_owned()));
        names.extend(shape.by.then(|| "BY".to_owned()));
        names
    }

    fn fit(&mut self, rows: &[Row]) {
        self.widths = self.header_names().iter().map(|name| width(name)).collect();
        // Leaves space for the longest event, which is not in the first list.
        let event = self.event_column();
        self.widths[event] = width("MODIFIED");
        for row in rows {
            for (wide, cell) in self.widths.iter_mut().zip(&row.cells) {
                *wide = width(cell).max(*wide);
            }
        }
    }

    fn header(&self) -> String {
        if !self.shape.headers {
            return String::new();
        }
        let bold = Style::new().effects(Effects::BOLD);
        let names = self.header_names();
        let spans: Vec<Span> =
            names.iter().zip(&self.widths).flat_map(|(name, wide)| padded(name, bold, *wide)).collect();
        self.shape.terminal.line(&spans)
    }

    /// Aligns cells to the columns, with the event in a color.
    fn aligned(&self, cells: &[String], color: AnsiColor) -> Vec<Span> {
        let event = self.event_column();
        let style = |place| if place == event { color.on_default() } else { Style::new() };
        let cells = cells.iter().zip(&self.widths).enumerate();
        cells.flat_map(|(place, (cell, wide))| padded(cell, style(place), *wide)).collect()
    }

    fn rendered(&self, row: &Row) -> String {
        let color = match row.event {
            Event::Added { .. } => AnsiColor::Green,
            Event::Modified => AnsiColor::Yellow,
            Event::Deleted => AnsiColor::Red,
        };
        let mut text = self.shape.terminal.line(&self.aligned(&row.cells, color));
        let indent: usize = self.widths.iter().take(self.event_column() + 1).map(|wide| wide + GAP).sum();
        for below in &row.below {
            let spans: Vec<Span> =
                [Span::plain(" ".repeat(indent))].into_iter().chain(below.iter().cloned()).collect();
            text += &self.shape.terminal.line(&spans);
        }
        text
    }
}

impl Shape {
    fn time(&self, how: Timestamps, time: Timestamp) -> String {
        match how {
            Timestamps::Local => time.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string(),
            Timestamps::Utc => time.strftime("%H:%M:%SZ").to_string(),
            Timestamps::Relative => {
                format!("+{}", kube_tables::human_duration(time.duration_since(self.started).as_secs()))
            }
        }
    }
}

/// Returns a cell with the spaces behind it. A cell that is too wide shifts those that follow.
fn padded(cell: &str, style: Style, wide: usize) -> [Span; 2] {
    let gap = (wide + GAP).saturating_sub(width(cell)).max(GAP);
    [Span::styled(cell, style), Span::plain(" ".repeat(gap))]
}

fn text(cell: &Value) -> String {
    if cell.is_null() { String::new() } else { bare(cell) }
}

fn all_labels(labels: &Value) -> String {
    let all = labels.as_object().into_iter().flatten();
    let all: Vec<String> = all.map(|(name, value)| format!("{name}={}", text(value))).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

fn age(object: &Value) -> String {
    let created =
        object["metadata"]["creationTimestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    created.map_or_else(
        || "<unknown>".to_owned(),
        |created| kube_tables::human_duration(Timestamp::now().duration_since(created).as_secs()),
    )
}
