//! What one proxy's stream has asked for, has been sent and has acknowledged: a state machine without I/O.
//!
//! Additions travel in the order of [`Kind::ALL`], so that what is referred to arrives before what refers to it;
//! removals travel after them and in reverse order, for the same reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dromon_core::config::model::Kind;
use dromon_core::config::wire::{Any, DeltaRequest, DeltaResponse, Resource};
use dromon_core::limits;

use super::view::{Stamp, View};

/// A resource that the proxy refused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Nack {
    /// Its kind.
    pub kind: Kind,
    /// Its name; empty when the proxy did not say.
    pub name: String,
    /// Why.
    pub reason: String,
    /// The version of the store in which it was sent.
    pub version: String,
}

/// A request that a proxy may not make; it ends the stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many names.
    #[error("more than {} names subscribed", limits::FEED_NAMES_MAX)]
    TooManyNames,
}

/// State of one stream.
#[derive(Debug, Default)]
pub struct Session {
    kinds: [Subscription; Kind::ALL.len()],
    in_flight: HashMap<String, InFlight>,
    nonce: u64,
    acked: BTreeMap<Kind, String>,
    nacks: Vec<Nack>,
    pushed: u64,
    /// The view that the proxy was sent, or is being sent, all that it wants of.
    has: Option<Stamp>,
    /// It wants other names than when that was.
    wants_anew: bool,
}

/// What is subscribed of one kind.
#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// What the proxy has: version by name; an empty version says that it was told of the resource's absence.
    sent: HashMap<String, String>,
    seen: bool,
    /// The next response is due even when there is nothing to say: it tells the proxy that it has everything.
    due: bool,
}

/// A response that is neither acknowledged nor refused yet.
#[derive(Debug)]
struct InFlight {
    kind: Kind,
    version: String,
    names: Vec<String>,
}

impl Session {
    /// Takes in a request; returns what the proxy refuses by it.
    ///
    /// # Errors
    /// The request breaks a limit.
    pub fn handle(&mut self, request: DeltaRequest) -> Result<Vec<Nack>, Refused> {
        // A type of a newer proxy: nothing to say about it.
        let Some(kind) = Kind::from_type_url(&request.type_url) else { return Ok(Vec::new()) };
        let refused = self.settle(kind, &request);
        let subscription = &mut self.kinds[kind as usize];
        let first = !std::mem::replace(&mut subscription.seen, true);
        self.wants_anew |= first
            || !request.resource_names_subscribe.is_empty()
            || !request.resource_names_unsubscribe.is_empty();
        for name in request.resource_names_unsubscribe {
            if name == "*" {
                subscription.wildcard = false;
            }
            subscription.names.remove(&name);
            if !subscription.wildcard {
                subscription.sent.remove(&name);
            }
        }
        for name in request.resource_names_subscribe {
            // Subscribing again asks for the resource again, even when it is unchanged.
            subscription.sent.remove(&name);
            if name == "*" {
                subscription.wildcard = true;
                subscription.due = true;
            } else {
                subscription.names.insert(name);
            }
        }
        if first {
            subscription.due |= !subscription.names.is_empty();
            for (name, version) in request.initial_resource_versions {
                if subscription.wildcard || subscription.names.contains(&name) {
                    subscription.sent.insert(name, version);
                }
            }
        }
        if self.kinds.iter().map(|kind| kind.names.len()).sum::<usize>() > limits::FEED_NAMES_MAX {
            return Err(Refused::TooManyNames);
        }
        Ok(refused)
    }

    /// Everything that brings the proxy from what it has to `view`, in the order in which it has to travel.
    pub fn push(&mut self, view: &View) -> Vec<DeltaResponse> {
        let mut responses = Vec::new();
        let changed = self.has.filter(|_| !self.wants_anew).and_then(|has| view.changes_since(has));
        let changed: Option<BTreeSet<&(Kind, String)>> = changed.map(Iterator::collect);
        let of = |kind: Kind| -> Option<Vec<&str>> {
            let names = changed.as_ref()?.iter().filter(|it| it.0 == kind);
            Some(names.map(|it| it.1.as_str()).collect())
        };
        for kind in Kind::ALL {
            self.additions(kind, view, of(kind), &mut responses);
        }
        for kind in Kind::ALL.into_iter().rev() {
            self.removals(kind, view, of(kind), &mut responses);
        }
        (self.has, self.wants_anew) = (Some(view.stamp()), false);
        for kind in Kind::ALL {
            if std::mem::take(&mut self.kinds[kind as usize].due) {
                self.respond(kind, view, Vec::new(), Vec::new(), &mut responses);
            }
        }
        self.pushed = view.version;
        responses
    }

    /// The version of the store that the proxy has answered for in full, be it with ACKs or NACKs.
    pub fn synced(&self) -> Option<u64> {
        (self.in_flight.is_empty() && self.pushed > 0).then_some(self.pushed)
    }

    /// The last version of the store that the proxy acknowledged, by kind.
    pub fn acked(&self) -> &BTreeMap<Kind, String> {
        &self.acked
    }

    /// What it refuses at present.
    pub fn nacks(&self) -> &[Nack] {
        &self.nacks
    }

