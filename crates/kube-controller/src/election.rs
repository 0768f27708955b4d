//! Leader election on Leases.
//!
//! It follows the protocol of client-go's `leaderelection`: a Go program and a Rust program that compete for a Lease
//! never lead together.

mod candidate;
mod driver;
mod options;
pub(crate) mod record;

pub(crate) use candidate::Known;
pub(crate) use driver::{Campaign, CampaignEnded, ElectionStatus, Leadership, campaign, campaign_knowing};
pub use options::{Election, InvalidElection};
