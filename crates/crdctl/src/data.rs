//! Data that is printed once, as JSON or YAML.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{cli::DataFormat, stdio};

/// Prints a value on stdout, as indented JSON or as YAML. In YAML, each value is on the line of its key.
pub(crate) fn print(value: &impl Serialize, format: DataFormat) -> Result<ExitCode> {
    let text = match format {
        DataFormat::Json => serde_json::to_string_pretty(value).context("writing JSON")? + "\n",
        DataFormat::Yaml => {
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            serde_saphyr::to_string_with_options(value, options).context("writing YAML")?
        }
    };
    stdio::print(&text)
}
