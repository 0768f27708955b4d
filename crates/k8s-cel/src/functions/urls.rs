//! URLs: apiserver's `urls.go`.

use super::Table;

pub(super) const TABLE: Table = &[];
