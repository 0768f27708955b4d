//! The one place where the server reads the time.

use jiff::Timestamp;

/// What time it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {}

impl Clock {
    /// Now.
    #[allow(clippy::unused_self)]
    pub(crate) fn now(self) -> Timestamp {
        Timestamp::now()
    }

    /// Now, as Kubernetes writes it: RFC 3339 in whole seconds.
    pub(crate) fn seconds(self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}
