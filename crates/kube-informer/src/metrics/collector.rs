//! Gathers the metrics of all informers of one [`Informers`](crate::Informers) when the registry is encoded.
//!
//! Informers of the same resource, with several namespaces or selectors, form one series: labels are a closed set,
//! and never name a namespace or an object. Counters never go down, because the counts of an informer are kept when
//! it ends.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Add as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::counters::{COUNTS, Count, Counters};
use crate::{ResourceVersion, protocol::Target};

/// The state of one informer, or of all informers of a resource.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) informers: usize,
    pub(crate) ready: usize,
    pub(crate) objects: usize,
    pub(crate) object_bytes: Option<usize>,
    pub(crate) quarantined: usize,
    pub(crate) subscribers: usize,
    pub(crate) queued: usize,
    /// How long ago the server last sent something that keeps the cache up to date.
    pub(crate) last_contact: Option<Duration>,
    pub(crate) resource_version: Option<ResourceVersion>,
}

/// An informer whose metrics can be read.
pub(crate) trait Measured: Send + Sync {
    fn counters(&self) -> &Counters;
    fn measure(&self) -> Gauges;
}

/// The measured informers. Clones are handles to the same set.
#[derive(Clone, Default)]
pub(crate) struct Metrics(Arc<Mutex<Series>>);

#[derive(Default)]
struct Series {
    running: Vec<(Resource, Counters, Weak<dyn Measured>)>,
    /// The counts of informers that have ended.
    ended: BTreeMap<Resource, [u64; COUNTS]>,
}

/// The labels that every series has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

/// A counter: one series per value of its label, or a single one without a label.
struct CounterMetric {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    label: &'static str,
    series: &'static [(&'static str, Count)],
}

/// A gauge.
struct GaugeMetric {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    value: fn(&Gauges) -> Option<f64>,
}

const COUNTERS: [CounterMetric; 7] = [
    CounterMetric {
        name: "reflector_lists",
        help: "Lists requested, by reason: initial, expired (HTTP 410, or a refused page), lagging (older than the \
               cache), malformed, type_returned, refused (a version), polled",
        unit: None,
        label: "reason",
        series: &[
            ("initial", Count::ListInitial),
            ("expired", Count::ListExpired),
            ("lagging", Count::ListLagging),
            ("malformed", Count::ListMalformed),
            ("type_returned", Count::ListTypeReturned),
            ("refused", Count::ListRefused),
            ("polled", Count::ListPolled),
        ],
    },
    CounterMetric {
        name: "reflector_list_duration",
        help: "Time from requesting a list to its completion, for lists that succeeded",
        unit: Some(Unit::Seconds),
        label: "",
        series: &[("", Count::ListNanoseconds)],
    },
    CounterMetric {
        name: "reflector_watches",
        help: "Watches requested",
        unit: None,
        label: "",
        series: &[("", Count::Watch)],
    },
    CounterMetric {
        name: "reflector_failures",
        help: "Failed attempts to list or watch, by error",
        unit: None,
        label: "error",
        series: &[
            ("unreachable", Count::FailureUnreachable),
            ("tls", Count::FailureTls),
            ("client", Count::FailureClient),
            ("api", Count::FailureApi),
            ("interrupted", Count::FailureInterrupted),
            ("silent", Count::FailureSilent),
            ("malformed", Count::FailureMalformed),
        ],
    },
    CounterMetric {
        name: "informer_watch_events",
        help: "Watch events received, by type: applied (added or modified), deleted, bookmark, error",
        unit: None,
        label: "type",
        series: &[
            ("applied", Count::EventApplied),
            ("deleted", Count::EventDeleted),
            ("bookmark", Count::EventBookmark),
            ("error", Count::EventError),
        ],
    },
    CounterMetric {
        name: "informer_received",
        help: "Length of the received response bodies",
        unit: Some(Unit::Bytes),
        label: "",
        series: &[("", Count::ReceivedBytes)],
    },
    CounterMetric {
        name: "informer_decode",
        help: "Time spent parsing responses, decoding objects and updating the cache",
        unit: Some(Unit::Seconds),
        label: "",
        series: &[("", Count::DecodeNanoseconds)],
    },
];

