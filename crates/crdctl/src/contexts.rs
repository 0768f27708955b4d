//! `crdctl config get-contexts` and `current-context`: what the kubeconfig files contain, as kubectl prints it (kubectl's
//! `pkg/cmd/config/get_contexts.go` and `current_context.go`).

use std::process::ExitCode;

use anyhow::{Result, bail};
use kubeconfig::{ContextEntry, Options};

use crate::{
    cli::{ContextFormat, DataFormat, GetContextsArgs},
    data,
    stdio::{print, printable},
};

/// Prints the contexts. Those that the user asks for and that do not exist are reported after the others.
pub(crate) fn list(options: &Options, args: &GetContextsArgs) -> Result<ExitCode> {
    let all = options.entries()?.contexts;
    let asked = |context: &&ContextEntry| args.contexts.is_empty() || args.contexts.contains(&context.name);
    let found: Vec<&ContextEntry> = all.iter().filter(asked).collect();
    match args.output {
        None => print(&table(&found, !args.no_headers))?,
        Some(ContextFormat::Name) => {
            print(&found.iter().map(|context| printable(&context.name) + "\n").collect::<String>())?
        }
        Some(ContextFormat::Json) => data::print(&found, DataFormat::Json)?,
        Some(ContextFormat::Yaml) => data::print(&found, DataFormat::Yaml)?,
    };
    let missing = args.contexts.iter().filter(|name| all.iter().all(|context| context.name != **name));
    let missing: Vec<String> = missing.map(|name| format!("context {name} not found")).collect();
    if missing.is_empty() { Ok(ExitCode::SUCCESS) } else { bail!("{}", missing.join(", ")) }
}

/// Prints the name of the current context, which may not exist.
pub(crate) fn current(options: &Options) -> Result<ExitCode> {
    match options.entries()?.current_context {
        Some(name) => print(&format!("{}\n", printable(&name))),
        None => bail!("current-context is not set"),
    }
}

fn table(contexts: &[&ContextEntry], headers: bool) -> String {
    let header = headers.then(|| ["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"].map(str::to_owned));
    let row = |context: &&ContextEntry| {
        let current = if context.current { "*" } else { "" };
        [current, &context.name, &context.cluster, &context.user, &context.namespace].map(printable)
    };
    aligned(&header.into_iter().chain(contexts.iter().map(row)).collect::<Vec<_>>())
}

/// Aligns columns as kubectl's tab writer: each is at least 6 characters wide, with 3 spaces to the next one, and the last
/// one is not padded (cli-runtime's `printers/tabwriter.go`).
fn aligned(rows: &[[String; 5]]) -> String {
    let width = |cell: &String| cell.chars().count();
    let widths: [usize; 5] = std::array::from_fn(|column| {
        rows.iter().map(|row| width(&row[column]) + 3).max().unwrap_or(0).max(6)
    });
    let mut text = String::new();
    for row in rows {
        for (cell, wide) in row[..4].iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', wide - width(cell)));
        }
        text.push_str(&row[4]);
        text.push('\n');
    }
    text
}
