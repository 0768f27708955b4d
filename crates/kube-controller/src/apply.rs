//! Server-side apply that sends nothing if nothing differs.
