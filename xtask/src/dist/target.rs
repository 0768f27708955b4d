//! The targets that a release is built for.

use std::{env::consts, fmt};

use anyhow::{Result, bail};
use clap::ValueEnum;

/// Linux with musl: a program that is linked statically and runs on every distribution, and in an empty image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    #[value(name = "x86_64-unknown-linux-musl")]
    X86_64,
    #[value(name = "aarch64-unknown-linux-musl")]
    Aarch64,
}

impl Target {
    /// The one for this machine's processor.
    pub(crate) fn of_host() -> Result<Self> {
        match consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            other => bail!("no target is for a processor of the kind {other}; name one with --target"),
        }
    }

    /// Whether a compiler for this machine makes programs for the target: the same processor, and Linux.
    pub(crate) fn is_of_host(self) -> bool {
        consts::OS == "linux" && consts::ARCH == self.processor()
    }

    /// The name that rustc and rustup know.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The name of the processor that Go, Kubernetes and container images use.
    pub(crate) fn architecture(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// GCC that compiles for the processor from any other, as Debian and its derivatives name it.
    pub(crate) fn cross_compiler(self) -> String {
        format!("{}-linux-gnu-gcc", self.processor())
    }

    /// Debian's package of it.
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
