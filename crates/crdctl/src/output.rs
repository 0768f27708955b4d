//! The output on stdout, with one module for each group of formats.

mod changes;
mod line;
mod structured;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use jiff::{Timestamp, Unit, tz::TimeZone};
use serde_json::Value;

use line::States;
pub(crate) use line::{Changes, Event, Line, Object, Stored, json_of};
pub(crate) use writer::Writer;

use crate::{
    cli::{Diff, Format, OutputArgs},
    diff::{self, MergeKeys},
    managed_fields,
    resource::ResourceType,
    rows::Rows,
    stdio::printable,
    terminal::Terminal,
};

/// What is printed of all types, however many are watched.
pub(crate) struct Output {
    args: OutputArgs,
    shape: table::Shape,
}

/// What the printed objects have in common.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// Whether objects of several contexts are printed.
    pub(crate) contexts: bool,
    /// Whether objects of several namespaces are printed.
    pub(crate) namespaces: bool,
    /// Whether objects of several types are printed.
    pub(crate) types: bool,
}

/// Renders the events of one type as text, in one format.
pub(crate) struct Printer {
    output: Arc<Output>,
    /// The type as kubectl prints it before a name: `blog.web.helloworld`.
    qualified: String,
    /// Whether several types are printed.
    types: bool,
    keys: Box<dyn MergeKeys + Send + Sync>,
    table: Option<table::Table>,
}

impl Output {
    /// Resolves what depends on the terminal.
    pub(crate) fn new(mut args: OutputArgs, terminal: Terminal) -> Self {
        if args.diff == Diff::Auto {
            args.diff = match (&args.format, terminal.is_terminal) {
                (Format::Table | Format::Wide | Format::CustomColumns(_), true) | (Format::Json, _) => {
                    Diff::Paths
                }
                _ => Diff::None,
            };
        }
        let shape = table::Shape {
            terminal,
            headers: !args.no_headers,
            timestamps: args.timestamps,
            started: Timestamp::now(),
            zone: TimeZone::system(),
            contexts: false,
            namespaces: false,
            diff: args.diff,
            by: args.by,
            labels: args.label_columns.clone(),
            show_labels: args.show_labels,
        };
        Self { args, shape }
    }

    /// Whether the server's columns are printed.
    pub(crate) fn has_rows(&self) -> bool {
        matches!(self.args.format, Format::Table | Format::Wide)
    }

    /// Whether only names are printed, so that the objects need not be sent.
    pub(crate) fn has_names_only(&self) -> bool {
        self.args.format == Format::Name && self.args.ignore.is_empty()
    }

    /// Whether two states of an object are compared.
    pub(crate) fn compares(&self) -> bool {
        self.args.diff != Diff::None || self.args.by || !self.args.ignore.is_empty()
    }

    /// Whether the managed fields are needed.
    pub(crate) fn needs_managed_fields(&self) -> bool {
        self.args.by
    }

    pub(crate) fn watch_only(&self) -> bool {
        self.args.watch_only
    }

    /// A person reads a namespace from the prompt; a script always finds it in the same column.
    fn shows_namespaces(&self, namespaced: bool, scope: Scope) -> bool {
        namespaced && (scope.namespaces || !self.shape.terminal.is_terminal)
    }
}

impl Printer {
    /// Creates the printer of a type, whose columns are those of `rows`.
    pub(crate) fn new(
        output: &Arc<Output>,
        resource: &ResourceType,
        scope: Scope,
        rows: Rows,
        keys: Box<dyn MergeKeys + Send + Sync>,
    ) -> Self {
        let source = match &output.args.format {
            Format::Table => Some(table::Source::Server { rows, wide: false }),
            Format::Wide => Some(table::Source::Server { rows, wide: true }),
            Format::CustomColumns(columns) => Some(table::Source::Custom(columns.clone())),
            _ => None,
        };
        let shape = Arc::new(table::Shape {
            contexts: scope.contexts,
            namespaces: output.shows_namespaces(resource.namespaced, scope)
                && !matches!(source, Some(table::Source::Custom(_))),
            ..output.shape.clone()
        });
        let qualified = resource.qualified_singular();
        let prefix = if scope.types { format!("{qualified}/") } else { String::new() };
        let table = source.map(|source| table::Table::new(shape, source, prefix));
        Self { output: Arc::clone(output), qualified, types: scope.types, keys, table }
    }

