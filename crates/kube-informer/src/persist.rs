//! A cache on disk, from which the next start of the program resumes.
//!
//! - `format`: what a file consists of, and how damage is noticed;
//! - `file`: replaces a file as a whole, readable by its owner alone;
//! - `identity`, `owner`: which file belongs to which informer, cluster and user;
//! - `load`, `save`: from a file to a store, and from a snapshot to a file.

mod file;
mod format;
mod identity;
mod load;
mod options;
mod owner;
mod save;

pub use self::{
    options::{Persist, Persistable, SecretsNotAllowed},
    save::SaveError,
};
pub(crate) use self::{
    owner::Asked,
    save::{Persister, Plan},
};
