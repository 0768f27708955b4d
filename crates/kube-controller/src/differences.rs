//! How two objects differ, field by field.
