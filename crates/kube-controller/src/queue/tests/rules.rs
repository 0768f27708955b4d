//! Rules 1 to 11 of controllers, each by what it says.

use super::*;

// Rule 1
#[test]
fn higher_priorities_run_first_and_equal_ones_in_the_order_in_which_they_became_ready() {
    let mut world = World::new();
    for (priority, name) in [(0, "a"), (-100, "b"), (5, "c"), (0, "d"), (5, "e")] {
        world.add_at(priority, name);
    }
    assert_eq!(world.drain(), ["c", "e", "a", "d", "b"]);
}