    /// How many names it subscribes to, wildcards aside.
    pub fn names(&self) -> usize {
        self.kinds.iter().map(|kind| kind.names.len()).sum()
    }

    /// Notes an ACK or NACK.
    fn settle(&mut self, kind: Kind, request: &DeltaRequest) -> Vec<Nack> {
        let Some(answered) = self.in_flight.remove(&request.response_nonce) else { return Vec::new() };
        self.nacks.retain(|nack| nack.kind != kind || !answered.names.contains(&nack.name));
        let Some(error) = &request.error_detail else {
            self.acked.insert(answered.kind, answered.version);
            return Vec::new();
        };
        let refused: Vec<Nack> = error
            .message
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| parse_refusal(line, &answered))
            .collect();
        self.nacks.extend(refused.iter().cloned());
        refused
    }

    /// Sends what is new; only these names are looked at, if any are given.
    fn additions(
        &mut self,
        kind: Kind,
        view: &View,
        only: Option<Vec<&str>>,
        responses: &mut Vec<DeltaResponse>,
    ) {
        let subscription = &mut self.kinds[kind as usize];
        let mut resources = Vec::new();
        let mut bytes = 0;
        let mut batches = Vec::new();
        let some = only.iter().flatten().filter_map(|name| Some((*name, view.get(kind, name)?)));
        let all = only.is_none().then(|| view.all(kind)).into_iter().flatten();
        for (name, body) in some.chain(all) {
            let wanted = subscription.wildcard || subscription.names.contains(name);
            if !wanted || subscription.sent.get(name) == Some(&body.version) {
                continue;
            }
            if bytes > 0 && bytes + body.value.len() > limits::FEED_RESPONSE_BYTES {
                batches.push(std::mem::take(&mut resources));
                bytes = 0;
            }
            bytes += body.value.len();
            subscription.sent.insert(name.to_owned(), body.version.clone());
            resources.push(Resource {
                version: body.version.clone(),
                name: name.to_owned(),
                resource: Some(Any { type_url: kind.type_url().to_owned(), value: body.value.clone() }),
            });
        }
        if !resources.is_empty() {
            batches.push(resources);
        }
        for resources in batches {
            self.respond(kind, view, resources, Vec::new(), responses);
        }
    }

    /// Sends what is gone; only these names are looked at, if any are given.
    fn removals(
        &mut self,
        kind: Kind,
        view: &View,
        only: Option<Vec<&str>>,
        responses: &mut Vec<DeltaResponse>,
    ) {
        let subscription = &mut self.kinds[kind as usize];
        let only_new = only.is_none();
        let mut removed: Vec<String> = match only {
            Some(names) => {
                let had =
                    |name: &&str| subscription.sent.get(*name).is_some_and(|version| !version.is_empty());
                let gone = names.into_iter().filter(had).filter(|name| view.get(kind, name).is_none());
                gone.map(str::to_owned).collect()
            }
            None => {
                let had = subscription.sent.iter().filter(|(_, version)| !version.is_empty());
                had.map(|(name, _)| name).filter(|name| view.get(kind, name).is_none()).cloned().collect()
            }
        };
        // A name that does not exist is said to be absent once, so that the proxy need not wait for it.
        if only_new {
            removed.extend(
                subscription
                    .names
                    .iter()
                    .filter(|name| !subscription.sent.contains_key(*name) && view.get(kind, name).is_none())
                    .cloned(),
            );
        }
        if removed.is_empty() {
            return;
        }
        for name in &removed {
            if subscription.names.contains(name) {
                subscription.sent.insert(name.clone(), String::new());
            } else {
                subscription.sent.remove(name);
            }
        }
        removed.sort_unstable();
        self.nacks.retain(|nack| nack.kind != kind || removed.binary_search(&nack.name).is_err());
        self.respond(kind, view, Vec::new(), removed, responses);
    }

    fn respond(
        &mut self,
        kind: Kind,
        view: &View,
        resources: Vec<Resource>,
        removed: Vec<String>,
        responses: &mut Vec<DeltaResponse>,
    ) {
        self.nonce += 1;
        let (nonce, version) = (self.nonce.to_string(), view.version.to_string());
        let names = resources.iter().map(|resource| resource.name.clone()).collect();
        self.in_flight.insert(nonce.clone(), InFlight { kind, version: version.clone(), names });
        self.kinds[kind as usize].due = false;
        responses.push(DeltaResponse {
            system_version_info: version,
            resources,
            type_url: kind.type_url().to_owned(),
            nonce,
            removed_resources: removed,
        });
    }
}

/// Reads a line `<type> <name>: <reason>`. Names contain spaces nowhere and colons in places, so the name that was sent
/// decides where it ends.
fn parse_refusal(line: &str, answered: &InFlight) -> Nack {
    let rest = line.split_once(' ').map_or(line, |(_, rest)| rest);
    let named = answered
        .names
        .iter()
        .filter_map(|name| Some((name, rest.strip_prefix(name.as_str())?.strip_prefix(": ")?)))
        .max_by_key(|(name, _)| name.len());
    let (name, reason) = named.map_or((String::new(), line), |(name, reason)| (name.clone(), reason));
    Nack { kind: answered.kind, name, reason: reason.to_owned(), version: answered.version.clone() }
}
