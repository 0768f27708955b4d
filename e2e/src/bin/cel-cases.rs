//! Prints cases for engines of CEL, one a line: `cel-cases FIRST COUNT`, of the seeds FIRST, FIRST + 1, and so on.

use std::{
    env,
    io::{BufWriter, Write as _, stdout},
};

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let mut numbers = env::args().skip(1).map(|argument| argument.parse::<u64>());
    let first = numbers.next().context("the first seed?")?.context("the first seed")?;
    let count = numbers.next().context("how many?")?.context("how many")?;
    let mut out = BufWriter::new(stdout().lock());
    for seed in first..first.saturating_add(count) {
        writeln!(out, "{}", e2e::cel::case(seed))?;
    }
    Ok(out.flush()?)
}
