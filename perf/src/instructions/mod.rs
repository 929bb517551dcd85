//! Instruction counts of the core's hot path.

/// Ratios.
pub fn ratios() -> Vec<(String, f64)> {
    Vec::new()
}
