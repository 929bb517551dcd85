//! The feed's side of the loop: what a stream says, what is acknowledged when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::config::model::Kind;
use dromon_core::config::snapshot::Rejection;
use dromon_core::config::table::Destination;
use dromon_core::config::wire::{DeltaRequest, DeltaResponse};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Control;
use crate::steward::event::FeedEvent;
use crate::steward::feed::interest::Wanted;
use crate::steward::feed::session::{self, Response, Session};

/// How long a first table waits for the other types once one has come.
const FIRST_ANSWERS_MAX: Duration = Duration::from_millis(250);

/// The stream that stands.
pub struct Stream {
    number: u64,
    session: Session,
    outbox: mpsc::UnboundedSender<DeltaRequest>,
    answered: BTreeSet<Kind>,
    first_answer: Option<Instant>,
}

/// A response that is not acknowledged yet.
pub struct Awaiting {
    stream: u64,
    kind: Kind,
    nonce: String,
    system_version: String,
    /// Objects it changed or removed.
    names: BTreeSet<String>,
    /// What is wrong with it.
    lines: Vec<String>,
    /// The snapshot's state that has all of it; none while some of it is held.
    generation: Option<u64>,
}

impl Control {
    /// The stream has something to say.
    pub(super) fn fed(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Up { stream, outbox } => {
                let in_force = self.store.in_force().1;
                let (session, requests) = Session::open(&self.handle.settings.id, &self.interest, |kind| {
                    in_force
                        .versions(kind)
                        .into_iter()
                        .map(|(name, version)| (name.into(), version.into()))
                        .collect()
                });
                self.handle.status.borrow_mut().feed.streams += 1;
                self.stream = Some(Stream {
                    number: stream,
                    session,
                    outbox,
                    answered: BTreeSet::new(),
                    first_answer: None,
                });
                self.awaiting.clear();
                self.send(requests);
            }
            FeedEvent::Responses { stream, responses } => {
                if self.stream.as_ref().is_some_and(|it| it.number == stream) {
                    self.note_connected();
                    self.interest_stale = true;
                    responses.into_iter().for_each(|response| self.respond(stream, response));
                }
            }
            FeedEvent::Down { stream, reason } => {
                if self.stream.as_ref().is_some_and(|it| it.number == stream) {
                    self.stream = None;
                    self.awaiting.clear();
                }
                self.note_disconnected(&reason);
            }
        }
    }

    fn respond(&mut self, stream: u64, response: DeltaResponse) {
        let response = match session::read(response) {
            Ok(response) => response,
            Err(refusal) => {
                self.handle.status.borrow_mut().counts.nacks += 1;
                return self.send(vec![*refusal]);
            }
        };
        if let Some(stream) = &mut self.stream {
            stream.answered.insert(response.kind);
            stream.first_answer.get_or_insert_with(Instant::now);
        }
        let Response { kind, nonce, system_version, changed, removed, unreadable } = response;
        let mut names: BTreeSet<String> = BTreeSet::new();
        for update in changed {
            let name = update.resource.name().to_owned();
            self.rejections.retain(|it| it.kind != kind || it.name != name);
            // What was unsubscribed while it was on its way is not wanted.
            if self.interest.wanted(kind).covers(&name) {
                self.store.put(update);
                names.insert(name);
            }
        }
        for name in removed {
            if kind == Kind::Proxy {
                self.log.warn("the controller does not know this proxy any more; its configuration stays");
            } else {
                self.rejections.retain(|it| it.kind != kind || it.name != name);
                names.insert(name.clone());
                self.store.remove(kind, name);
            }
        }
        let lines: Vec<String> = unreadable.iter().map(session::line).collect();
        for line in &lines {
            self.log.error(format_args!("configuration refused in part: {line}"));
        }
        self.handle.status.borrow_mut().counts.refused_objects += lines.len() as u64;
        self.rejections.extend(unreadable);
        self.awaiting.push(Awaiting { stream, kind, nonce, system_version, names, lines, generation: None });
    }

    /// A refused object finds the response that brought it.
    pub(super) fn blame(&mut self, rejection: &Rejection) {
        let brought = |it: &&mut Awaiting| it.kind == rejection.kind && it.names.contains(&rejection.name);
        if let Some(response) = self.awaiting.iter_mut().rev().find(brought) {
            response.lines.push(session::line(rejection));
        }
    }

    /// Listeners without a socket are the fault of the response that brought the proxy's own object.
    pub(super) fn blame_listeners(&mut self) {
        let (kind, name) = (Kind::Proxy, self.handle.settings.id.clone());
        if let Some(response) = self.awaiting.iter_mut().rev().find(|it| it.kind == kind) {
            let lines = self.listener_errors.values().map(|error| format!("{kind:?} {name}: {error}"));
            response.lines.extend(lines);
        }
    }

    /// Acknowledges the responses of which all is in force, or refused.
    pub(super) fn acknowledge(&mut self) {
        let Some(stream) = &self.stream else { return };
        let number = stream.number;
        let in_force = self.store.in_force().0;
        let mut requests = Vec::new();
        for mut response in std::mem::take(&mut self.awaiting) {
            let is_held = response.names.iter().any(|name| self.store.is_held(response.kind, name));
            if response.generation.is_none() && !is_held {
                response.generation = Some(self.store.generation());
            }
            if response.generation.is_none_or(|its| its > in_force) || response.stream != number {
                self.awaiting.push(response);
                continue;
            }
            let mut status = self.handle.status.borrow_mut();
            status.system_versions.insert(format!("{:?}", response.kind), response.system_version);
            requests.push(if response.lines.is_empty() {
                status.counts.acks += 1;
                session::acknowledge(response.kind, response.nonce)
            } else {
                status.counts.nacks += 1;
                session::refuse(response.kind, response.nonce, &response.lines)
            });
        }
        self.send(requests);
    }

    /// Tells the stream what is wanted now.
    pub(super) fn subscribe(&mut self) {
        if let Some(stream) = &mut self.stream {
            let requests = stream.session.subscribe(&self.interest);
            self.send(requests);
        }
    }

    fn send(&mut self, requests: Vec<DeltaRequest>) {
        if let Some(stream) = &self.stream {
            for request in requests {
                // A stream that has just ended says so with an event of its own.
                let _ = stream.outbox.send(request);
            }
        }
    }

    /// A proxy without a table waits until every type that it asked for has been answered, for a moment at most, so that
    /// it does not become ready knowing its listeners and no hosts.
    pub(super) fn first_answers_are_in(&mut self) -> bool {
        if self.has_table() || self.has_file() {
            return true;
        }
        match &self.stream {
            Some(stream) => {
                let asked = |kind: &Kind| *self.interest.wanted(*kind) == Wanted::All;
                let all =
                    Kind::ALL.iter().filter(|kind| asked(kind)).all(|kind| stream.answered.contains(kind));
                let late = stream.first_answer.is_some_and(|since| since.elapsed() >= FIRST_ANSWERS_MAX);
                all || late || self.from_copy
            }
            None => true,
        }
    }

    /// When a proxy without a table waits no longer for the other types.
    pub(super) fn first_answers_due(&self) -> Option<Instant> {
        Some(self.stream.as_ref()?.first_answer? + FIRST_ANSWERS_MAX)
    }

    /// Rules or a destination are used for the first time.
    pub(super) fn needed(&mut self, kind: Kind, name: &str) {
        if self.in_use.insert((kind, name.to_owned())) {
            self.interest_stale = true;
            self.handle.status.borrow_mut().counts.needs += 1;
            self.save_soon();
        }
    }

    /// Lets go of what no request has needed for long, while somebody is there who would send it again.
    pub(super) fn forget_unused(&mut self) {
        let now = Instant::now();
        if self.stream.is_none() || self.uses.due().is_none_or(|due| due > now) {
            return;
        }
        let table = self.handle.status.borrow().table.clone();
        let is_needed = |it: &&Arc<Destination>| {
            let marked = it.state.take_use();
            marked || it.endpoints.iter().any(|endpoint| endpoint.state.active() > 0)
        };
        let destinations = table.iter().flat_map(|table| table.destinations());
        let needed = destinations.filter(is_needed).map(|it| it.model.name.clone()).collect();
        for key in self.uses.look(&needed, &self.in_use, &self.store, now) {
            self.log.debug(format_args!("{:?} {} is not in use any more", key.0, key.1));
            self.in_use.remove(&key);
            self.interest_stale = true;
            self.handle.status.borrow_mut().counts.forgotten += 1;
            self.save_soon();
        }
    }

    fn note_connected(&mut self) {
        let mut status = self.handle.status.borrow_mut();
        if status.feed.answered(std::time::Instant::now()) {
            self.log.info(format_args!("connected to {}", status.feed.source));
        }
    }

    fn note_disconnected(&mut self, reason: &str) {
        let mut status = self.handle.status.borrow_mut();
        if status.feed.ended(std::time::Instant::now(), reason) {
            let kept = if status.table.is_some() { "; the configuration in force stays" } else { "" };
            self.log
                .warn(format_args!("no connection to {}: {reason}{kept}; trying again", status.feed.source));
        }
    }
}
