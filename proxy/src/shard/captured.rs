//! Listeners that have no socket: netfilter brings their connections to another's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use dromon_core::limits::LISTENERS_MAX;

use super::accept::ListenerHandle;

/// Their handles, by name.
#[derive(Debug, Default)]
pub struct Captured(RefCell<HashMap<Arc<str>, Rc<ListenerHandle>>>);

impl Captured {
    /// The handle of a listener, which all of its connections share.
    pub fn handle(&self, name: &str) -> Rc<ListenerHandle> {
        let mut handles = self.0.borrow_mut();
        if let Some(handle) = handles.get(name) {
            return handle.clone();
        }
        if handles.len() >= LISTENERS_MAX {
            // Those of listeners long gone are among them.
            handles.clear();
        }
        let name = Arc::<str>::from(name);
        handles.entry(name.clone()).or_insert_with(|| Rc::new(ListenerHandle::new(name))).clone()
    }
}
