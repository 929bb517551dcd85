//! Compiling a table beside the steward, so that its endpoints answer while it takes long.

use std::sync::Arc;

use dromon_core::config::compile::{self, Answers};
use dromon_core::config::snapshot::Snapshot;
use dromon_core::config::table::Table;
use tokio::sync::mpsc;

use crate::steward::event::Event;
use crate::tls::{Credentials, TlsTable};

/// All that a table is made of.
#[derive(Debug)]
pub struct Inputs {
    /// Its version.
    pub version: u64,
    /// The objects.
    pub snapshot: Snapshot,
    /// What DNS says.
    pub answers: Arc<Answers>,
    /// The proxy's own certificate, and what is remembered of handshakes.
    pub credentials: Credentials,
    /// The TLS side of the table before.
    pub tls_before: Arc<TlsTable>,
    /// The table before, whose unchanged parts are kept.
    pub before: Option<Arc<Table>>,
    /// The process's random number.
    pub seed: u64,
}

/// Compiles on a helper thread; the answer comes as [`Event::Compiled`].
pub fn start(inputs: Inputs, events: mpsc::Sender<Event>) {
    tokio::task::spawn_blocking(move || {
        let table = compile::compile(&compile::Inputs {
            version: inputs.version,
            snapshot: &inputs.snapshot,
            answers: &inputs.answers,
            previous: inputs.before.as_deref(),
            seed: inputs.seed,
        });
        let tls = Arc::new(TlsTable::build(&table, &inputs.credentials, &inputs.tls_before));
        // The steward may end while this runs.
        let _ = events.blocking_send(Event::Compiled { table, tls, answers: inputs.answers });
    });
}
