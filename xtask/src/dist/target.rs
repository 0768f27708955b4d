//! The targets of a release.

use std::{env::consts, fmt};

use anyhow::{Result, bail};
use clap::ValueEnum;

/// A Linux target with musl, whose programs are linked statically, and run on every distribution and in an empty image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    #[value(name = "x86_64-unknown-linux-musl")]
    X86_64,
    #[value(name = "aarch64-unknown-linux-musl")]
    Aarch64,
}

impl Target {
    /// Returns the target for this machine's processor.
    pub(crate) fn of_host() -> Result<Self> {
        match consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            other => bail!("there is no target for the processor {other}; choose one with --target"),
        }
    }

    /// Whether this machine's compiler can build for the target: it has the same processor and runs Linux.
    pub(crate) fn is_of_host(self) -> bool {
        consts::OS == "linux" && consts::ARCH == self.processor()
    }

    /// Returns rustc's and rustup's name of the target.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Returns the processor's name in Go, Kubernetes and container images.
    pub(crate) fn architecture(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Returns the name of the GCC cross compiler for the processor, on Debian and its derivatives.
    pub(crate) fn cross_compiler(self) -> String {
        format!("{}-linux-gnu-gcc", self.processor())
    }

    /// Returns the name of Debian's package of the cross compiler.
    pub(crate) fn cross_package(self) -> &'static str {
        match self {
            Self::X86_64 => "gcc-x86-64-linux-gnu",
            Self::Aarch64 => "gcc-aarch64-linux-gnu",
        }
    }

    fn processor(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.triple())
    }
}
