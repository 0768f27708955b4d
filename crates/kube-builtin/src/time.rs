//! apimachinery's `Time` and `MicroTime` in JSON, with Go's messages for malformed texts.

use jiff::Timestamp;

const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
const MICROS: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Converts a `Time` to its canonical form: in UTC and whole seconds.
pub(crate) fn seconds(text: &str) -> Result<String, String> {
    canonical(text, SECONDS, 0)
}

/// Converts a `MicroTime` to its canonical form: in UTC, with six fractional digits.
pub(crate) fn micros(text: &str) -> Result<String, String> {
    canonical(text, MICROS, 6)
}

fn canonical(text: &str, layout: &str, digits: usize) -> Result<String, String> {
    let wrong = |why: String| format!("parsing time {text:?}{why}");
    check(text, layout == MICROS)
        .map_err(|(rest, element)| wrong(format!(" as {layout:?}: cannot parse {rest:?} as {element:?}")))?;
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(format!("{time:.digits$}")),
        Err(_) => {
            let number =
                |range| text.get(range).and_then(|it: &str| it.parse::<u8>().ok()).unwrap_or_default();
            let what = match () {
                () if !(1..=12).contains(&number(5..7)) => "month",
                () if number(11..13) > 23 => "hour",
                () if number(14..16) > 59 => "minute",
                () if number(17..19) > 59 => "second",
                () => "day",
            };
            Err(wrong(format!(": {what} out of range")))
        }
    }
}

/// Checks a text against the layout. The error has the rest of the text, and the element expected there.
fn check(text: &str, micros: bool) -> Result<(), (&str, &'static str)> {
    let mut rest = text;
    for element in ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"] {
        let head = rest.get(..element.len()).unwrap_or_default();
        let digits = element.len() > 1;
        let fits = if digits {
            head.len() == element.len() && head.bytes().all(|it| it.is_ascii_digit())
        } else {
            head == element
        };
        if !fits {
            return Err((rest, element));
        }
        rest = rest.get(element.len()..).unwrap_or_default();
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 || micros && count != 6 {
            return Err((rest, if micros { ".000000" } else { "Z07:00" }));
        }
        rest = fraction.get(count..).unwrap_or_default();
    } else if micros {
        return Err((rest, ".000000"));
    }
    if rest == "Z" {
        return Ok(());
    }
    let offset = rest.strip_prefix(['+', '-']).unwrap_or_default();
    let fits = offset.len() == 5
        && digits(offset) == 2
        && offset.get(2..).is_some_and(|it| it.starts_with(':') && digits(&it[1..]) == 2);
    if fits { Ok(()) } else { Err((rest, "Z07:00")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        assert_eq!(seconds("2026-01-01T00:00:00.999Z").as_deref(), Ok("2026-01-01T00:00:00Z"));
        assert_eq!(seconds("2026-01-01T02:00:00.5+02:00").as_deref(), Ok("2026-01-01T00:00:00Z"));
        assert_eq!(micros("2026-01-01T00:00:00.000001Z").as_deref(), Ok("2026-01-01T00:00:00.000001Z"));
    }

    #[test]
    fn errors_have_the_messages_of_go() {
        let at = |layout: &str, text: &str, rest: &str, element: &str| {
            Err(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"))
        };
        assert_eq!(seconds("abc"), at(SECONDS, "abc", "abc", "2006"));
        assert_eq!(seconds("2026-01-01"), at(SECONDS, "2026-01-01", "", "T"));
        assert_eq!(micros("2026-01-01T00:00:00Z"), at(MICROS, "2026-01-01T00:00:00Z", "Z", ".000000"));
        let late = "2026-13-01T00:00:00Z";
        assert_eq!(seconds(late), Err(format!("parsing time {late:?}: month out of range")));
    }
}
