//! Objects → table → shards → acknowledgement.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::config::model::Role;
use dromon_core::config::table::Table;
use tokio::time::Instant;

use super::{Control, Phase};
use crate::mailbox::ToShard;
use crate::steward::Source;
use crate::steward::apply::compiler::{self, Inputs};
use crate::steward::apply::listeners::{self, Place, Plan};
use crate::steward::apply::rollout::Rollout;
use crate::steward::apply::sockets;
use crate::steward::disk;
use crate::steward::event::Event;
use crate::steward::feed::interest::Interest;
use crate::steward::feed::session;
use crate::steward::static_config::Loaded;
use crate::steward::status::ListenerStatus;
use crate::sys::memory;
use crate::tls::TlsTable;

/// How long rules wait for the destinations that they name before they are applied without.
pub const HOLD_BACK_MAX: Duration = Duration::from_secs(2);
/// How long a first table waits for DNS, so that a proxy is not ready before its destinations have addresses.
const FIRST_NAMES_MAX: Duration = Duration::from_secs(2);
/// How long a later table waits for the names it is the first to use.
const NEW_NAMES_MAX: Duration = Duration::from_millis(50);
/// Roll-outs that take longer are told of.
const SLOW_ROLLOUT: Duration = Duration::from_secs(5);
/// How long changes are gathered before the copy on disk is replaced.
const SAVE_DELAY: Duration = Duration::from_millis(300);
/// Least time between two copies: each is of everything, and rules may change many times a second.
const SAVE_PAUSE: Duration = Duration::from_secs(2);
/// How long a port that is taken is waited for before it is called taken: the kernel closes the sockets of an io_uring a
/// moment after its process has ended, so a proxy that is started again at once still finds its predecessor's.
const PREDECESSOR_MAX: Duration = Duration::from_millis(500);
const PREDECESSOR_POLL: Duration = Duration::from_millis(10);
/// How long after a table the work that came with it is over: helper threads have ended, the copy on disk is written.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Time between two tries to open a listener whose port is taken.
const LISTENER_RETRY: Duration = Duration::from_secs(1);

impl Control {
    /// The configuration file has been read.
    pub(super) fn loaded(&mut self, loaded: Loaded) {
        let mut status = self.handle.status.borrow_mut();
        match loaded {
            Ok(objects) => {
                status.feed.connected = true;
                status.feed.last_error = None;
                drop(status);
                self.rejections.clear();
                self.store.replace(objects);
            }
            Err(error) => {
                let kept = if status.table.is_some() { "; the configuration before stays" } else { "" };
                self.log.error(format_args!("configuration refused: {error}{kept}"));
                status.feed.connected = false;
                status.feed.last_error = Some(error);
            }
        }
    }

    /// Starts what the state calls for.
    pub(super) async fn advance(&mut self) {
        self.refresh_interest();
        self.save_if_due();
        if self.first_answers_are_in() {
            self.take_held();
        }
        if self.unwanted && !self.store.has_held() {
            self.unwanted = false;
            self.store.forget_unwanted(&self.interest);
        }
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        self.acknowledge();
        let other_answers = std::mem::take(&mut self.names_changed) && self.dns.answers() != self.answers;
        if self.store.has_news() || other_answers || (self.credentials_changed && self.has_table()) {
            self.compile();
        }
    }

    /// Lets in what is complete, and what has waited for too long.
    fn take_held(&mut self) {
        if !self.store.has_held() {
            self.held_since = None;
            return;
        }
        let since = *self.held_since.get_or_insert_with(Instant::now);
        let rejections = self.store.take_held(&self.interest, since.elapsed() >= HOLD_BACK_MAX);
        if !self.store.has_held() {
            self.held_since = None;
        }
        self.handle.status.borrow_mut().counts.refused_objects += rejections.len() as u64;
        for rejection in rejections {
            self.log.error(format_args!("configuration refused in part: {}", session::line(&rejection)));
            self.blame(&rejection);
            self.rejections.retain(|it| (it.kind, &it.name) != (rejection.kind, &rejection.name));
            self.rejections.push(rejection);
        }
        self.list_refused();
    }

    fn compile(&mut self) {
        if self.store.snapshot().proxy().is_none() {
            self.handle.status.borrow_mut().pending = Some(match self.handle.settings.source {
                Source::Feed(_) => "the controller has not said what this proxy listens on".into(),
                Source::File(_) => "the file has no Proxy object".into(),
            });
            return;
        }
        if let Some(missing) = self.uncertified() {
            self.handle.status.borrow_mut().pending = Some(missing);
            return;
        }
        self.versions += 1;
        self.credentials_changed = false;
        if self.handle.settings.role == Role::Gateway || self.has_file() {
            self.store.set_whole();
        }
        let snapshot = self.store.start_applying();
        self.dns.watch(&snapshot.dns_names(), &snapshot.dns_names_in_turn());
        let budget = if self.has_table() { NEW_NAMES_MAX } else { FIRST_NAMES_MAX };
        let (before, seed) = (self.handle.status.borrow().table.clone(), self.handle.settings.seed);
        let (version, dns, events) = (self.versions, self.dns.clone(), self.handle.events.clone());
        let (credentials, tls_before) = (self.credentials.clone(), self.tls.clone());
        self.phase = Phase::Compiling;
        tokio::task::spawn_local(async move {
            let answers = dns.answers_within(budget).await;
            compiler::start(
                Inputs { version, snapshot, answers, credentials, tls_before, before, seed },
                events,
            );
        });
    }

