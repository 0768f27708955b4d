//! One program, so that it links once; a module a topic.

mod auth;
