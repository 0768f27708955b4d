//! The HTTP server: health, metrics, queues.
