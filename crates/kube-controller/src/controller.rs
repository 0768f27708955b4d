//! A controller, as its author describes it.
