//! DNS for destinations and shards: looked up here, kept while it holds, and the last good answer after that.

pub mod lookup;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::config::compile::Answers;
use dromon_core::limits::{DNS_LOOKUPS_MAX, DNS_NAMES_MAX, DNS_TTL_S_MIN};
use dromon_core::time::Tick;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};

use self::lookup::{Answer, Lookup};
use super::event::Event;
use super::handle::Shared;
use crate::mailbox::{Sender, ToShard};
use crate::sys::clock;

/// Wait after a lookup that failed.
const RETRY: Duration = Duration::from_secs(DNS_TTL_S_MIN);

/// All names in use. Lives on the steward's thread.
#[derive(Debug)]
pub struct Dns {
    handle: Shared,
    lookup: Lookup,
    watched: RefCell<BTreeMap<String, Watched>>,
    first_answers: Notify,
    asked: RefCell<HashMap<Arc<str>, Asked>>,
}

/// A name of a destination's endpoint: looked up again whenever its answer ends.
#[derive(Debug)]
struct Watched {
    addresses: Vec<IpAddr>,
    /// One answer is used at a time: it matters which comes first.
    in_turn: bool,
    looked_up: bool,
    task: Option<AbortHandle>,
}

impl Watched {
    fn differs(&self, addresses: &[IpAddr]) -> bool {
        let turned = self.addresses.first() != addresses.first();
        let others = || self.addresses.iter().any(|known| !addresses.contains(known));
        self.addresses.len() != addresses.len() || (self.in_turn && turned) || others()
    }
}

/// A name that a shard asked for: looked up when it is asked for.
#[derive(Debug)]
enum Asked {
    UnderWay { waiting: Vec<Sender<ToShard>>, last_good: Vec<IpAddr> },
    Known { answer: Result<Vec<IpAddr>, String>, until: Tick },
}

impl Dns {
    /// Knows no name yet.
    pub fn new(handle: Shared) -> Dns {
        Dns::with(handle, Lookup::system())
    }

    fn with(handle: Shared, lookup: Lookup) -> Dns {
        Dns {
            handle,
            lookup,
            watched: RefCell::default(),
            first_answers: Notify::new(),
            asked: RefCell::default(),
        }
    }

    /// Keeps these names up to date from now on, and no others; of those also in `in_turn` the order of the answers counts.
    pub fn watch(self: &Rc<Dns>, names: &BTreeSet<&str>, in_turn: &BTreeSet<&str>) {
        let mut watched = self.watched.borrow_mut();
        watched.retain(|name, held| {
            let stays = names.contains(name.as_str());
            if !stays && let Some(task) = &held.task {
                task.abort();
            }
            stays
        });
        for &name in names {
            let in_turn = in_turn.contains(name);
            if let Some(held) = watched.get_mut(name) {
                held.in_turn = in_turn;
                continue;
            }
            if watched.len() >= DNS_NAMES_MAX {
                self.handle
                    .log
                    .error(format_args!("{name} is not looked up: more than {DNS_NAMES_MAX} names"));
                return;
            }
            let task = spawn_local(self.clone().keep_looking(name.to_owned())).abort_handle();
            watched.insert(
                name.to_owned(),
                Watched { addresses: Vec::new(), in_turn, looked_up: false, task: Some(task) },
            );
        }
    }

    /// What is known of the watched names, once each has been looked up or this much time has passed.
    pub async fn answers_within(&self, budget: Duration) -> Arc<Answers> {
        let all_looked_up = async {
            loop {
                let changed = self.first_answers.notified();
                if self.watched.borrow().values().all(|name| name.looked_up) {
                    return;
                }
                changed.await;
            }
        };
        // What has no answer in time comes with a later table.
        let _ = tokio::time::timeout(budget, all_looked_up).await;
        self.answers()
    }

    /// What is known of the watched names.
    pub fn answers(&self) -> Arc<Answers> {
        let watched = self.watched.borrow();
        Arc::new(watched.iter().map(|(name, held)| (name.clone(), held.addresses.clone())).collect())
    }