    /// Sends a table to every shard, and opens and closes sockets.
    pub(super) async fn roll_out(&mut self, table: Arc<Table>, tls: Arc<TlsTable>) {
        self.tls_problems(&tls);
        self.tls = tls.clone();
        let names: BTreeSet<&str> = table.proxy.listeners.iter().map(|it| it.name.as_str()).collect();
        self.listener_errors.retain(|name, _| names.contains(&**name));
        let Plan { open, close, open_after_close } = listeners::plan(&self.open, &places(&table));
        let plan = Plan { open: Vec::new(), close, open_after_close };
        let mut rollout = Rollout::new(table.version, self.mailboxes.len(), &plan);
        for shard in self.shard_ids() {
            self.tell(shard, ToShard::Table(table.clone(), tls.clone())).await;
        }
        for name in plan.close {
            self.open.remove(&name);
            self.handle.status.borrow_mut().listeners.remove(&name);
            for shard in self.shard_ids() {
                self.tell(shard, ToShard::Unlisten { listener: name.clone() }).await;
            }
        }
        self.open_sockets(&mut rollout, open).await;
        self.phase = Phase::RollingOut { rollout, table: Some(table), begun: Instant::now(), told: false };
        self.finish_if_complete().await;
    }

    /// Tries again to open the listeners of the table in force that have no socket.
    pub(super) async fn open_what_failed(&mut self) {
        let table = self.handle.status.borrow().table.clone();
        let (Phase::Idle, Some(table)) = (&self.phase, table) else {
            // The roll-out under way tries them itself.
            self.retry_listeners = Some(Instant::now() + LISTENER_RETRY);
            return;
        };
        let Plan { open, .. } = listeners::plan(&self.open, &places(&table));
        let mut rollout = Rollout::of_sockets(table.version, self.mailboxes.len());
        self.open_sockets(&mut rollout, open).await;
        self.phase = Phase::RollingOut { rollout, table: None, begun: Instant::now(), told: false };
        self.finish_if_complete().await;
    }

    /// Opens sockets and hands them out. A port that is taken costs that listener only.
    pub(super) async fn open_sockets(&mut self, rollout: &mut Rollout, places: Vec<Place>) {
        let patient_until = Instant::now() + PREDECESSOR_MAX;
        for Place { name, address } in places {
            let mut opened = sockets::open(address, self.mailboxes.len());
            while is_taken(&opened)
                && !self.listener_errors.contains_key(&name)
                && Instant::now() < patient_until
            {
                tokio::time::sleep(PREDECESSOR_POLL).await;
                opened = sockets::open(address, self.mailboxes.len());
            }
            let (bound, error) = match opened {
                Ok((bound, opened)) => {
                    rollout.opened(name.clone());
                    self.open.insert(name.clone(), address);
                    for (shard, socket) in self.shard_ids().zip(opened) {
                        self.tell(shard, ToShard::Listen { listener: name.clone(), socket }).await;
                    }
                    (bound, None)
                }
                Err(error) => (address, Some(sockets::explain(&name, address, &error))),
            };
            self.note_listener(&name, error.clone());
            self.handle.status.borrow_mut().listeners.insert(name, ListenerStatus { address: bound, error });
        }
    }

    /// Remembers what is wrong with a listener; told once, tried again until it is gone.
    pub(super) fn note_listener(&mut self, name: &Arc<str>, error: Option<String>) {
        match error {
            Some(error) => {
                if self.listener_errors.get(name) != Some(&error) {
                    self.log.error(format_args!("{error}; trying again every second"));
                    self.listener_errors.insert(name.clone(), error);
                }
            }
            None => {
                if self.listener_errors.remove(name).is_some() {
                    self.log.info(format_args!("listener {name} listens now"));
                }
            }
        }
    }

    /// Ends the roll-out when nothing is awaited any more: the table is in force.
    pub(super) async fn finish_if_complete(&mut self) {
        let done = matches!(&self.phase, Phase::RollingOut { rollout, .. } if rollout.is_complete());
        if !done {
            return;
        }
        let Phase::RollingOut { table, .. } = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        self.retry_listeners = (!self.listener_errors.is_empty()).then(|| Instant::now() + LISTENER_RETRY);
        if let Some(table) = table {
            self.in_force(table);
        }
        self.list_refused();
    }

