//! The terminal that a person reads: whether there is one, its width, its colors; and texts in it, measured in columns.

use std::io::{self, IsTerminal as _};

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::cli::Color;

/// How text is written on stdout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Whether a person reads stdout.
    pub(crate) is_terminal: bool,
    colors: bool,
    /// The width to cut to, if it cannot change.
    fixed_width: Option<usize>,
}

impl Terminal {
    /// Looks at stdout and at the environment: `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `TERM`.
    pub(crate) fn stdout(color: Color) -> Self {
        let colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                !matches!(anstream::AutoStream::choice(&io::stdout()), anstream::ColorChoice::Never)
            }
        };
        Self { is_terminal: io::stdout().is_terminal(), colors, fixed_width: None }
    }

    /// A terminal of a fixed width, or a pipe.
    #[cfg(test)]
    pub(crate) fn fixed(width: Option<usize>, colors: bool) -> Self {
        Self { is_terminal: width.is_some(), colors, fixed_width: width }
    }

    /// Returns the number of columns. `None` if lines are not to be cut. Asks each time, because a terminal can be resized.
    pub(crate) fn width(&self) -> Option<usize> {
        if self.fixed_width.is_some() || !self.is_terminal {
            return self.fixed_width;
        }
        let (columns, _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(usize::from(columns.0)).filter(|columns| *columns > 0)
    }

    /// Returns a line that fits: cut if it is too wide, styled if there are colors, without spaces at its end.
    pub(crate) fn line(&self, spans: &[Span]) -> String {
        let blank = spans.iter().rev().take_while(|span| span.text.trim_end().is_empty()).count();
        let spans = &spans[..spans.len() - blank];
        let text = |place: usize, span: &Span| {
            if place + 1 == spans.len() { span.text.trim_end().to_owned() } else { span.text.clone() }
        };
        let texts: Vec<String> = spans.iter().enumerate().map(|(place, span)| text(place, span)).collect();
        let whole: usize = texts.iter().map(|text| width(text)).sum();
        // The last column of a line that is cut says so.
        let cut = self.width().filter(|width| whole > *width);
        let mut room = cut.map_or(usize::MAX, |width| width.saturating_sub(1));
        let mut line = String::new();
        for (text, span) in texts.iter().zip(spans) {
            let text = fitting(text, room);
            room -= width(text);
            if self.colors && span.style != Style::new() && !text.is_empty() {
                line += &format!("{}{text}{}", span.style.render(), span.style.render_reset());
            } else {
                line += text;
            }
        }
        if cut.is_some() {
            line.push('…');
        }
        line.push('\n');
        line
    }
}

/// A part of a line in one style.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Span {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    pub(crate) fn colored(text: impl Into<String>, color: AnsiColor) -> Self {
        Self { text: text.into(), style: color.on_default() }
    }

    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// Returns the number of columns that a text takes: two for most East Asian characters, none for combining ones.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Returns as much of a text as fits into a number of columns.
fn fitting(text: &str, room: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > room
    });
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_columns_and_not_to_characters() {
        let narrow = |text: &str| Terminal::fixed(Some(8), false).line(&[Span::plain(text)]);
        assert_eq!(narrow("12345678"), "12345678\n");
        assert_eq!(narrow("123456789"), "1234567…\n");
        assert_eq!(narrow("例えば日本語"), "例えば…\n");
        assert_eq!(narrow("a例えば日本語"), "a例えば…\n");
        assert_eq!(narrow("e\u{301}23456789"), "e\u{301}234567…\n");
        assert_eq!(narrow("12345678  "), "12345678\n");
        assert_eq!(Terminal::fixed(None, false).line(&[Span::plain("123456789")]), "123456789\n");
    }

    #[test]
    fn colors_take_no_room_and_are_reset() {
        let spans = [Span::colored("ADDED", AnsiColor::Green), Span::plain("   "), Span::plain("name")];
        assert_eq!(Terminal::fixed(Some(9), true).line(&spans), "\u{1b}[32mADDED\u{1b}[0m   …\n");
        assert_eq!(Terminal::fixed(None, true).line(&spans), "\u{1b}[32mADDED\u{1b}[0m   name\n");
        assert_eq!(Terminal::fixed(None, false).line(&spans), "ADDED   name\n");
    }
}
