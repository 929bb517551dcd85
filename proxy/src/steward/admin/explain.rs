//! `/explain`: which rule of the table in force would take a request, and why the earlier ones would not.

use std::net::{Ipv4Addr, SocketAddr};

use dromon_core::config::describe::{Explanation, Sample, explain};
use dromon_core::config::model::ListenerKind;
use dromon_core::config::table::Table;
use dromon_core::exchange::Arrival;
use dromon_core::time::Tick;
use serde::Deserialize;

/// What is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Question {
    /// The listener that the request arrives at; unless given, a sidecar's outbound one, or the one of a gateway that has
    /// the port.
    listener: Option<String>,
    /// A port of the listener: the one that is open, or the one that rules name.
    port: Option<u16>,
    /// Where the client was connecting to.
    original_destination: Option<SocketAddr>,
    #[serde(flatten)]
    sample: Sample,
}

/// Answers a question in JSON.
///
/// # Errors
/// The question cannot be read, or names no listener; in words for its asker.
pub fn answer(table: &Table, question: &[u8]) -> Result<Explanation, String> {
    let question: Question =
        serde_json::from_slice(question).map_err(|error| format!("the question cannot be read: {error}"))?;
    let listener = listener(table, &question)?;
    let is_outbound = table
        .proxy
        .listeners
        .get(listener)
        .is_some_and(|listener| matches!(listener.kind, ListenerKind::Outbound));
    let arrival = Arrival {
        listener,
        arrived: Tick::default(),
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        original_destination: question.original_destination,
        absolute_form: is_outbound && question.original_destination.is_none(),
        has_body: false,
        upgrade: false,
        shard: 0,
        server_tls: None,
    };
    Ok(explain(table, &arrival, &question.sample))
}

fn listener(table: &Table, question: &Question) -> Result<usize, String> {
    let listeners = &table.proxy.listeners;
    let names = || listeners.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &question.listener {
        let found = listeners.iter().position(|it| it.name == *name);
        return found.ok_or_else(|| format!("no listener {name}; there are: {}", names()));
    }
    if let Some(outbound) = listeners.iter().position(|it| matches!(it.kind, ListenerKind::Outbound)) {
        return Ok(outbound);
    }
    let by_port = question.port.and_then(|port| {
        let open = listeners.iter().position(|it| it.address.port() == port);
        open.or_else(|| listeners.iter().position(|it| it.logical_port == port))
    });
    match (by_port, listeners.len()) {
        (Some(listener), _) => Ok(listener),
        // A URL without a port says nothing of where the request arrives.
        (None, 1) if question.port.is_none_or(|port| port == 80) => Ok(0),
        (None, _) => {
            let asked =
                question.port.map_or_else(String::new, |port| format!("no listener has port {port}: "));
            Err(format!("{asked}say which listener the request arrives at; there are: {}", names()))
        }
    }
}
