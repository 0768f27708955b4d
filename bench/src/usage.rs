//! The resource usage of this process, and the sample that a measured client prints.

use std::{
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// How long the memory settles before it is read.
const SETTLE: Duration = Duration::from_secs(1);

/// The cost of one run of a client. Memory is in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The number of objects in the client's cache once it had synced.
    pub(crate) objects: usize,
    /// User and system time until it had synced.
    pub(crate) cpu_seconds: f64,
    pub(crate) wall_seconds: f64,
    /// The resident memory just before the client was created.
    pub(crate) resident_before: u64,
    /// The resident memory one second after it had synced.
    pub(crate) resident_after: u64,
    /// The maximum resident memory until then.
    pub(crate) peak: u64,
    /// The live heap, for a garbage-collected language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live_heap: Option<u64>,
}

/// The usage before a client is created.
pub(crate) struct Start {
    resident: u64,
    cpu: f64,
    at: Instant,
}

impl Start {
    pub(crate) fn now() -> Result<Start> {
        Ok(Start { resident: resident()?, cpu: cpu_seconds(), at: Instant::now() })
    }

    /// Takes the sample of a client that has just synced. `count` is called last, so that its cost is not measured. The cache
    /// must be kept alive until this returns.
    pub(crate) async fn synced(self, count: impl FnOnce() -> Result<usize>) -> Result<Sample> {
        let wall_seconds = self.at.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds() - self.cpu;
        tokio::time::sleep(SETTLE).await;
        let (resident_after, peak) = (resident()?, peak()?);
        let objects = count()?;
        Ok(Sample {
            objects,
            cpu_seconds,
            wall_seconds,
            resident_before: self.resident,
            resident_after,
            peak,
            live_heap: None,
        })
    }
}

impl Sample {
    pub(crate) fn resident(&self) -> f64 {
        self.resident_after.saturating_sub(self.resident_before) as f64
    }

    pub(crate) fn peak(&self) -> f64 {
        self.peak.saturating_sub(self.resident_before) as f64
    }
}

/// Prints a result for the command that started this process.
pub(crate) fn print(result: &impl Serialize) -> Result<()> {
    print_line(&serde_json::to_string(result)?)
}

/// Prints a line and flushes it.
pub(crate) fn print_line(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// Prints the current step on stderr.
pub(crate) fn progress(what: &str) -> Result<()> {
    writeln!(std::io::stderr(), "{what}")?;
    Ok(())
}

/// Returns the user and system time of all threads of this process.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Returns the resident memory, in bytes.
pub(crate) fn resident() -> Result<u64> {
    field("/proc/self/status", "VmRSS")
}

/// Returns the memory of another process, in bytes: what it shares with others counts in proportion (`Pss` in proc(5)), so that
/// the memory of several adds up.
pub(crate) fn share_of(process: u32) -> Result<u64> {
    field(&format!("/proc/{process}/smaps_rollup"), "Pss")
}

/// Returns the maximum resident memory, in bytes.
pub(crate) fn peak() -> Result<u64> {
    field("/proc/self/status", "VmHWM")
}

/// Resets the maximum resident memory; see clear_refs in proc(5).
pub(crate) fn reset_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("writing /proc/self/clear_refs")
}

/// Returns a field of a file in /proc, in bytes.
fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"))
        .with_context(|| format!("no {name} in {path}"))?;
    Ok(kilobytes.parse::<u64>().with_context(|| format!("{name} in {path}"))? * 1024)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sample_has_the_usage_of_the_process() {
        let start = Start::now().unwrap();
        let cpu = cpu_seconds();
        let held = vec![1_u8; 64 << 20];
        while cpu_seconds() < cpu + 0.02 {
            black_box(&held);
        }
        let sample = start.synced(|| Ok(held.len())).await.unwrap();

        assert_eq!(sample.objects, 64 << 20);
        assert!((0.02..10.0).contains(&sample.cpu_seconds), "{sample:?}");
        assert!(sample.resident() > 60e6, "{sample:?}");
        assert!(sample.peak() > 60e6, "{sample:?}");
    }
}
