//! Health as seen from traffic: outlier detection.

mod outlier;

pub use outlier::{Outcome, record, sweep};

#[cfg(test)]
mod tests;
