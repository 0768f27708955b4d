//! The class that is the default, which several kinds of classes have.

use serde_json::Value;

use crate::resource::GroupResource;
use crate::store::Store;

/// The name of the newest class that is marked as the default. Of several that were created in the same second, it is the first
/// one by name.
pub(super) fn newest(
    store: &Store,
    classes: GroupResource<'_>,
    is_default: impl Fn(&Value) -> bool,
) -> Option<String> {
    let page = store.all(classes.collection(), "");
    let text = |class: &Value, field: &str| class["metadata"][field].as_str().unwrap_or_default().to_owned();
    let defaults = page.iter().map(|class| class.value()).filter(is_default);
    let defaults = defaults.map(|class| (text(&class, "creationTimestamp"), text(&class, "name")));
    let newest = defaults.min_by(|(time, name), (other_time, other_name)| {
        other_time.cmp(time).then_with(|| name.cmp(other_name))
    });
    newest.map(|(_, name)| name)
}