const GAUGES: [GaugeMetric; 9] = [
    GaugeMetric {
        name: "informer_running",
        help: "Running informers",
        unit: None,
        value: |gauges| Some(gauges.informers as f64),
    },
    GaugeMetric {
        name: "informer_ready",
        help: "Running informers that are synced and not stale",
        unit: None,
        value: |gauges| Some(gauges.ready as f64),
    },
    GaugeMetric {
        name: "informer_objects",
        help: "Cached objects",
        unit: None,
        value: |gauges| Some(gauges.objects as f64),
    },
    GaugeMetric {
        name: "informer_object",
        help: "Memory of the objects in compact caches, without their keys",
        unit: Some(Unit::Bytes),
        value: |gauges| gauges.object_bytes.map(|bytes| bytes as f64),
    },
    GaugeMetric {
        name: "informer_quarantined_objects",
        help: "Objects whose present state fails to decode",
        unit: None,
        value: |gauges| Some(gauges.quarantined as f64),
    },
    GaugeMetric {
        name: "informer_last_contact_age",
        help: "Time since the server last sent a complete list, an event or a bookmark: the longest among informers",
        unit: Some(Unit::Seconds),
        value: |gauges| gauges.last_contact.map(|age| age.as_secs_f64()),
    },
    GaugeMetric {
        name: "informer_store_resource_version",
        help: "The 15 least significant digits of the cache's resource version: the lowest among informers",
        unit: None,
        value: |gauges| gauges.resource_version.map(|version| version.last_digits() as f64),
    },
    GaugeMetric {
        name: "informer_subscribers",
        help: "Open subscriptions",
        unit: None,
        value: |gauges| Some(gauges.subscribers as f64),
    },
    GaugeMetric {
        name: "informer_queued_items",
        help: "Changes that subscriptions have not read yet",
        unit: None,
        value: |gauges| Some(gauges.queued as f64),
    },
];

impl Metrics {
    /// Measures an informer until it ends.
    pub(crate) fn add(&self, target: &Target, informer: &Arc<impl Measured + 'static>) {
        let resource = Resource {
            group: target.group.clone(),
            version: target.version.clone(),
            resource: target.plural.clone(),
        };
        let measured: Arc<dyn Measured> = Arc::clone(informer) as _;
        let mut series = self.series();
        series.retire_ended();
        series.running.push((resource, informer.counters().clone(), Arc::downgrade(&measured)));
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gather(&self) -> BTreeMap<Resource, ([u64; COUNTS], Gauges)> {
        let mut series = self.series();
        series.retire_ended();
        let ended =
            series.ended.iter().map(|(resource, counts)| (resource.clone(), (*counts, Gauges::default())));
        let mut gathered: BTreeMap<_, _> = ended.collect();
        let running: Vec<_> = series.running.clone();
        // Reading the informers takes their locks, and may drop the last handle of one.
        drop(series);
        for (resource, counters, informer) in running {
            let (counts, gauges) =
                gathered.entry(resource).or_insert_with(|| ([0; COUNTS], Gauges::default()));
            add(counts, &counters);
            if let Some(informer) = informer.upgrade() {
                gauges.add(&informer.measure());
            }
        }
        gathered
    }
}

impl Series {
    fn retire_ended(&mut self) {
        let ended = self.running.extract_if(.., |(_, _, informer)| informer.strong_count() == 0);
        for (resource, counters, _) in ended {
            add(self.ended.entry(resource).or_insert([0; COUNTS]), &counters);
        }
    }
}

impl Gauges {
    fn add(&mut self, other: &Self) {
        self.informers += other.informers;
        self.ready += other.ready;
        self.objects += other.objects;
        self.object_bytes = [self.object_bytes, other.object_bytes].into_iter().flatten().reduce(usize::add);
        self.quarantined += other.quarantined;
        self.subscribers += other.subscribers;
        self.queued += other.queued;
        self.last_contact = self.last_contact.max(other.last_contact);
        self.resource_version = [self.resource_version, other.resource_version].into_iter().flatten().min();
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gathered = self.gather();
        for metric in &COUNTERS {
            let mut family = encoder.encode_descriptor(
                metric.name,
                metric.help,
                metric.unit.as_ref(),
                MetricType::Counter,
            )?;
            for (resource, (counts, _)) in &gathered {
                for (value, count) in metric.series {
                    let labels: Vec<_> = resource.labels((metric.label, value)).collect();
                    let (encoder, counted) = (family.encode_family(&labels)?, counts[*count as usize]);
                    match metric.unit {
                        Some(Unit::Seconds) => ConstCounter::new(counted as f64 / 1e9).encode(encoder)?,
                        _ => ConstCounter::new(counted).encode(encoder)?,
                    }
                }
            }
        }
        for metric in &GAUGES {
            let mut family = encoder.encode_descriptor(
                metric.name,
                metric.help,
                metric.unit.as_ref(),
                MetricType::Gauge,
            )?;
            for (resource, (_, gauges)) in &gathered {
                if let Some(value) = (metric.value)(gauges) {
                    let labels: Vec<_> = resource.labels(("", "")).collect();
                    ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Resource {
    /// Returns the labels of a series. A label with an empty name is left out.
    fn labels<'a>(&'a self, more: (&'a str, &'a str)) -> impl Iterator<Item = (&'a str, &'a str)> {
        let resource = [("group", &*self.group), ("version", &*self.version), ("resource", &*self.resource)];
        resource.into_iter().chain(Some(more).filter(|(name, _)| !name.is_empty()))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("informers", &self.series().running.len()).finish()
    }
}

fn add(counts: &mut [u64; COUNTS], counters: &Counters) {
    for (count, more) in counts.iter_mut().zip(counters.read()) {
        *count = count.saturating_add(more);
    }
}
