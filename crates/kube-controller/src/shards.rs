//! One controller over several replicas.
