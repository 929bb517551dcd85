//! Values of which many are the same, kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// The values that there are. Those that nobody else has any more are forgotten now and then.
#[derive(Debug)]
pub(super) struct Shared<T> {
    known: HashSet<Arc<T>>,
    /// How many there were after it was last cleaned.
    kept: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared { known: HashSet::new(), kept: 0 }
    }
}

impl<T: Eq + Hash> Shared<T> {
    /// Puts the value that is known in the place of an equal one.
    pub(super) fn share(&mut self, value: &mut Arc<T>) {
        if let Some(known) = self.known.get(value) {
            value.clone_from(known);
            return;
        }
        self.known.insert(value.clone());
        if self.known.len() > 2 * self.kept + 64 {
            self.known.retain(|it| Arc::strong_count(it) > 1);
            self.kept = self.known.len();
        }
    }
}

#[cfg(test)]
mod tests;
