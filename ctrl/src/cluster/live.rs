//! Statuses of objects as the API server has them: what a write has to differ from, and has to name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dromon_k8s::objects::Key;
use serde_json::Value;
use tokio::sync::watch;

use crate::source::kube::resources::Resource;

/// One object's.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveObject {
    /// Its kind at the API server.
    pub resource: &'static Resource,
    /// The version in which it was read, and its status is written.
    pub version: &'static str,
    /// Its status; null where there is none.
    pub status: Value,
    /// Its version.
    pub resource_version: String,
    /// Its identity.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

/// An object as it is kept: thousands of statuses are small as texts, and large as trees.
#[derive(Debug)]
struct Kept {
    /// Without its status.
    object: LiveObject,
    status: Box<str>,
}

impl Kept {
    fn new(mut object: LiveObject) -> Kept {
        let status = object.status.take().to_string().into_boxed_str();
        Kept { object, status }
    }

    fn live(&self) -> LiveObject {
        // It was written by us.
        let status = serde_json::from_str(&self.status).unwrap_or_default();
        LiveObject { status, ..self.object.clone() }
    }
}

/// Statuses of all objects of which somebody writes one; cheap to share.
#[derive(Clone, Debug)]
pub struct Live {
    objects: Arc<Mutex<HashMap<Key, Kept>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Default for Live {
    fn default() -> Live {
        Live { objects: Arc::default(), changes: Arc::new(watch::channel(0).0) }
    }
}

impl Live {
    /// An object as it is.
    pub fn set(&self, key: Key, object: LiveObject) {
        let kept = Kept::new(object);
        let mut objects = self.lock();
        let is_other = objects.get(&key).is_some_and(|before| before.status != kept.status);
        objects.insert(key, kept);
        drop(objects);
        if is_other {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// An object is gone.
    pub fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// An object, if there is one.
    pub fn get(&self, key: &Key) -> Option<LiveObject> {
        self.lock().get(key).map(Kept::live)
    }

    /// Whether there is such an object, and its status is another.
    pub fn has_other(&self, key: &Key, status: &Value) -> bool {
        self.get(key).is_some_and(|it| it.status != *status)
    }

    /// Told whenever the status of an object that was there changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        // Every section leaves the map whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
