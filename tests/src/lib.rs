//! The end-to-end harness: starts what a test needs, waits for events with a deadline, ends only what it started.