    fn in_force(&mut self, table: Arc<Table>) {
        self.store.settle();
        let is_first = !self.has_table();
        self.access_log.set_path(table.proxy.access_log.as_ref().map_or("", |log| log.path.as_str()));
        self.log.debug(format_args!("table {} is in force", table.version));
        let mut status = self.handle.status.borrow_mut();
        status.counts.tables += 1;
        status.pending = None;
        status.table = Some(table);
        drop(status);
        self.blame_listeners();
        if is_first {
            self.announce();
            memory::give_back();
        }
        self.give_back_at = Some(Instant::now() + SETTLED_AFTER);
        self.save_soon();
    }

    /// What is wrong now, for the admin page: refused objects of which nothing newer has come, and dead listeners.
    fn list_refused(&mut self) {
        let refused = self.rejections.iter().map(session::line);
        self.handle.status.borrow_mut().refused =
            refused.chain(self.listener_errors.values().cloned()).chain(self.tls.problems()).collect();
    }

    pub(super) fn rollout_is_slow(&mut self) {
        if let Phase::RollingOut { rollout, begun, told, .. } = &mut self.phase
            && begun.elapsed() > SLOW_ROLLOUT
            && !*told
        {
            *told = true;
            let awaited = rollout.awaited();
            self.log.error(format_args!("shards are slow to take a configuration: {awaited}"));
            self.handle.status.borrow_mut().pending = Some(awaited);
        }
    }

    /// What is wanted follows what is known and in use.
    fn refresh_interest(&mut self) {
        if self.has_file() || !std::mem::take(&mut self.interest_stale) {
            return;
        }
        let interest = Interest::of(self.handle.settings.role, &self.in_use, &self.store);
        if interest != self.interest {
            self.store.ask_anew(&self.interest, &interest);
            self.interest = interest;
            self.unwanted = true;
            self.subscribe();
        }
    }

    pub(super) fn has_file(&self) -> bool {
        matches!(self.handle.settings.source, Source::File(_))
    }

    pub(super) fn has_table(&self) -> bool {
        self.handle.status.borrow().table.is_some()
    }

    pub(super) fn save_soon(&mut self) {
        let settings = &self.handle.settings;
        if settings.state_dir.is_some() && matches!(settings.source, Source::Feed(_)) {
            let soon = Instant::now() + SAVE_DELAY;
            let due = self.saved_at.map_or(soon, |last| soon.max(last + SAVE_PAUSE));
            self.save_at.get_or_insert(due);
        }
    }

    fn save_if_due(&mut self) {
        if self.saving || self.save_at.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.save_at = None;
        self.saved_at = Some(Instant::now());
        let settings = &self.handle.settings;
        let Some(dir) = settings.state_dir.clone() else { return };
        let (id, in_use) = (settings.id.clone(), self.in_use.clone());
        let snapshot = self.store.in_force().1.clone();
        let events = self.handle.events.clone();
        self.saving = true;
        tokio::task::spawn_blocking(move || {
            let copy = disk::Copy { id, build: disk::BUILD.into(), in_use, objects: snapshot.saved() };
            let result = disk::save(&dir, &copy).map_err(|error| {
                format!("cannot keep a copy of the configuration in {}: {error}", dir.display())
            });
            // The steward may have ended.
            let _ = events.blocking_send(Event::Saved(result));
        });
    }

    pub(super) fn saved(&mut self, result: Result<(), String>) {
        self.saving = false;
        if let Err(error) = result {
            self.log.warn(error);
        }
    }

    /// One line, when traffic can flow for the first time.
    fn announce(&self) {
        let status = self.handle.status.borrow();
        let settings = &self.handle.settings;
        let listeners: Vec<String> = status
            .listeners
            .iter()
            .filter(|(_, listener)| listener.error.is_none())
            .map(|(name, listener)| format!("{name} on {}", listener.address))
            .collect();
        let driver = status.shards.first().and_then(|shard| shard.driver.as_ref()).map_or_else(
            || "unknown".to_owned(),
            |report| match report.reason.as_str() {
                "" => report.driver.to_owned(),
                reason => format!("{} ({reason})", report.driver),
            },
        );
        self.log.info(format_args!(
            "ready: {} listens for {}; {} shards on {driver}; admin http://{}",
            settings.id,
            if listeners.is_empty() { "nothing".to_owned() } else { listeners.join(", ") },
            status.shards.len(),
            settings.admin_addr,
        ));
    }
}

fn is_taken<T>(opened: &std::io::Result<T>) -> bool {
    opened.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// Where a table's listeners listen.
fn places(table: &Table) -> Vec<Place> {
    let listeners = table.proxy.listeners.iter().filter(|it| !it.captured);
    listeners.map(|it| Place { name: it.name.as_str().into(), address: it.address }).collect()
}
