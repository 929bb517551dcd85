//! The targets, by themselves: under a fuzzer everything is compiled anew, and the harness around them is large.

#[path = "../../src/fuzz/mod.rs"]
pub mod fuzz;
