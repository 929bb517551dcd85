//! What one proxy's stream has asked for, has been sent and has acknowledged: a state machine without I/O.
//!
//! Additions travel in the order of [`Kind::ALL`], so that what is referred to arrives before what refers to it;
//! removals travel after them and in reverse order, for the same reason.
//!
//! What a proxy has is not written down name by name: it is the view that it was brought to last, which all proxies of its class
//! share, but for names that it has asked for since.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dromon_core::config::model::Kind;
use dromon_core::config::wire::{Any, DeltaRequest, DeltaResponse, Resource};
use dromon_core::limits;

use super::view::{View, version_of};

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
    has: Option<Arc<View>>,
    /// It wants other names than when that was.
    wants_anew: bool,
}

/// What is subscribed of one kind.
#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// Names asked for since the proxy was last brought to a view, or told then as those that it has: their versions.
    anew: HashMap<String, Option<u64>>,
    /// All were asked for since then.
    wildcard_anew: bool,
    seen: bool,
    /// The next response is due even when there is nothing to say: it tells the proxy that it has everything.
    due: bool,
}

/// What a proxy has of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    /// It has to be told.
    Unknown,
    /// It knows that there is nothing.
    Nothing,
    /// This version.
    Version(u64),
}

impl Subscription {
    fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// What the proxy has of a name that it wants, if `before` is the view that it was brought to last.
    fn has(&self, kind: Kind, name: &str, before: Option<&View>) -> Has {
        if let Some(known) = self.anew.get(name) {
            return known.map_or(Has::Unknown, Has::Version);
        }
        let was_wanted = (self.wildcard && !self.wildcard_anew) || self.names.contains(name);
        match before.filter(|_| was_wanted) {
            None => Has::Unknown,
            Some(before) => before.get(kind, name).map_or(Has::Nothing, |body| Has::Version(body.version)),
        }
    }
}

