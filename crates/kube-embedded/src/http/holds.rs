//! Watches whose events wait until a test lets them go.
//!
//! A watch passes everything that it is about to send through its [`Gate`]. While a hold is for this watch, this waits in
//! the hold's queue instead.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::scope::Scope;
use crate::cluster::RequestInfo;
use crate::store::Event;

/// Holds the events of watches until this releases them or is dropped.
///
/// The watches that a rule selects, those that are open already and those that are opened later, send nothing while they
/// are held: neither the objects that exist when they are opened, nor events, nor bookmarks. They are opened, and end as
/// they do without a hold; the events of a watch that ends are no longer held, and its client finds them in the next
/// watch. Lists are not affected, so that a cache which is fed by the watch lags behind them.
///
/// An event is held once its watch would send it: its client must be reading. The bookmark at the end of the initial
/// events is held in its place, and counts. Other bookmarks are left out as long as the hold lasts.
///
/// ```
/// use futures_util::{StreamExt, TryStreamExt};
/// use k8s_openapi::api::core::v1::ConfigMap;
/// use kube::api::{Api, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
/// use kube_embedded::faults::Verb;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = kube_embedded::Server::start();
/// let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
/// let mut events = maps.watch(&WatchParams::default(), "0").await?.boxed();
/// let reader = tokio::spawn(async move { events.try_next().await });
///
/// let hold = server.faults().on(Verb::Watch, "configmaps").hold();
/// let map = serde_json::from_str(r#"{"metadata": {"name": "settings"}}"#)?;
/// maps.create(&PostParams::default(), &map).await?;
/// let change = Patch::Merge(serde_json::json!({"data": {"color": "blue"}}));
/// maps.patch("settings", &PatchParams::default(), &change).await?;
/// hold.wait_for_held(2).await;
/// hold.merge(); // the state without a color is never seen
/// hold.release(1);
/// let Some(WatchEvent::Added(seen)) = reader.await?? else { panic!("another event") };
/// assert!(seen.data.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "everything is released when this is dropped"]
pub struct Hold {
    queue: Arc<Queue>,
    holds: Arc<Holds>,
}

/// The holds of a server.
#[derive(Debug, Default)]
pub(super) struct Holds {
    next_watch: AtomicU64,
    /// In the order in which they began. The first one that is for a watch holds it.
    active: watch::Sender<Vec<Arc<Queue>>>,
}

/// Where a watch learns whether it may send something.
#[derive(Debug)]
pub(super) struct Gate {
    id: u64,
    info: RequestInfo,
    holds: watch::Receiver<Vec<Arc<Queue>>>,
    /// The hold that this watch is in, and its changes.
    queue: Option<(Arc<Queue>, watch::Receiver<()>)>,
}

/// What a watch sends.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Change(Change),
    /// The bookmark at the end of the initial events, at this revision.
    EndOfInitial(u64),
}

/// An event as a watch's client sees it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) event: Arc<Event>,
    /// Whether the client saw the object before.
    pub(super) before: bool,
    /// Whether it sees the object afterwards.
    pub(super) after: bool,
    /// Whether this event, or one that was merged into it, created the object.
    created: bool,
}

/// What a hold holds.
#[derive(Debug)]
struct Queue {
    scope: Scope,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which the watches would have sent them. Of each watch the released ones come first.
    waiting: VecDeque<Waiting>,
    /// The hold was dropped.
    over: bool,
}

#[derive(Debug)]
struct Waiting {
    watch: u64,
    item: Item,
    released: bool,
}

impl Hold {
    /// Lets the first `events` that are held go; all of them, if there are fewer.
    pub fn release(&self, events: usize) {
        let mut state = self.queue.lock();
        state.waiting.iter_mut().filter(|it| !it.released).take(events).for_each(|it| it.released = true);
        self.queue.changes(state);
    }

    /// Lets all events go that are held now. Later ones are held again; dropping this ends the hold.
    pub fn release_all(&self) {
        self.release(usize::MAX);
    }

    /// Returns how many events are held, in all watches together.
    #[must_use]
    pub fn held(&self) -> usize {
        self.queue.lock().held()
    }

    /// Waits until at least this many events are held.
    pub async fn wait_for_held(&self, events: usize) {
        let mut changed = self.queue.changed.subscribe();
        while self.held() < events {
            // The sender is in `self`, so the wait cannot fail.
            let _ = changed.changed().await;
        }
    }

    /// Keeps only the last event of each object, so that no client ever sees the states in between. An object that was
    /// added and changed is added in its last state; one that was changed and deleted is deleted; one that was added and
    /// deleted vanishes. One that was deleted and created again is another object, and stays one.
    ///
    /// Each watch has its own events. The bookmark at the end of the initial events stays between those before and after
    /// it.
    pub fn merge(&self) {
        let mut state = self.queue.lock();
        let waiting = std::mem::take(&mut state.waiting);
        state.waiting = merged(waiting);
        self.queue.changes(state);
    }
}

impl Change {
    pub(super) fn new(event: Arc<Event>, before: bool, after: bool) -> Self {
        let created = event.old.is_none();
        Self { event, before, after, created }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.active.send_modify(|active| active.retain(|queue| !Arc::ptr_eq(queue, &self.queue)));
        self.queue.end();
    }
}

