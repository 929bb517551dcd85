//! Compiling a table beside the steward, so that its endpoints answer while it takes long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dromon_core::config::model::{Kind, Resource};
use dromon_core::config::table::{ListenerTable, Table};
use tokio::sync::mpsc;

use crate::steward::event::Event;

/// What DNS says of the names of destinations' endpoints.
pub type Answers = BTreeMap<String, Vec<IpAddr>>;

/// All that a table is made of.
#[derive(Debug)]
pub struct Inputs {
    /// Its version.
    pub version: u64,
    /// The objects.
    pub objects: Vec<Arc<Resource>>,
    /// Nothing more will come: what is missing does not exist.
    pub complete: bool,
    /// Names that do not exist although they were asked for.
    pub absent: Vec<(Kind, String)>,
    /// What DNS says.
    pub answers: Arc<Answers>,
    /// The table before, whose unchanged parts are kept.
    pub before: Option<Arc<Table>>,
}

/// A table, or why there is none; and the objects that could not become part of it.
#[derive(Debug)]
pub struct Compiled {
    /// The table without the refused objects.
    pub table: Result<Arc<Table>, String>,
    /// What was refused.
    pub refused: Vec<Refusal>,
}

/// An object that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// The rules that it was made of.
    pub origins: Vec<String>,
}

/// Compiles on a helper thread; the answer comes as [`Event::Compiled`].
pub fn start(inputs: Inputs, events: mpsc::Sender<Event>) {
    tokio::task::spawn_blocking(move || {
        let compiled = Box::new(compile(&inputs));
        // The steward may end while this runs.
        let _ = events.blocking_send(Event::Compiled(compiled));
    });
}

fn compile(inputs: &Inputs) -> Compiled {
    let proxy = inputs.objects.iter().find_map(|object| match &**object {
        Resource::Proxy(proxy) => Some(Arc::new(proxy.clone())),
        _ => None,
    });
    let table = match proxy {
        Some(proxy) => {
            let listeners = proxy.listeners.iter().map(|listener| ListenerTable { model: listener.clone() });
            Ok(Arc::new(Table {
                version: inputs.version,
                listeners: listeners.map(Arc::new).collect(),
                proxy,
            }))
        }
        None => Err("the configuration has no Proxy object".into()),
    };
    Compiled { table, refused: Vec::new() }
}
