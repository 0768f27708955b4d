//! Addresses and networks: apiserver's `ip.go` and `cidr.go`.

use super::Table;

pub(super) const TABLE: Table = &[];