    /// Renders the objects of the first list.
    pub(crate) fn first(&mut self, lines: &[Line<'_>]) -> String {
        let lines = if self.output.args.watch_only { &[] } else { lines };
        match &mut self.table {
            Some(table) => table.first(lines, !self.types),
            None => lines.iter().map(|line| self.line(line, &Changes::default())).collect(),
        }
    }

    /// Renders the end of the first list of a source.
    pub(crate) fn synced(&self, context: Option<&str>, count: usize, resource_version: &str) -> String {
        let resource = self.types.then_some(self.qualified.as_str());
        match self.output.args.format {
            Format::Json => {
                structured::json_synced(Timestamp::now(), context, resource, count, resource_version)
            }
            Format::Yaml => format!("# SYNCED  {count}  resourceVersion {resource_version}\n"),
            _ => String::new(),
        }
    }

    /// Renders a later event. It is empty if only ignored fields changed.
    pub(crate) fn event(&mut self, line: &Line<'_>) -> String {
        let compares = self.output.compares();
        let states = (compares || self.table.is_some()).then(|| States::of(line, compares));
        let compared = states.as_ref().filter(|_| compares);
        let changes = compared.map(|states| self.changes(line.event, states)).unwrap_or_default();
        if line.event == Event::Modified && !self.output.args.ignore.is_empty() && changes.fields.is_empty() {
            return String::new();
        }
        match (&mut self.table, &states) {
            (Some(table), Some(states)) => table.event(line, states, &changes),
            _ => self.line(line, &changes),
        }
    }

    /// Renders an Event (the kind of object) about an object of this type.
    pub(crate) fn about(&self, context: Option<&str>, object: &dyn Object, event: &Value) -> String {
        let time = now();
        match (&self.table, &self.output.args.format) {
            (Some(table), _) => table.about(time, context, event),
            (None, Format::Json) => structured::json_about(time, context, object),
            (None, Format::Yaml) => structured::yaml_document("EVENT", object),
            (None, _) => String::new(),
        }
    }

    fn changes(&self, event: Event, states: &States) -> Changes {
        let fields = match &states.old {
            Some(old) => diff::compare(old, &states.object, &*self.keys, &self.output.args.ignore),
            None => Vec::new(),
        };
        let is_written = states.old.is_some() || event == (Event::Added { initial: false });
        let writer = if self.output.args.by && is_written {
            let before = states.old.as_ref().map_or(&Value::Null, managed);
            let paths = fields.iter().map(|field| &field.path);
            managed_fields::writer_of_change(before, managed(&states.object), paths)
        } else {
            None
        };
        Changes { fields, writer }
    }

    /// Renders an event in a format without columns.
    fn line(&self, line: &Line<'_>, changes: &Changes) -> String {
        match &self.output.args.format {
            Format::Name => {
                let deleted = if line.event == Event::Deleted { " deleted" } else { "" };
                format!("{}/{}{deleted}\n", self.qualified, line.key.name())
            }
            Format::Json => structured::json(line, changes, self.output.args.diff != Diff::None),
            Format::Yaml => structured::yaml(line, changes),
            Format::JsonPath(template) => {
                let object = line::json_of(line.object);
                let mut text = template.print(&object).unwrap_or_else(|error| format!("error: {error}"));
                if self.output.shape.terminal.is_terminal {
                    text = readable(&text);
                }
                if text.ends_with('\n') { text } else { text + "\n" }
            }
            Format::Table | Format::Wide | Format::CustomColumns(_) => String::new(),
        }
    }
}

fn managed(object: &Value) -> &Value {
    &object["metadata"]["managedFields"]
}

/// Escapes the control characters of a text, apart from those that templates separate values with.
fn readable(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .map(|part| match part.strip_suffix(['\n', '\t']) {
            Some(inner) => printable(inner) + &part[inner.len()..],
            None => printable(part),
        })
        .collect()
}

/// Returns the present time in milliseconds, as precise as it is printed.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}

impl Output {
    /// Renders the names in the cache.
    pub(crate) fn cached(&self, names: &[String]) -> String {
        match self.args.format {
            Format::Json => structured::json_cached(now(), names),
            Format::Table | Format::Wide | Format::CustomColumns(_) => {
                self.shape.terminal.line(&[crate::terminal::Span::plain(line::cached(names))])
            }
            Format::Yaml | Format::Name | Format::JsonPath(_) => structured::comment(names),
        }
    }
}