/// A response that is neither acknowledged nor refused yet.
#[derive(Debug)]
struct InFlight {
    kind: Kind,
    version: String,
    names: Vec<Arc<str>>,
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
            subscription.anew.remove(&name);
        }
        for name in request.resource_names_subscribe {
            if name == "*" {
                subscription.wildcard_anew |= !subscription.wildcard;
                subscription.wildcard = true;
                subscription.due = true;
            } else {
                // Subscribing again asks for the resource again, even when it is unchanged.
                subscription.anew.insert(name.clone(), None);
                subscription.names.insert(name);
            }
        }
        if first {
            subscription.due |= !subscription.names.is_empty();
            for (name, version) in request.initial_resource_versions {
                if subscription.wants(&name) {
                    // One that is none of ours differs from all.
                    subscription.anew.insert(name, Some(version_of(&version).unwrap_or_default()));
                }
            }
        }
        if self.kinds.iter().map(|kind| kind.names.len()).sum::<usize>() > limits::FEED_NAMES_MAX {
            return Err(Refused::TooManyNames);
        }
        Ok(refused)
    }

    /// Everything that brings the proxy from what it has to `view`, in the order in which it has to travel.
    pub fn push(&mut self, view: &Arc<View>) -> Vec<DeltaResponse> {
        let mut responses = Vec::new();
        let before = self.has.replace(view.clone());
        let known = before.as_ref().filter(|_| !self.wants_anew);
        let changed = known.and_then(|before| view.changes_since(before.stamp()));
        let changed: Option<BTreeSet<&(Kind, Arc<str>)>> = changed.map(Iterator::collect);
        let of = |kind: Kind| -> Option<Vec<&str>> {
            if known.is_some_and(|before| view.is_same_of(kind, before)) {
                return Some(Vec::new());
            }
            let names = changed.as_ref()?.iter().filter(|it| it.0 == kind);
            Some(names.map(|it| &*it.1).collect())
        };
        let before = before.as_deref();
        for kind in Kind::ALL {
            self.additions(kind, (before, view), of(kind), &mut responses);
        }
        for kind in Kind::ALL.into_iter().rev() {
            self.removals(kind, (before, view), of(kind), &mut responses);
        }
        self.wants_anew = false;
        for kind in Kind::ALL {
            let subscription = &mut self.kinds[kind as usize];
            subscription.anew = HashMap::new();
            subscription.wildcard_anew = false;
            if std::mem::take(&mut subscription.due) {
                self.respond(kind, view, Default::default(), Vec::new(), &mut responses);
            }
        }
        self.pushed = view.version;
        responses
    }

    /// Whether anything would be sent to bring the proxy to `view`; if not, it is there from now on.
    pub fn is_at(&mut self, view: &Arc<View>) -> bool {
        let is_due = self.kinds.iter().any(|it| it.due);
        let Some(before) = self.has.as_ref().filter(|_| !self.wants_anew && !is_due) else { return false };
        let Some(mut changed) = view.changes_since(before.stamp()) else { return false };
        if changed.any(|(kind, name)| self.kinds[*kind as usize].wants(name)) {
            return false;
        }
        self.has = Some(view.clone());
        self.pushed = view.version;
        true
    }

    /// Whether the proxy has everything that it asked for, the index included, and has said so.
    pub fn has_index(&self) -> bool {
        let index = &self.kinds[Kind::Host as usize];
        index.seen && !index.wildcard_anew && self.has.is_some() && self.in_flight.is_empty()
    }

    /// Whether the proxy has answered for everything that it was sent.
    pub fn is_answered(&self) -> bool {
        self.in_flight.is_empty()
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
        self.nacks.retain(|nack| nack.kind != kind || !answered.names.iter().any(|it| **it == *nack.name));
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
        (before, view): (Option<&View>, &View),
        only: Option<Vec<&str>>,
        responses: &mut Vec<DeltaResponse>,
    ) {
        let subscription = &self.kinds[kind as usize];
        let mut resources = Vec::new();
        let mut names = Vec::new();
        let mut bytes = 0;
        let mut batches = Vec::new();
        let (is_all, is_some) = (only.is_none() && subscription.wildcard, only.is_some());
        let some = only.iter().flatten().copied();
        let named = (!is_all && !is_some).then(|| subscription.names.iter().map(String::as_str));
        let some = some.chain(named.into_iter().flatten()).filter_map(|name| view.entry(kind, name));
        let all = is_all.then(|| view.entries(kind)).into_iter().flatten();
        for (name, body) in some.chain(all) {
            let has = || subscription.has(kind, name, before);
            if !subscription.wants(name) || has() == Has::Version(body.version) {
                continue;
            }
            if bytes > 0 && bytes + body.value.len() > limits::FEED_RESPONSE_BYTES {
                batches.push((std::mem::take(&mut resources), std::mem::take(&mut names)));
                bytes = 0;
            }
            bytes += body.value.len();
            names.push(name.clone());
            resources.push(Resource {
                version: body.tag(),
                name: (**name).to_owned(),
                resource: Some(Any { type_url: kind.type_url().to_owned(), value: body.value.clone() }),
            });
        }
        if !resources.is_empty() {
            batches.push((resources, names));
        }
        for batch in batches {
            self.respond(kind, view, batch, Vec::new(), responses);
        }
    }

    /// Sends what is gone; only these names are looked at, if any are given.
    fn removals(
        &mut self,
        kind: Kind,
        (before, view): (Option<&View>, &View),
        only: Option<Vec<&str>>,
        responses: &mut Vec<DeltaResponse>,
    ) {
        let subscription = &self.kinds[kind as usize];
        let only_new = only.is_none();
        let has = |name: &str| subscription.has(kind, name, before);
        let is_gone = |name: &&str| {
            subscription.wants(name) && matches!(has(name), Has::Version(_)) && view.get(kind, name).is_none()
        };
        let mut removed: BTreeSet<String> = match only {
            Some(names) => names.into_iter().filter(is_gone).map(str::to_owned).collect(),
            None => {
                let known = before.into_iter().flat_map(|it| it.all(kind)).map(|(name, _)| name);
                let told = subscription.anew.keys().map(String::as_str);
                known.chain(told).filter(is_gone).map(str::to_owned).collect()
            }
        };
        // A name that does not exist is said to be absent once, so that the proxy need not wait for it.
        if only_new {
            let is_new = |name: &&String| has(name) == Has::Unknown && view.get(kind, name).is_none();
            removed.extend(subscription.names.iter().filter(is_new).cloned());
        }
        if removed.is_empty() {
            return;
        }
        let removed: Vec<String> = removed.into_iter().collect();
        self.nacks.retain(|nack| nack.kind != kind || removed.binary_search(&nack.name).is_err());
        self.respond(kind, view, Default::default(), removed, responses);
    }

    fn respond(
        &mut self,
        kind: Kind,
        view: &View,
        (resources, names): (Vec<Resource>, Vec<Arc<str>>),
        removed: Vec<String>,
        responses: &mut Vec<DeltaResponse>,
    ) {
        self.nonce += 1;
        let (nonce, version) = (self.nonce.to_string(), view.version.to_string());
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
        .filter_map(|name| Some((name, rest.strip_prefix(&**name)?.strip_prefix(": ")?)))
        .max_by_key(|(name, _)| name.len());
    let (name, reason) = named.map_or((String::new(), line), |(name, reason)| (name.to_string(), reason));
    Nack { kind: answered.kind, name, reason: reason.to_owned(), version: answered.version.clone() }
}
