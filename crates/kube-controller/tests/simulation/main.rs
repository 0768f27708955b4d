//! The simulation: that it passes what is right, and finds what is wrong.

mod bugs;
mod checks;
mod support;
