//! The steward's loop: the one owner of its state.
//!
//! An event changes the state, then [`Control::advance`] starts whatever the state calls for. A table is made of all that
//! has come while the one before was compiled and rolled out, so a burst of changes costs two tables, not one each.

mod certified;
mod configure;
mod ending;
mod feeding;
mod reports;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dromon_core::config::compile::Answers;
use dromon_core::config::snapshot::Rejection;
use dromon_core::config::table::Table;
use dromon_core::limits::STEWARD_EVENTS_MAX;
use dromon_core::rng::Rng;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::access_log::AccessLog;
use super::apply::rollout::Rollout;
use super::dns::Dns;
use super::event::Event;
use super::feed::interest::{InUse, Interest};
use super::feed::uses::Uses;
use super::handle::{Handle, Shared};
use super::log::Log;
use super::status::{FeedStatus, ShardStatus, Status};
use super::store::Store;
use super::told::Told;
use super::{Settings, Shards, Source, admin, certs, disk, feed, lifecycle, static_config};
use crate::mailbox::{FromShard, Receiver, Sender, ShardId, ToShard};
use crate::sys::memory;
use crate::tls::{Credentials, TlsTable};

/// Time between two looks at whether the shards' threads live.
const SUPERVISION: Duration = Duration::from_millis(500);

/// The state. Its parts are in the files beside this one.
struct Control {
    handle: Shared,
    log: Log,
    mailboxes: Vec<Sender<ToShard>>,
    inbox: Receiver<FromShard>,
    threads: Vec<JoinHandle<()>>,
    events: mpsc::Receiver<Event>,

    store: Store,
    in_use: InUse,
    uses: Uses,
    interest: Interest,
    /// The interest may have changed.
    interest_stale: bool,
    /// The store may have objects that are not wanted any more.
    unwanted: bool,
    stream: Option<feeding::Stream>,
    awaiting: Vec<feeding::Awaiting>,
    dns: Rc<Dns>,

    phase: Phase,
    versions: u64,
    /// The proxy's own certificate, and what is remembered of handshakes.
    credentials: Credentials,
    /// The newest table was made with another certificate.
    credentials_changed: bool,
    /// Refusals that were told of lately.
    told: Told,
    /// The TLS side of the newest table.
    tls: Arc<TlsTable>,
    /// DNS may have other answers than the newest table was made of.
    names_changed: bool,
    answers: Arc<Answers>,
    held_since: Option<Instant>,
    /// What the newest configuration was refused for.
    rejections: Vec<Rejection>,
    open: BTreeMap<Arc<str>, SocketAddr>,
    listener_errors: BTreeMap<Arc<str>, String>,
    retry_listeners: Option<Instant>,

    /// When the memory that the latest table needed on its way is given back; rules that keep changing put it off.
    give_back_at: Option<Instant>,
    save_at: Option<Instant>,
    saving: bool,
    /// When the copy on disk was begun last.
    saved_at: Option<Instant>,
    /// The objects in hand began with the copy on disk.
    from_copy: bool,
    access_log: AccessLog,
    scraping: reports::Scraping,
    ending: ending::Ending,
}

/// Where the newest table is.
enum Phase {
    Idle,
    Compiling,
    /// Without a table: only sockets that could not be opened before.
    RollingOut {
        rollout: Rollout,
        table: Option<Arc<Table>>,
        begun: Instant,
        told: bool,
    },
}

