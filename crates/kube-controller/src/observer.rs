//! Who looks on while controllers run.

use kube_informer::ObjectKey;

use crate::reason::Reason;

/// Sees each run begin and end.
pub(crate) trait Observer: Send + Sync {
    fn run_started(&self, controller: &str, key: &ObjectKey, reasons: &[Reason]);
    fn run_finished(&self, controller: &str, key: &ObjectKey, outcome: &str);
}
