//! The output on stdout, with one module for each group of formats.

mod line;
mod structured;
mod table;
mod writer;

use kube::ResourceExt as _;

pub(crate) use line::Line;
use line::cached;
pub(crate) use writer::Writer;

use crate::{
    cli::{Format, OutputArgs},
    columns::Columns,
    connection::Connection,
    resource::ResourceType,
};

/// Renders events as text, in one format.
pub(crate) enum Printer {
    Table(table::Table),
    Name { prefix: String },
    Json,
    Yaml,
}

impl Printer {
    /// Creates a printer. Asks the server for the resource's columns if the format has columns.
    pub(crate) async fn new(
        connection: &Connection,
        resource: &ResourceType,
        output: OutputArgs,
    ) -> anyhow::Result<Self> {
        Ok(match output.format {
            Format::Table | Format::Wide => {
                let columns = Columns::of(connection, resource, output.format == Format::Wide).await?;
                Self::Table(table::Table::new(columns, resource.namespaced, !output.no_headers))
            }
            Format::Name => Self::Name { prefix: resource.qualified_singular() },
            Format::Json => Self::Json,
            Format::Yaml => Self::Yaml,
        })
    }

    /// Returns the text for `line`. It is empty if the format does not print the line, or holds it back for now.
    pub(crate) fn print(&mut self, line: &Line<'_>) -> String {
        match self {
            Self::Table(table) => table.print(line),
            Self::Name { prefix } => match line {
                Line::Added(object) | Line::Modified { new: object, .. } => {
                    format!("{prefix}/{}\n", object.name_any())
                }
                Line::Deleted(object) => format!("{prefix}/{} deleted\n", object.name_any()),
                Line::Synced { .. } => String::new(),
                Line::Cached(names) => format!("# {}\n", cached(names)),
            },
            Self::Json => structured::json(line),
            Self::Yaml => structured::yaml(line),
        }
    }
}