/// Runs until the process is to end.
pub async fn run(settings: Settings, shards: Shards, rng: Rng, log: Log) -> ExitCode {
    let (sender, events) = mpsc::channel(STEWARD_EVENTS_MAX);
    let source = match &settings.source {
        Source::Feed(target) => format!("the controller at {target}"),
        Source::File(path) => path.display().to_string(),
    };
    let status = Status {
        shards: vec![ShardStatus::default(); shards.mailboxes.len()],
        feed: FeedStatus { source, ..FeedStatus::default() },
        ..Status::default()
    };
    let handle = Rc::new(Handle {
        settings,
        status: RefCell::new(status),
        totals: RefCell::default(),
        events: sender.clone(),
        log,
    });
    if let Err(error) = admin::start(&handle).await {
        log.error(format_args!("cannot start: {error}"));
        return ExitCode::FAILURE;
    }
    let mut signals = match lifecycle::Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            log.error(format_args!("cannot start: no signal handlers: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut control = Control::new(handle.clone(), shards, events);
    control.load_copy();
    if let Some(dir) = &handle.settings.certs {
        spawn_local(certs::watch(dir.clone(), sender.clone()));
    }
    match &handle.settings.source {
        Source::Feed(target) => spawn_local(feed::run(target.clone(), rng, sender)),
        Source::File(path) => spawn_local(static_config::watch(path.clone(), sender)),
    };
    loop {
        control.advance().await;
        if let Some(code) = control.ended() {
            return code;
        }
        let wake = control.next_deadline();
        tokio::select! {
            signal = signals.next() => control.signalled(signal).await,
            report = control.inbox.recv() => match report {
                Some(report) => control.reported(report).await,
                None => control.all_shards_gone(),
            },
            event = control.events.recv() => if let Some(event) = event {
                control.happened(event).await;
            },
            () = tokio::time::sleep_until(wake) => control.time_passed().await,
        }
        control.take_what_waits().await;
    }
}

impl Control {
    fn new(handle: Shared, shards: Shards, events: mpsc::Receiver<Event>) -> Control {
        let log = handle.log;
        Control {
            dns: Rc::new(Dns::new(handle.clone())),
            mailboxes: shards.mailboxes,
            inbox: shards.inbox,
            threads: shards.threads,
            events,
            store: Store::default(),
            in_use: InUse::new(),
            uses: Uses::new(handle.settings.forget_after, Instant::now()),
            interest: Interest::everything(),
            interest_stale: true,
            unwanted: false,
            stream: None,
            awaiting: Vec::new(),
            phase: Phase::Idle,
            versions: 0,
            credentials: Credentials::default(),
            credentials_changed: false,
            told: Told::default(),
            tls: Arc::default(),
            names_changed: false,
            answers: Arc::default(),
            held_since: None,
            rejections: Vec::new(),
            open: BTreeMap::new(),
            listener_errors: BTreeMap::new(),
            retry_listeners: None,
            give_back_at: None,
            save_at: None,
            saving: false,
            saved_at: None,
            from_copy: false,
            access_log: AccessLog::new(log),
            scraping: reports::Scraping::default(),
            ending: ending::Ending::default(),
            handle,
            log,
        }
    }

    /// Everything that has come by now is taken before a decision is made, so that it ends up in one table.
    async fn take_what_waits(&mut self) {
        for _ in 0..STEWARD_EVENTS_MAX {
            if let Some(report) = self.inbox.try_recv() {
                self.reported(report).await;
            } else if let Ok(event) = self.events.try_recv() {
                self.happened(event).await;
            } else {
                return;
            }
        }
    }

    async fn happened(&mut self, event: Event) {
        match event {
            Event::Feed(event) => self.fed(event),
            Event::Static(loaded) => self.loaded(loaded),
            Event::NamesChanged => self.names_changed = true,
            Event::Certificates(loaded) => self.certified(loaded),
            Event::Compiled { table, tls, answers } => {
                self.answers = answers;
                self.roll_out(table, tls).await;
            }
            Event::Saved(result) => self.saved(result),
            Event::Scrape(reply) => self.scrape(reply).await,
            Event::Drain => self.drain(false).await,
            Event::Quit => self.drain(true).await,
        }
    }

    /// The copy of the last good configuration is where a proxy starts, whatever the controller does.
    fn load_copy(&mut self) {
        let settings = &self.handle.settings;
        let (Some(dir), Source::Feed(_)) = (&settings.state_dir, &settings.source) else { return };
        match disk::load(dir, &settings.id) {
            Ok(None) => {}
            Ok(Some(mut copy)) => {
                self.log.info(format_args!(
                    "starting from the copy of the last configuration in {} ({} objects)",
                    dir.display(),
                    copy.objects.len()
                ));
                if copy.build != disk::BUILD {
                    copy.objects.iter_mut().for_each(|object| object.version = disk::FOREIGN_VERSION.into());
                }
                self.in_use = copy.in_use;
                self.from_copy = !copy.objects.is_empty();
                copy.objects.into_iter().for_each(|object| self.store.put(object));
            }
            Err(error) => self.log.warn(error),
        }
    }

    /// The next moment at which something is due without an event.
    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        // What is due already and cannot be done yet waits for the event that lets it.
        let held = self.held_since.map(|since| since + configure::HOLD_BACK_MAX);
        let later =
            [held, self.save_at, self.first_answers_due()].into_iter().flatten().filter(|due| *due > now);
        let uses = self.uses.due().filter(|_| self.stream.is_some());
        let dues = [
            self.retry_listeners,
            self.give_back_at,
            self.scraping.due(),
            self.ending.due(),
            self.told.due(),
            uses,
        ]
        .into_iter()
        .flatten();
        later.chain(dues).fold(now + SUPERVISION, Instant::min)
    }

    async fn time_passed(&mut self) {
        self.look_after_threads();
        self.scrape_timed_out();
        self.sum_up_refusals();
        self.ending_timed_out().await;
        self.rollout_is_slow();
        self.forget_unused();
        if self.give_back_at.is_some_and(|due| due <= Instant::now()) {
            self.give_back_at = None;
            memory::give_back();
        }
        if self.retry_listeners.is_some_and(|due| due <= Instant::now()) {
            self.open_what_failed().await;
        }
    }

    /// Sends to a shard. A mailbox that stays full for long belongs to a shard that is stuck.
    async fn tell(&mut self, shard: ShardId, message: ToShard) {
        let Some(mailbox) = self.mailboxes.get(shard.0) else { return };
        match tokio::time::timeout(Duration::from_secs(5), mailbox.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.lost(shard),
            Err(_) => self.log.error(format_args!("shard {} takes no messages", shard.0)),
        }
    }

    fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.mailboxes.len()).map(ShardId)
    }
}
