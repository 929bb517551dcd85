//! What can be said of one object by itself: errors that refuse it, and what of it is not carried out yet.

use crate::api::Object;
use crate::diagnostic::Diagnostic;

/// Looks an object over.
pub fn object(_object: &Object) -> Vec<Diagnostic> {
    Vec::new()
}
