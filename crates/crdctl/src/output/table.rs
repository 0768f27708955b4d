//! `-o table` and `-o wide`: one line per change, in columns.

use jiff::Timestamp;
use kube::{ResourceExt as _, core::DynamicObject};

use super::line::{Line, cached};
use crate::{columns::Columns, stdio::printable};

/// The number of spaces between two columns, as in kubectl.
const GAP: usize = 3;

/// Holds back the rows until the first list is complete, and takes the column widths from them. Later rows keep those
/// widths.
pub(crate) struct Table {
    columns: Columns,
    namespaced: bool,
    headers: bool,
    held: Option<Vec<Vec<String>>>,
    widths: Vec<usize>,
}

impl Table {
    pub(super) fn new(columns: Columns, namespaced: bool, headers: bool) -> Self {
        Self { columns, namespaced, headers, held: Some(Vec::new()), widths: Vec::new() }
    }

    pub(super) fn print(&mut self, line: &Line<'_>) -> String {
        let row = match line {
            Line::Added(object) => self.row("ADDED", object),
            Line::Modified { new, .. } => self.row("MODIFIED", new),
            Line::Deleted(object) => self.row("DELETED", object),
            Line::Synced { .. } => return self.release(),
            Line::Cached(names) => return format!("{}\n", cached(names)),
        };
        match &mut self.held {
            Some(held) => {
                held.push(row);
                String::new()
            }
            None => self.aligned(&row),
        }
    }

    fn row(&self, event: &str, object: &DynamicObject) -> Vec<String> {
        let mut row = vec![event.to_owned()];
        if self.namespaced {
            row.push(object.namespace().unwrap_or_default());
        }
        row.push(object.name_any());
        row.extend(self.columns.cells(object, Timestamp::now()));
        row.iter().map(|cell| one_line(cell)).collect()
    }

    fn header(&self) -> Vec<String> {
        let namespace = self.namespaced.then_some("NAMESPACE");
        let fixed = ["EVENT"].into_iter().chain(namespace).chain(["NAME"]);
        fixed.map(str::to_owned).chain(self.columns.names().map(str::to_uppercase)).collect()
    }

    fn release(&mut self) -> String {
        let rows = self.held.take().unwrap_or_default();
        let header = self.header();
        // Leaves space for the longest event, which is not in the first list.
        let mut widths: Vec<usize> = header.iter().map(|name| width(name)).collect();
        widths[0] = width("MODIFIED");
        for row in &rows {
            for (wide, cell) in widths.iter_mut().zip(row) {
                *wide = width(cell).max(*wide);
            }
        }
        self.widths = widths;
        let header = if self.headers { self.aligned(&header) } else { String::new() };
        rows.iter().fold(header, |text, row| text + &self.aligned(row))
    }

    fn aligned(&self, row: &[String]) -> String {
        let mut text = String::new();
        for (cell, wide) in row.iter().zip(&self.widths) {
            text.push_str(cell);
            let gap = (wide + GAP).saturating_sub(width(cell)).max(GAP);
            text.extend(std::iter::repeat_n(' ', gap));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Makes a cell safe to print: it cannot break its line or control the terminal. As in kubectl, it ends at the first line
/// break, and other control characters are escaped (cli-runtime's `printers/tableprinter.go` and `terminal.go`).
fn one_line(cell: &str) -> String {
    let (line, cut) = match cell.split_once(['\n', '\r', '\u{c}']) {
        Some((first, _)) => (first, "..."),
        None => (cell, ""),
    };
    printable(line) + cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_list_determines_the_widths_and_columns_never_touch() {
        let table = Table { widths: vec![5, 3], ..Table::new(Columns::new(Vec::new(), false), false, true) };
        let aligned = |row: [&str; 2]| table.aligned(&row.map(str::to_owned));
        assert_eq!(aligned(["ü", "b"]), "ü       b\n");
        assert_eq!(aligned(["longer than that", "b"]), "longer than that   b\n");
        assert_eq!(aligned(["a", ""]), "a\n");
    }

    #[test]
    fn a_cell_cannot_break_its_line_or_control_the_terminal() {
        assert_eq!(one_line("plain ü"), "plain ü");
        assert_eq!(one_line("first\nsecond"), "first...");
        assert_eq!(one_line("\u{1b}[2Jgone"), "\\u{1b}[2Jgone");
    }
}
