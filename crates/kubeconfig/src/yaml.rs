//! Parses YAML as kubectl does, into JSON values. Source: `go.yaml.in/yaml/v2`, `decode.go`, on which
//! `sigs.k8s.io/yaml` is built. That is a port of libyaml, as is the parser here, so both accept the same texts: YAML
//! 1.1 with the line breaks of 1.1, in UTF-8 or UTF-16, of which the first document is read. JSON is read as YAML, too.
//!
//! Errors contain a line and a kind, but no part of the text, which may be a secret.

use libyaml_safer::{Encoding, EventData, Parser};
use serde_json::Value;

use crate::compose::{Composer, Invalid, SYNTAX, index, invalid};

/// Returns the first document of `text`, or `Null` if there is none.
pub(crate) fn parse(text: &[u8]) -> Result<Value, Invalid> {
    let mut text = decode(text).map_err(|problem| Invalid { line: None, problem: problem.to_owned() })?;
    // The parser panics if the text ends within some tokens.
    let ends_in_line =
        text.lines().next_back().is_some_and(|line| !line.trim().is_empty()) && !text.ends_with('\n');
    text.push('\n');
    check_tags(&text)?;
    let composed = || Composer::new(parser(&text), &text, ends_in_line).document();
    // A panic of the parser at some other text must not end the program.
    std::panic::catch_unwind(composed)
        .unwrap_or_else(|_| Err(Invalid { line: None, problem: SYNTAX.to_owned() }))
}

fn parser(text: &str) -> Parser<&[u8]> {
    let mut parser = Parser::new();
    parser.set_encoding(Encoding::Utf8);
    parser.set_input(text.as_bytes());
    parser
}

/// Returns the commas of everything that may be a tag: what follows an exclamation mark where a value can begin.
fn commas_of_tags(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let begins = |mark: usize| {
        mark == 0 || bytes[mark - 1].is_ascii_whitespace() || b"[{,:?-\"'".contains(&bytes[mark - 1])
    };
    let is_of_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"-_;/?:@&=+$.!~*'()[],%#".contains(&byte);
    let (mut commas, mut at) = (Vec::new(), 0);
    while let Some(mark) = text[at..].find('!').map(|found| at + found) {
        let length = bytes[mark..].iter().position(|byte| !is_of_tag(*byte)).unwrap_or(bytes.len() - mark);
        if begins(mark) {
            commas.extend((mark..mark + length).filter(|place| bytes[*place] == b','));
            at = mark + length;
        } else {
            at = mark + 1;
        }
    }
    commas
}

/// Refuses tags that contain a comma, for which the parser panics. kubectl does not accept them either, unless a space
/// follows.
fn check_tags(text: &str) -> Result<(), Invalid> {
    let commas = commas_of_tags(text);
    if commas.is_empty() {
        return Ok(());
    }
    // Most likely they are parts of values. With another character, the parser says whether they are.
    let mut replaced = text.to_owned();
    for comma in &commas {
        replaced.replace_range(*comma..=*comma, ";");
    }
    let mut ended = false;
    for event in parser(&replaced) {
        // What is wrong with the other text need not be wrong with this one.
        let Ok(event) = event else { break };
        // The parser is asked for one event after the document.
        if std::mem::replace(&mut ended, matches!(event.data, EventData::DocumentEnd { .. })) {
            break;
        }
        let has_tag = matches!(
            &event.data,
            EventData::Scalar { tag: Some(_), .. }
                | EventData::SequenceStart { tag: Some(_), .. }
                | EventData::MappingStart { tag: Some(_), .. }
        );
        let span = index(event.start_mark)..index(event.end_mark);
        let next = commas.partition_point(|comma| *comma < span.start);
        let has_comma = has_tag && commas.get(next).is_some_and(|comma| span.contains(comma));
        // Angle brackets may contain a comma.
        if has_comma && !text.get(span).is_some_and(|source| source.starts_with("!<")) {
            return Err(invalid(event.start_mark, "a tag contains a comma"));
        }
    }
    Ok(())
}

