//! Which key runs next: a state machine without I/O or clock.
