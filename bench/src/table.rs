//! Medians, and a Markdown table, for the terminal and for docs/benchmarks.md.

use std::fmt::Write as _;

/// The median, minimum and maximum of several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Returns `None` if there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), least, most })
    }

    /// Formats the values, divided by `unit`, like `1.31 (1.28-1.40)`. Equal values are shown once.
    pub(crate) fn show(self, unit: f64, decimals: usize) -> String {
        let [median, least, most] =
            [self.median, self.least, self.most].map(|value| format!("{:.decimals$}", value / unit));
        if least == most { median } else { format!("{median} ({least}-{most})") }
    }
}

/// Renders a table. Each column is as wide as its widest cell, and all columns except the first are right-aligned.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &[&str]| {
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
    };
    line(head);
    let rules: Vec<String> = widths
        .iter()
        .enumerate()
        .map(
            |(column, &width)| {
                if column == 0 { "-".repeat(width) } else { format!("{}:", "-".repeat(width - 1)) }
            },
        )
        .collect();
    line(&rules.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both_middles() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_spread_shows_its_ends_only_when_they_differ() {
        assert_eq!(Spread::of([1.28, 1.4, 1.31]).unwrap().show(1.0, 2), "1.31 (1.28-1.40)");
        assert_eq!(Spread::of([2e6]).unwrap().show(1e6, 0), "2");
    }

    #[test]
    fn a_table_is_markdown() {
        let rows =
            [vec!["raw".to_owned(), "1.5".to_owned()], vec!["kube-informer".to_owned(), "12.25".to_owned()]];
        let expected = "\
| client        | CPU s |
| ------------- | ----: |
| raw           |   1.5 |
| kube-informer | 12.25 |
";
        assert_eq!(render(&["client", "CPU s"], &rows), expected);
    }
}
