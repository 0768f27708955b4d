//! Completion in bash, instead of clap's: bash also splits words at `:`, `=` and `@`, which the names of contexts have
//! (`arn:aws:eks:...`, `admin@prod`), and expects only the part after the last of them, or from an `@` on.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::Path,
};

use clap_complete::{engine, env::EnvCompleter};

use super::unasked::is_unasked;

/// Where bash passes the index of the word at the cursor, and the part of it that is to be replaced.
const INDEX: &str = "CRDCTL_COMPLETE_INDEX";
const PART: &str = "CRDCTL_COMPLETE_PART";

const SCRIPT: &str = r#"_NAME() {
    local IFS=$'\n'
    COMPREPLY=($(VARIABLE=bash \
        INDEX="$COMP_CWORD" \
        PART="${2-${COMP_WORDS[COMP_CWORD]}}" \
        COMPLETER -- "${COMP_WORDS[@]}" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o nosort -F _NAME COMMAND 2>/dev/null || complete -F _NAME COMMAND
"#;

/// Bash's side of the engine.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        let script = SCRIPT
            .replace("VARIABLE", var)
            .replace("INDEX", INDEX)
            .replace("PART", PART)
            .replace("NAME", &name.replace('-', "_"))
            .replace("COMMAND", bin)
            .replace("COMPLETER", completer);
        buf.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        cmd: &mut clap::Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        let line = Line::new(args);
        let word = line.words.get(line.index).cloned();
        for candidate in engine::complete(cmd, line.words, line.index, current_dir)? {
            let value = candidate.get_value().to_string_lossy();
            let part = value.strip_prefix(&line.kept).filter(|_| !is_unasked(word.as_deref(), &value));
            if let Some(part) = part {
                writeln!(buf, "{part}")?;
            }
        }
        Ok(())
    }
}

/// A command line, in the words that the program would get.
pub(super) struct Line {
    pub(super) words: Vec<OsString>,
    /// The index of the word at the cursor.
    index: usize,
    /// The beginning of that word, which bash does not replace.
    kept: String,
}

impl Line {
    /// Reads the line that bash passes in `COMP_WORDS` and in variables.
    pub(super) fn new(words: Vec<OsString>) -> Self {
        let index = env::var(INDEX).ok().and_then(|index| index.parse().ok());
        let index = index.unwrap_or(words.len().saturating_sub(1));
        Self::joined(words, index, &env::var(PART).unwrap_or_default())
    }

    /// Joins the words that bash has split. `part` is the end of the word at the cursor.
    fn joined(words: Vec<OsString>, cursor: usize, part: &str) -> Self {
        let mut line = Self { words: Vec::new(), index: 0, kept: String::new() };
        let mut after_break = false;
        for (index, word) in words.into_iter().enumerate() {
            let is_break = is_break(&word);
            let joins = index > 1 && (is_break || after_break);
            after_break = is_break;
            let mut whole = if joins { line.words.pop().unwrap_or_default() } else { OsString::new() };
            if index == cursor {
                line.index = line.words.len();
                (whole, line.kept) = at_cursor(&whole, &word, part);
            } else {
                whole.push(&word);
            }
            line.words.push(whole);
        }
        line
    }
}

/// Returns the word at the cursor, and the beginning of it that bash does not replace.
fn at_cursor(before: &OsStr, word: &OsStr, part: &str) -> (OsString, String) {
    let mut whole = before.to_owned();
    whole.push(word);
    let kept = whole.to_string_lossy().strip_suffix(part).map(str::to_owned);
    match kept {
        Some(kept) => (whole, kept),
        // The cursor is within the word, and the rest of it stays.
        None => {
            let kept = before.to_string_lossy().into_owned();
            (OsString::from(format!("{kept}{part}")), kept)
        }
    }
}

fn is_break(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| !word.is_empty() && word.chars().all(|c| "=:@".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_bash_splits_are_joined() {
        for (words, cursor, part, want, index, kept) in [
            ("crdctl|watch|bl", 2, "bl", "crdctl|watch|bl", 2, ""),
            ("crdctl|watch|", 2, "", "crdctl|watch|", 2, ""),
            ("crdctl|--context|=", 2, "", "crdctl|--context=", 1, "--context="),
            ("crdctl|--context|=|ki", 3, "ki", "crdctl|--context=ki", 1, "--context="),
            ("crdctl|--context|arn|:|aws|:|e", 6, "e", "crdctl|--context|arn:aws:e", 2, "arn:aws:"),
            ("crdctl|--context|a|:", 3, "", "crdctl|--context|a:", 2, "a:"),
            ("crdctl|--context|admin|@|k|watch|", 6, "", "crdctl|--context|admin@k|watch|", 4, ""),
            ("crdctl|--context|admin|@|k", 4, "@k", "crdctl|--context|admin@k", 2, "admin"),
            ("crdctl|--context|admin@k", 2, "k", "crdctl|--context|admin@k", 2, "admin@"),
            ("crdctl|watch|blogs|-n|x", 2, "bl", "crdctl|watch|bl|-n|x", 2, ""),
        ] {
            let line = Line::joined(words.split('|').map(OsString::from).collect(), cursor, part);
            let joined: Vec<_> = line.words.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!((&*joined.join("|"), line.index, &*line.kept), (want, index, kept), "{words}");
        }
    }
}
