//! The task of a controller.
