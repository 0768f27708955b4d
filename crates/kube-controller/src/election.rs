//! Leader election on Leases.