/// Decodes the encodings that begin with a byte order mark, else UTF-8.
fn decode(text: &[u8]) -> Result<String, &'static str> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks();
        let decoded = String::from_utf16(&units.iter().map(|bytes| unit(*bytes)).collect::<Vec<_>>());
        decoded.ok().filter(|_| rest.is_empty()).ok_or("it is not UTF-16 text")
    };
    match text {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => {
            String::from_utf8(rest.to_owned()).map_err(|_| "it is not UTF-8 text")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::MAX_DEPTH;
    use serde_json::json;

    #[test]
    fn values_are_as_kubectl_reads_them() {
        for (text, want) in [
            ("", json!(null)),
            ("# nothing\n", json!(null)),
            ("---\n", json!(null)),
            ("a: 1\na: 2\n", json!({"a": 2})),
            ("a: on\nb: y\nc: 'on'\n", json!({"a": true, "b": true, "c": "on"})),
            ("a: 010\nb: 0x10\n", json!({"a": 8, "b": 16})),
            ("a: 2020-01-01\n", json!({"a": "2020-01-01"})),
            ("a: 1\n---\na: 2\n", json!({"a": 1})),
            ("x: &x {s: 1}\nz:\n  <<: *x\n", json!({"x": {"s": 1}, "z": {"s": 1}})),
            ("\u{feff}a: b\n", json!({"a": "b"})),
            (r#"{"a": "b\n"}"#, json!({"a": "b\n"})),
            ("a: !<tag:yaml.org,2002:str> 1", json!({"a": "1"})),
            ("a: 'x!y,z'\nb: c !d,e # !f,g", json!({"a": "x!y,z", "b": "c !d,e"})),
            (
                r#"{"p":"hunter!2","a":"it is !x","b":"c"}"#,
                json!({"p": "hunter!2", "a": "it is !x", "b": "c"}),
            ),
            ("{p: hunter!2, a: b}", json!({"p": "hunter!2", "a": "b"})),
            (r#"{a: "Please install it!", b: c}"#, json!({"a": "Please install it!", "b": "c"})),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn the_depth_is_limited() {
        let nested = |depth| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
        parse(nested(MAX_DEPTH - 1).as_bytes()).unwrap();
        assert_eq!(parse(nested(MAX_DEPTH).as_bytes()).unwrap_err().problem, "it is too deeply nested");
    }

    #[test]
    fn what_the_parser_panics_at_is_refused_or_read() {
        for text in [
            "{a: b}{!x,y: 1}",
            "{\"a\": b}\n{!x,y: 1}",
            "[!a,b]",
            "{a: !!str,b: c}",
            "[{}!,a]",
            "\"\\",
            "a: |\n b",
            "a: >\n b\\",
            "a: b\\",
        ] {
            let _ = parse(text.as_bytes());
        }
    }

    #[test]
    fn an_error_tells_the_line_and_nothing_of_the_text() {
        let error = parse(b"users:\n- name: a\n  user:\n\ttoken: hunter2\n").unwrap_err();
        assert_eq!(error.line, Some(4));
        assert!(!error.problem.contains("hunter2"));
        let error = parse(b"users: [\n").unwrap_err();
        assert!(error.line.is_some());
    }

    #[test]
    fn a_text_that_would_exhaust_the_stack_or_memory_is_refused() {
        let deep = format!("a: {}", "[".repeat(100_000));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        for text in [deep, bomb] {
            parse(text.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn anchors_cost_only_if_they_are_used() {
        let mut text = String::new();
        for level in 0..200 {
            text += &format!("{}k: &a{level}\n", " ".repeat(level));
        }
        text += &format!("{}k: [{}]\n", " ".repeat(200), "x, ".repeat(100_000));
        parse(text.as_bytes()).unwrap();
        let used = (0..200).map(|level| format!("{level}: *a{level}\n")).collect::<String>();
        let error = parse(
            format!("x:\n{}{used}", text.lines().map(|line| format!(" {line}\n")).collect::<String>())
                .as_bytes(),
        );
        assert!(error.is_err());
    }

    #[test]
    fn many_commas_and_marks_are_read() {
        let text = format!("x: 'x !{}'\nz:\n{}", ",".repeat(300_000), "- a\n".repeat(30_000));
        assert_eq!(parse(text.as_bytes()).unwrap()["z"].as_array().map(Vec::len), Some(30_000));
    }

    #[test]
    fn many_entries_are_read() {
        let text = "- {name: n, cluster: {server: s, tls-server-name: t}}\n".repeat(30_000);
        assert_eq!(parse(text.as_bytes()).unwrap().as_array().map(Vec::len), Some(30_000));
    }

    #[test]
    fn text_that_is_not_utf8_is_told_as_such() {
        assert_eq!(parse(b"a: \xff\xff\n").unwrap_err().problem, "it is not UTF-8 text");
    }
}
