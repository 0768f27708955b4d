//! The program: its controllers, leadership, shutdown.
