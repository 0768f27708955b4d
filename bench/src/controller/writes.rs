//! The writes that controllers have to react to, and how long they took to.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use kube::Client;
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::client::{Run, now};
use crate::fill::NAMESPACE;
use bench::kind::Kind;

/// The tasks that write, each one request at a time. An object's writes all come from the same task, so they stay in order.
const WRITERS: u32 = 8;

/// A write of an object, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) number: u32,
    /// Numbers the writes of all objects.
    sequence: u32,
    /// When its request was sent, in nanoseconds of the epoch.
    at: u64,
}

/// Writes to these objects, one after the other, a millisecond apart. The writes are numbered after `sequence`.
///
/// # Errors
/// Fails if the server refuses a write.
pub(crate) async fn write(client: &Client, sequence: &mut u32, objects: &[u32]) -> Result<Vec<Write>> {
    let mut writers = JoinSet::new();
    let queues: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (send, receive) = mpsc::unbounded_channel();
            writers.spawn(write_all(client.clone(), receive));
            send
        })
        .collect();
    let mut tick = interval(Duration::from_millis(1));
    // What a busy machine was late for is caught up.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in objects {
        tick.tick().await;
        *sequence += 1;
        // If a writer has failed, the others end with their queues, and its error is returned below.
        if queues[(number % WRITERS) as usize].send((*number, *sequence)).is_err() {
            break;
        }
    }
    drop(queues);
    let mut writes = Vec::with_capacity(objects.len());
    while let Some(written) = writers.join_next().await {
        writes.extend(written??);
    }
    Ok(writes)
}

async fn write_all(client: Client, mut queue: mpsc::UnboundedReceiver<(u32, u32)>) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    while let Some((number, sequence)) = queue.recv().await {
        let name = Kind::Blogs.name(number as usize);
        let url = format!("https://{number:06}.example.com/{sequence}");
        let body = json!({"spec": {"url": url}}).to_string().into_bytes();
        let request = Request::patch(format!("{}/{name}", Kind::Blogs.path(NAMESPACE)))
            .header("content-type", "application/merge-patch+json")
            .body(body)?;
        writes.push(Write { number, sequence, at: now() });
        client.request_text(request).await.with_context(|| format!("writing {name}"))?;
    }
    Ok(writes)
}

/// Returns for each write how many seconds after it a run began that saw it, or a later one of the same object.
///
/// # Errors
/// Fails if a write was never seen.
pub(crate) fn delays(writes: &[Write], runs: &[Run]) -> Result<Vec<(u32, f64)>> {
    let mut of_object: BTreeMap<u32, Vec<(u32, u64)>> = BTreeMap::new();
    for Run(number, sequence, at) in runs {
        of_object.entry(*number).or_default().push((*sequence, *at));
    }
    for runs in of_object.values_mut() {
        // Of runs that saw the same write, the first counts.
        runs.sort_unstable();
    }
    let mut delays = Vec::with_capacity(writes.len());
    for write in writes {
        let runs = of_object.get(&write.number).map_or(&[][..], Vec::as_slice);
        let first = runs.partition_point(|(sequence, _)| *sequence < write.sequence);
        ensure!(first < runs.len(), "write {} of object {} was never seen", write.sequence, write.number);
        let at = runs[first].1;
        delays.push((write.number, at.saturating_sub(write.at) as f64 / 1e9));
    }
    Ok(delays)
}

/// Returns the value below which this share of the values are.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    values.get((share * last as f64).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_merged_with_a_later_one_waits_for_its_run() {
        let write = |number, sequence, at| Write { number, sequence, at };
        let writes = [write(1, 5, 1_000), write(1, 6, 2_000), write(2, 7, 3_000)];
        let runs = [Run(1, 0, 500), Run(1, 6, 4_000), Run(1, 6, 9_000), Run(2, 7, 3_500)];
        let delays = delays(&writes, &runs).unwrap();
        let nanoseconds: Vec<_> = delays.iter().map(|(number, s)| (*number, (s * 1e9).round())).collect();
        assert_eq!(nanoseconds, [(1, 3_000.0), (1, 2_000.0), (2, 500.0)]);
    }

    #[test]
    fn a_write_that_was_never_seen_is_an_error() {
        let writes = [Write { number: 1, sequence: 5, at: 0 }];
        let error = delays(&writes, &[Run(1, 4, 7), Run(2, 9, 8)]).unwrap_err();
        assert_eq!(error.to_string(), "write 5 of object 1 was never seen");
    }

    #[test]
    fn quantiles_are_values() {
        let mut values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), Some(50.0));
        assert_eq!(quantile(&mut values, 0.99), Some(99.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
