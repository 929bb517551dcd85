//! One stream of the feed as a state machine without I/O: what to ask, what an answer means, what to acknowledge.
//!
//! The protocol is incremental xDS: every request is about one type; a response carries a nonce that exactly one later
//! request of that type echoes, alone (ACK) or with an error (NACK). Names are subscribed and unsubscribed by difference.
//! Source: the delta variant in Envoy's "xDS REST and gRPC protocol".

use std::collections::{BTreeSet, HashMap};

use dromon_core::config::model::Kind;
use dromon_core::config::snapshot::{Rejection, Update};
use dromon_core::config::wire::{DeltaRequest, DeltaResponse, Node, Status};

use super::interest::{Interest, Wanted};

/// gRPC code of a NACK: `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;

/// One stream's state: what has been subscribed on it.
#[derive(Debug)]
pub struct Session {
    subscribed: [BTreeSet<String>; Kind::ALL.len()],
}

/// What a response says, decoded.
#[derive(Debug)]
pub struct Response {
    /// The type it is about.
    pub kind: Kind,
    /// To be echoed once.
    pub nonce: String,
    /// The controller's version, for people.
    pub system_version: String,
    /// New and changed objects that could be read.
    pub changed: Vec<Update>,
    /// Names that are gone or never were.
    pub removed: Vec<String>,
    /// Objects that could not be read.
    pub unreadable: Vec<Rejection>,
}

impl Session {
    /// A new stream and its first requests: everything wanted, with the versions in hand so that only differences travel.
    pub fn open(
        node_id: &str,
        interest: &Interest,
        versions: impl Fn(Kind) -> Vec<(String, String)>,
    ) -> (Session, Vec<DeltaRequest>) {
        let mut session = Session { subscribed: Default::default() };
        let mut node = Some(Node { id: node_id.to_owned(), cluster: String::new() });
        let mut requests = Vec::new();
        for kind in Kind::ALL {
            let names = wanted_names(interest.wanted(kind));
            let in_hand: HashMap<String, String> =
                versions(kind).into_iter().filter(|(name, _)| interest.wanted(kind).covers(name)).collect();
            if names.is_empty() {
                continue;
            }
            session.subscribed[kind as usize] = names.clone();
            requests.push(DeltaRequest {
                node: node.take(),
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: names.into_iter().collect(),
                initial_resource_versions: in_hand,
                ..DeltaRequest::default()
            });
        }
        (session, requests)
    }

    /// The requests that bring the stream's subscriptions to what is wanted now.
    pub fn subscribe(&mut self, interest: &Interest) -> Vec<DeltaRequest> {
        let mut requests = Vec::new();
        for kind in Kind::ALL {
            let names = wanted_names(interest.wanted(kind));
            let before = &mut self.subscribed[kind as usize];
            let request = DeltaRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: names.difference(before).cloned().collect(),
                resource_names_unsubscribe: before.difference(&names).cloned().collect(),
                ..DeltaRequest::default()
            };
            if !request.resource_names_subscribe.is_empty() || !request.resource_names_unsubscribe.is_empty()
            {
                requests.push(request);
            }
            *before = names;
        }
        requests
    }
}

fn wanted_names(wanted: &Wanted) -> BTreeSet<String> {
    match wanted {
        Wanted::All => BTreeSet::from(["*".to_owned()]),
        Wanted::Named(names) => names.clone(),
    }
}

/// Reads a response. An unknown type yields its nonce and type URL, to be refused.
pub fn read(response: DeltaResponse) -> Result<Response, Box<DeltaRequest>> {
    let Some(kind) = Kind::from_type_url(&response.type_url) else {
        let message = format!("{}: this proxy knows no such type", response.type_url);
        return Err(Box::new(refuse_type(response.type_url, response.nonce, message)));
    };
    let mut read = Response {
        kind,
        nonce: response.nonce,
        system_version: response.system_version_info,
        changed: Vec::with_capacity(response.resources.len()),
        removed: response.removed_resources,
        unreadable: Vec::new(),
    };
    for resource in response.resources {
        let body = resource.resource.as_ref().map(|any| any.value.as_ref()).unwrap_or_default();
        match Update::decode(kind, &resource.name, &resource.version, body) {
            Ok(update) => read.changed.push(update),
            Err(rejection) => read.unreadable.push(rejection),
        }
    }
    Ok(read)
}

/// The ACK of a response.
pub fn acknowledge(kind: Kind, nonce: String) -> DeltaRequest {
    DeltaRequest { type_url: kind.type_url().to_owned(), response_nonce: nonce, ..DeltaRequest::default() }
}

/// The NACK of a response: one line for each refused object.
pub fn refuse(kind: Kind, nonce: String, lines: &[String]) -> DeltaRequest {
    refuse_type(kind.type_url().to_owned(), nonce, lines.join("\n"))
}

fn refuse_type(type_url: String, response_nonce: String, message: String) -> DeltaRequest {
    DeltaRequest {
        type_url,
        response_nonce,
        error_detail: Some(Status { code: INVALID_ARGUMENT, message }),
        ..DeltaRequest::default()
    }
}

/// One line of a NACK: `<type> <name>: <reason> (from <origins>)`.
pub fn line(rejection: &Rejection) -> String {
    let line = rejection.to_string().replace('\n', "; ");
    match rejection.origins.as_slice() {
        [] => line,
        origins => format!("{line} (from {})", origins.join(", ")),
    }
}

#[cfg(test)]
mod tests;
