//! What is wrong or suspicious across objects.

use crate::diagnostic::Diagnostic;
use crate::objects::ObjectSet;

/// Everything that is wrong or suspicious across a set.
pub fn analyze(_set: &ObjectSet) -> Vec<Diagnostic> {
    Vec::new()
}
