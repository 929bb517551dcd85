//! Statuses of objects as the API server has them: what a write has to differ from, and has to name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dromon_k8s::objects::Key;
use serde_json::Value;

/// One object's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveObject {
    /// Its status; null where there is none.
    pub status: Value,
    /// Its version.
    pub resource_version: String,
    /// Its identity.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// Statuses of all objects of which somebody writes one; cheap to share.
#[derive(Clone, Debug, Default)]
pub struct Live {
    objects: Arc<Mutex<HashMap<Key, LiveObject>>>,
}

impl Live {
    /// An object as it is.
    pub fn set(&self, key: Key, object: LiveObject) {
        self.lock().insert(key, object);
    }

    /// An object is gone.
    pub fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// An object, if there is one.
    pub fn get(&self, key: &Key) -> Option<LiveObject> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, LiveObject>> {
        // Every section leaves the map whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
