//! DNS names outside the index: asked of the steward, whose answers are kept for as long as they hold.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use dromon_core::limits::{NAME_ASK_AGAIN_MS, NAMES_MAX};
use dromon_core::time::Tick;
use thiserror::Error;

use super::notify::Notify;
use super::state::Shard;
use crate::io::within;
use crate::mailbox::FromShard;

/// A name has no address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// DNS says so, or cannot say.
    #[error("{0}")]
    Refused(String),
    /// No answer came in time.
    #[error("no answer from DNS in time")]
    Timeout,
}

/// Names a shard has asked for.
#[derive(Default)]
pub struct Names {
    known: RefCell<HashMap<Arc<str>, Entry>>,
    answered: Notify,
}

enum Entry {
    Asked { again_at: Tick },
    Answer { addresses: Result<Rc<[IpAddr]>, String>, until: Tick },
}

impl Names {
    /// Addresses of a name, at least one, waiting for the steward until `by`.
    pub async fn resolve(&self, shard: &Shard, host: &Arc<str>, by: Tick) -> Result<Rc<[IpAddr]>, NameError> {
        loop {
            if let Some(answer) = self.look_up(shard, host) {
                return answer.map_err(NameError::Refused);
            }
            let answered = self.answered.notified();
            if within(by, answered).await.is_err() {
                return Err(NameError::Timeout);
            }
        }
    }

    /// What DNS says, from the steward.
    pub fn answer(&self, host: Arc<str>, answer: Result<Vec<IpAddr>, String>, until: Tick) {
        let addresses = match answer {
            Ok(addresses) if addresses.is_empty() => Err("the name has no address".to_owned()),
            Ok(addresses) => Ok(addresses.into()),
            Err(error) => Err(error),
        };
        self.known.borrow_mut().insert(host, Entry::Answer { addresses, until });
        self.answered.notify_all();
    }

    /// A kept answer; without one, asks for it unless that was done a moment ago.
    fn look_up(&self, shard: &Shard, host: &Arc<str>) -> Option<Result<Rc<[IpAddr]>, String>> {
        let now = shard.now();
        let mut known = self.known.borrow_mut();
        match known.get(host) {
            Some(Entry::Answer { addresses, until }) if now < *until => return Some(addresses.clone()),
            Some(Entry::Asked { again_at }) if now < *again_at => return None,
            _ => {}
        }
        if known.len() >= NAMES_MAX {
            known.retain(|_, entry| matches!(entry, Entry::Answer { until, .. } if now < *until));
        }
        if known.len() >= NAMES_MAX {
            return Some(Err("too many names are being looked up".to_owned()));
        }
        // A full mailbox means that the steward is behind; the question is put again after the pause.
        let _ = shard.outbox.try_send(FromShard::Resolve { shard: shard.id, host: host.clone() });
        known.insert(host.clone(), Entry::Asked { again_at: now.plus_millis(NAME_ASK_AGAIN_MS) });
        None
    }
}
