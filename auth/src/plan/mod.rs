//! When certificates are renewed and how a root is changed: pure, so that years pass in a test.

pub mod renewal;
pub mod rotation;