impl Holds {
    /// Begins to hold the watches in a scope.
    pub(super) fn begin(self: &Arc<Self>, scope: Scope) -> Hold {
        let queue = Arc::new(Queue { scope, state: Mutex::default(), changed: watch::Sender::default() });
        self.active.send_modify(|active| active.push(Arc::clone(&queue)));
        Hold { queue, holds: Arc::clone(self) }
    }

    /// Ends all holds.
    pub(super) fn end_all(&self) {
        self.active.send_replace(Vec::new()).iter().for_each(|queue| queue.end());
    }

    /// The gate of a new watch.
    pub(super) fn gate(&self, info: &RequestInfo) -> Gate {
        let id = self.next_watch.fetch_add(1, Ordering::Relaxed);
        let mut gate = Gate { id, info: info.clone(), holds: self.active.subscribe(), queue: None };
        gate.look();
        gate
    }
}

impl Gate {
    /// Returns what may be sent now. Otherwise, it waits for [`Gate::released`].
    pub(super) fn pass(&mut self, item: Item) -> Option<Item> {
        // A hold is for everything that is written after it began.
        if self.holds.has_changed().unwrap_or_default() {
            self.look();
        }
        match &self.queue {
            None => Some(item),
            Some((queue, _)) => queue.pass(self.id, item),
        }
    }

    /// The next of the items that were held and may be sent now.
    pub(super) fn released(&mut self) -> Option<Item> {
        self.look();
        let (queue, _) = self.queue.as_ref()?;
        queue.take(self.id)
    }

    /// Whether the watch is in a hold, or has not yet sent all that one has released.
    pub(super) fn is_held(&mut self) -> bool {
        self.look();
        self.queue.is_some()
    }

    /// Waits until something may have changed since the last look.
    pub(super) async fn changed(&mut self) {
        // The senders live as long as the server and the queue, so the waits cannot fail.
        match &mut self.queue {
            None => _ = self.holds.changed().await,
            Some((_, changed)) => _ = changed.changed().await,
        }
    }

    /// Enters a hold, or leaves it once it has nothing left of this watch.
    fn look(&mut self) {
        if let Some((queue, changed)) = &mut self.queue {
            changed.mark_unchanged();
            if !queue.is_done_with(self.id) {
                return;
            }
            self.queue = None;
        }
        let active = self.holds.borrow_and_update();
        let queue = active.iter().find(|queue| queue.scope.contains(&self.info));
        self.queue = queue.map(|queue| (Arc::clone(queue), queue.changed.subscribe()));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some((queue, _)) = &self.queue {
            let mut state = queue.lock();
            state.waiting.retain(|it| it.watch != self.id);
            queue.changes(state);
        }
    }
}

impl Queue {
    /// Adds an item, unless the hold is over and nothing is left that must be sent before.
    fn pass(&self, watch: u64, item: Item) -> Option<Item> {
        let mut state = self.lock();
        let released = state.over;
        if released && !state.has(watch) {
            return Some(item);
        }
        state.waiting.push_back(Waiting { watch, item, released });
        self.changes(state);
        None
    }

    fn take(&self, watch: u64) -> Option<Item> {
        let mut state = self.lock();
        let first = state.waiting.iter().position(|it| it.watch == watch)?;
        if !state.waiting.get(first)?.released {
            return None;
        }
        state.waiting.remove(first).map(|it| it.item)
    }

    fn is_done_with(&self, watch: u64) -> bool {
        let state = self.lock();
        state.over && !state.has(watch)
    }

    fn end(&self) {
        let mut state = self.lock();
        state.over = true;
        state.waiting.iter_mut().for_each(|it| it.released = true);
        self.changes(state);
    }

    /// Reports a change once others can see it.
    fn changes(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn held(&self) -> usize {
        self.waiting.iter().filter(|it| !it.released).count()
    }

    fn has(&self, watch: u64) -> bool {
        self.waiting.iter().any(|it| it.watch == watch)
    }
}

/// Merges the events of each object that are not released. The last one keeps its place.
fn merged(waiting: VecDeque<Waiting>) -> VecDeque<Waiting> {
    let mut all: Vec<Option<Waiting>> = Vec::with_capacity(waiting.len());
    // The places of the events that later ones can be merged into, by watch and key.
    let mut last: HashMap<(u64, String), usize> = HashMap::new();
    for mut it in waiting {
        match &mut it.item {
            Item::Change(change) if !it.released => {
                let object = (it.watch, change.event.key().to_owned());
                // What was created is another object than the one of that name before.
                let earlier = last.insert(object, all.len()).filter(|_| !change.created);
                if let Some(Some(earlier)) = earlier.and_then(|at| all.get_mut(at)).map(Option::take)
                    && let Item::Change(earlier) = earlier.item
                {
                    (change.before, change.created) = (earlier.before, earlier.created);
                }
            }
            Item::EndOfInitial(_) => last.retain(|(watch, _), _| *watch != it.watch),
            Item::Change(_) => {}
        }
        all.push(Some(it));
    }
    let is_seen = |it: &Waiting| match &it.item {
        Item::Change(change) => change.before || change.after,
        Item::EndOfInitial(_) => true,
    };
    all.into_iter().flatten().filter(is_seen).collect()
}
