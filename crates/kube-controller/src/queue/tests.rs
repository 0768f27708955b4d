use super::*;

/// A queue and the time, which passes only when a test says so.
struct World {
    queue: Queue,
    now: Instant,
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn change() -> Change {
    Change { priority: 0, reason: Reason::of(Trigger::Changed), resets: false }
}

impl World {
    fn new() -> Self {
        Self::with(QueueOptions::default())
    }

    fn with(options: QueueOptions) -> Self {
        Self { queue: Queue::new(options, fastrand::Rng::with_seed(7)), now: Instant::now() }
    }

    fn debounced(quiet: Duration, at_most: Duration) -> Self {
        Self::with(QueueOptions { debounce: Some(Debounce { quiet, at_most }), ..QueueOptions::default() })
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn add(&mut self, name: &str) {
        self.queue.add(self.now, &key(name), change());
    }

    fn add_at(&mut self, priority: i32, name: &str) {
        self.queue.add(self.now, &key(name), Change { priority, ..change() });
    }

    fn reset(&mut self, name: &str) {
        self.queue.add(self.now, &key(name), Change { resets: true, ..change() });
    }

    fn take(&mut self) -> Option<Taken> {
        self.queue.take(self.now)
    }

    /// Takes a key and returns its name.
    fn next(&mut self) -> Option<String> {
        self.take().map(|taken| taken.key.name().to_owned())
    }

    /// Takes all keys that are ready, without finishing them.
    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn finish(&mut self, name: &str, outcome: Outcome) -> Option<Duration> {
        self.queue.finish(self.now, &key(name), outcome)
    }

    /// Runs a key that must be the next one.
    fn run(&mut self, name: &str, outcome: Outcome) -> Option<Duration> {
        assert_eq!(self.next().as_deref(), Some(name));
        self.finish(name, outcome)
    }

    /// Returns the time until the queue is to be asked again.
    fn until_due(&self) -> Option<Duration> {
        self.queue.next_due().map(|due| due - self.now)
    }

    fn state(&self, name: &str) -> Option<EntryState> {
        self.queue.entries().find(|entry| *entry.key == key(name)).map(|entry| entry.state)
    }
}

mod rules;
