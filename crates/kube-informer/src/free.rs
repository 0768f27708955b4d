//! Frees large values on a thread of their own. A million objects take about a second to free, which would hold up
//! every other task of a runtime's thread, and whoever waits for a lock.

use std::thread;

/// Fewer objects are freed in place: it takes no more than a few milliseconds.
const LARGE: usize = 10_000;

/// Frees a value that holds this many objects.
pub(crate) fn free<T: Send + 'static>(value: T, objects: usize) {
    if objects < LARGE {
        return drop(value);
    }
    // Nobody waits for the thread, which does nothing else. If it cannot be started, the value is dropped here with the
    // closure.
    let _ = thread::Builder::new().name("informer-free".to_owned()).spawn(move || drop(value));
}
