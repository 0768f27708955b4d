//! Leader election on Leases.
//!
//! It follows the protocol of client-go's `leaderelection`: a Go program and a Rust program that compete for a Lease
//! never lead together.

mod candidate;
mod driver;
mod options;
mod record;

pub(crate) use driver::{Campaign, CampaignEnded, ElectionStatus, Leadership, campaign};
pub use options::{Election, InvalidElection};
