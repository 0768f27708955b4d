//! Owner references: how they are set, and whom they name.