    async fn keep_looking(self: Rc<Dns>, name: String) {
        let mut failing = false;
        loop {
            let wait = match self.look_up(&name).await {
                Ok(Answer { addresses, ttl }) => {
                    if std::mem::take(&mut failing) {
                        self.handle.log.info(format_args!("{name} can be looked up again"));
                    }
                    self.learn(&name, Some(addresses)).await;
                    ttl
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let log = self.handle.log;
                        log.warn(format_args!(
                            "{name} cannot be looked up: {error}; its last addresses stay"
                        ));
                    }
                    self.learn(&name, None).await;
                    RETRY.saturating_mul(5)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn learn(&self, name: &str, addresses: Option<Vec<IpAddr>>) {
        let changed = {
            let mut watched = self.watched.borrow_mut();
            let Some(held) = watched.get_mut(name) else { return };
            held.looked_up = true;
            match addresses {
                Some(addresses) if held.differs(&addresses) => {
                    held.addresses = addresses;
                    true
                }
                _ => false,
            }
        };
        self.first_answers.notify_waiters();
        if changed {
            // The control loop is gone only when the process ends.
            let _ = self.handle.events.send(Event::NamesChanged).await;
        }
    }

    async fn look_up(&self, name: &str) -> Result<Answer, String> {
        self.handle.status.borrow_mut().counts.dns_lookups += 1;
        let answer = self.lookup.addresses(name).await;
        if answer.is_err() {
            self.handle.status.borrow_mut().counts.dns_failures += 1;
        }
        answer
    }

    /// Answers a shard that asked for a name: from what is known, or once it is looked up.
    pub fn answer(self: &Rc<Dns>, mailbox: Sender<ToShard>, host: Arc<str>) {
        let mut asked = self.asked.borrow_mut();
        let last_good = match asked.get_mut(&host) {
            Some(Asked::UnderWay { waiting, .. }) => return waiting.push(mailbox),
            Some(Asked::Known { answer, until }) if *until > clock::now() => {
                return tell(&mailbox, &host, answer.clone(), *until);
            }
            Some(Asked::Known { answer, .. }) => answer.clone().unwrap_or_default(),
            None => Vec::new(),
        };
        let under_way = asked.values().filter(|it| matches!(it, Asked::UnderWay { .. })).count();
        if under_way >= DNS_LOOKUPS_MAX {
            let error = format!("{DNS_LOOKUPS_MAX} names are being looked up already");
            return tell(&mailbox, &host, Err(error), clock::now() + RETRY);
        }
        make_room(&mut asked);
        asked.insert(host.clone(), Asked::UnderWay { waiting: vec![mailbox], last_good });
        drop(asked);
        spawn_local(self.clone().answer_later(host));
    }

    async fn answer_later(self: Rc<Dns>, host: Arc<str>) {
        let result = self.look_up(&host).await;
        let mut asked = self.asked.borrow_mut();
        let Some(Asked::UnderWay { waiting, last_good }) = asked.remove(&host) else { return };
        let (answer, ttl) = match result {
            Ok(Answer { addresses, ttl }) => (Ok(addresses), ttl),
            Err(_) if !last_good.is_empty() => (Ok(last_good), RETRY),
            Err(error) => (Err(error), RETRY),
        };
        let until = clock::now() + ttl;
        for mailbox in &waiting {
            tell(mailbox, &host, answer.clone(), until);
        }
        asked.insert(host, Asked::Known { answer, until });
    }
}

/// A shard that takes no messages asks again when its request is tried again.
fn tell(mailbox: &Sender<ToShard>, host: &Arc<str>, answer: Result<Vec<IpAddr>, String>, until: Tick) {
    let _ = mailbox.try_send(ToShard::Resolved { host: host.clone(), answer, until });
}

/// Takes the answer that ends first out of a full table.
fn make_room(asked: &mut HashMap<Arc<str>, Asked>) {
    if asked.len() < DNS_NAMES_MAX {
        return;
    }
    let ends = |it: &Asked| match it {
        Asked::Known { until, .. } => *until,
        Asked::UnderWay { .. } => Tick::NEVER,
    };
    let first = asked.iter().min_by_key(|(_, it)| ends(it)).map(|(host, _)| host.clone());
    if let Some(host) = first {
        asked.remove(&host);
    }
}

#[cfg(test)]
mod tests;
