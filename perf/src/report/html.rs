//! The page.

use crate::lab::result::Lab;

/// The page.
pub fn page(_lab: &Lab) -> String {
    String::new()
}
