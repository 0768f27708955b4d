//! Describes the machine and the versions that the figures were measured with.

use std::fs;

use anyhow::{Context as _, Result};

/// Describes the processor, cores, memory and operating system.
pub(crate) fn describe() -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let model = field(&cpuinfo, "model name").unwrap_or(std::env::consts::ARCH);
    let cores = std::thread::available_parallelism()?;
    let meminfo = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let kilobytes = field(&meminfo, "MemTotal").and_then(|total| total.strip_suffix(" kB"));
    let gibibytes = kilobytes.context("no MemTotal in /proc/meminfo")?.parse::<u64>()? >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's version")?;
    Ok(format!("{model}, {cores} cores, {gibibytes} GiB, Linux {}", kernel.trim()))
}

/// The packages that most benchmarks compare.
pub(crate) const CACHES: [&str; 2] = ["kube-informer", "kube-runtime"];

/// Returns the versions of these packages, and of a library in Go, if there is one.
pub(crate) fn versions(packages: &[&str], go: Option<&str>) -> Result<String> {
    let mut versions = Vec::new();
    for package in packages {
        versions.push(format!("{package} {}", locked(package)?));
    }
    versions.extend(go.map(str::to_owned));
    Ok(versions.join(", "))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim()))
}

fn locked(package: &str) -> Result<&'static str> {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) =
        include_str!("../../Cargo.lock").split_once(&entry).context("a package that is not locked")?;
    rest.split('"').next().context("a package without a version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_and_versions_are_described() {
        let machine = describe().unwrap();
        assert!(machine.contains("cores") && machine.contains("Linux"), "{machine}");
        let versions = versions(&CACHES, Some("client-go v0.37.2")).unwrap();
        assert!(
            versions.contains("kube-runtime 5.") && versions.ends_with("client-go v0.37.2"),
            "{versions}"
        );
    }
}
