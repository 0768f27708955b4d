//! Command lines in the syntax of Go's `pflag` (kube-apiserver) and `flag` (etcd).

use anyhow::{Result, anyhow, bail};

use crate::cli::go_bool;

/// The flags of a program.
pub(super) struct Flags {
    /// Flags that may stand without a value, which is `true` then. A value follows after `=` only.
    pub(super) switches: &'static [&'static [&'static str]],
    /// Flags with a value, after `=` or as the next word.
    pub(super) values: &'static [&'static [&'static str]],
    /// Whether one dash is as good as two.
    pub(super) single_dash: bool,
}

/// A flag with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) value: String,
}

impl Flags {
    /// Reads a command line, without the program.
    ///
    /// # Errors
    /// Fails in the program's words if a flag is not known or lacks its value, and if there is anything but flags.
    pub(super) fn parse(&self, program: &str, line: impl IntoIterator<Item = String>) -> Result<Vec<Given>> {
        let mut words = line.into_iter();
        let mut found = Vec::new();
        while let Some(word) = words.next() {
            if word == "--" {
                return Self::no_more(program, &words.collect::<Vec<_>>()).map(|()| found);
            }
            let Some(text) = self.flag(&word) else {
                let rest: Vec<_> = std::iter::once(word).chain(words).collect();
                return Self::no_more(program, &rest).map(|()| found);
            };
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text.as_str(), None),
            };
            // Kubernetes' flags may be written with underscores.
            let name = name.replace('_', "-");
            let has = |lists: &[&[&str]]| lists.iter().any(|list| list.contains(&name.as_str()));
            let value = match value {
                Some(value) if has(self.switches) || has(self.values) => value,
                None if has(self.switches) => "true".to_owned(),
                None if has(self.values) => match words.next() {
                    Some(value) => value,
                    None => bail!("flag needs an argument: --{name}"),
                },
                _ => bail!("unknown flag: --{name}"),
            };
            found.push(Given { name, value });
        }
        Ok(found)
    }

    /// The flag in a word, without its dashes. `-v` and `-h` have long names.
    fn flag(&self, word: &str) -> Option<String> {
        if let Some(long) = word.strip_prefix("--") {
            return Some(long.to_owned());
        }
        let short = word.strip_prefix('-').filter(|short| !short.is_empty())?;
        if self.single_dash {
            return Some(if short == "h" { "help".to_owned() } else { short.to_owned() });
        }
        Some(match short.strip_prefix('v') {
            Some("") => "v".to_owned(),
            Some(level) => format!("v={}", level.trim_start_matches('=')),
            None if short == "h" => "help".to_owned(),
            None => short.to_owned(),
        })
    }

    fn no_more(program: &str, rest: &[String]) -> Result<()> {
        if rest.is_empty() {
            return Ok(());
        }
        bail!("{program:?} does not take any arguments, got {rest:?}")
    }
}

/// Returns the last value of a flag.
pub(super) fn last<'a>(given: &'a [Given], name: &str) -> Option<&'a str> {
    given.iter().rev().find(|flag| flag.name == name).map(|flag| flag.value.as_str())
}

/// Returns the last value of a flag, unless it is empty: that counts as unset.
pub(super) fn set<'a>(given: &'a [Given], name: &str) -> Option<&'a str> {
    last(given, name).filter(|value| !value.is_empty())
}

/// Returns the values of a flag that may be repeated and whose values are lists, separated by commas.
pub(super) fn list(given: &[Given], name: &str) -> Vec<String> {
    let values = given.iter().filter(|flag| flag.name == name);
    let values = values.flat_map(|flag| flag.value.split(',')).map(str::trim);
    values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// As [`list`]. A blank value is an error, because a list that became empty by it could mean something else.
///
/// # Errors
/// Fails with kube-apiserver's message.
pub(super) fn list_without_blanks(given: &[Given], name: &str) -> Result<Vec<String>> {
    let values = given.iter().filter(|flag| flag.name == name && !flag.value.is_empty());
    if values.flat_map(|flag| flag.value.split(',')).any(|value| value.trim().is_empty()) {
        bail!("empty value in {name:?}");
    }
    Ok(list(given, name))
}

/// Reads a switch.
///
/// # Errors
/// Fails if its value is no boolean.
pub(super) fn switch(given: &[Given], name: &str, default: bool) -> Result<bool> {
    let Some(value) = last(given, name) else { return Ok(default) };
    go_bool(value).map_err(|why| anyhow!("invalid argument {value:?} for \"--{name}\" flag: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: Flags =
        Flags { switches: &[&["help", "on"]], values: &[&["name", "v"]], single_dash: false };

    fn parse(line: &str) -> Result<Vec<(String, String)>, String> {
        let found = FLAGS.parse("prog", line.split_whitespace().map(str::to_owned));
        found
            .map(|found| found.into_iter().map(|flag| (flag.name, flag.value)).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_read_as_by_pflag() {
        for (line, expected) in [
            ("--name=a=b", "name a=b"),
            ("--name a", "name a"),
            ("--name --on", "name --on"),
            ("--on", "on true"),
            ("--on=false", "on false"),
            ("-v2", "v 2"),
            ("-v=2", "v 2"),
            ("-v 2", "v 2"),
            ("-h", "help true"),
            ("--name=", "name "),
        ] {
            let (name, value) = expected.split_once(' ').unwrap();
            assert_eq!(parse(line), Ok(vec![(name.to_owned(), value.to_owned())]), "{line}");
        }
        assert_eq!(parse(""), Ok(vec![]));
        for (line, error) in [
            ("--other", "unknown flag: --other"),
            ("--other=1", "unknown flag: --other"),
            ("--name", "flag needs an argument: --name"),
            ("--on false", r#""prog" does not take any arguments, got ["false"]"#),
            ("-- --on", r#""prog" does not take any arguments, got ["--on"]"#),
            ("-", r#""prog" does not take any arguments, got ["-"]"#),
        ] {
            assert_eq!(parse(line), Err(error.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_last_value_counts_and_lists_add_up() {
        let given = FLAGS.parse("prog", ["--name=a,b", "--name", "c,", "--on=0"].map(str::to_owned)).unwrap();
        assert_eq!(last(&given, "name"), Some("c,"));
        assert_eq!(list(&given, "name"), ["a", "b", "c"]);
        assert!(!switch(&given, "on", true).unwrap() && switch(&given, "off", true).unwrap());
        let given = FLAGS.parse("prog", ["--on=maybe".to_owned()]).unwrap();
        assert!(switch(&given, "on", true).is_err());
    }
}
