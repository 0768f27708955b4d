//! Prints what differs between our answers and those of kube-apiserver's libraries: `cel-compare CASES ANSWERS`, two files with
//! a line for each case: what `cel-cases` prints, and what `e2e/cel` answers to it.

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader, Write as _, stdout},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

fn main() -> Result<()> {
    let mut files = env::args().skip(1);
    let cases = lines(&files.next().context("the file of cases?")?)?;
    let answers = lines(&files.next().context("the file of answers?")?)?;
    let mut out = stdout().lock();
    let (mut count, mut differing) = (0, 0);
    for (case, answer) in cases.zip(answers) {
        let found = e2e::cel::differences(&case?, &answer?);
        count += 1;
        differing += usize::from(!found.is_empty());
        for difference in found {
            writeln!(out, "{difference}\n")?;
        }
    }
    writeln!(out, "{count} cases, {differing} differ")?;
    Ok(())
}

fn lines(path: &str) -> Result<impl Iterator<Item = Result<Value>> + use<>> {
    let file = BufReader::new(File::open(path).with_context(|| path.to_owned())?);
    Ok(file.split(b'\n').map(|line| Ok(serde_json::from_slice(&line?)?)))
}
