//! Reconcilers with one classic bug each.
