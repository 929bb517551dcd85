//! What the steward's helpers tell its control loop: the only way in.

use std::sync::Arc;

use dromon_core::config::compile::Answers;
use dromon_core::config::table::Table;
use dromon_core::config::wire::{DeltaRequest, DeltaResponse};
use tokio::sync::{mpsc, oneshot};

use super::certs;
use super::static_config::Loaded;
use crate::tls::TlsTable;

/// Something happened that the control loop decides about.
#[derive(Debug)]
pub enum Event {
    /// The feed's state or messages.
    Feed(FeedEvent),
    /// The configuration file was read.
    Static(Loaded),
    /// The workload's certificate was read.
    Certificates(certs::Loaded),
    /// DNS has a first or a different answer for a destination's name.
    NamesChanged,
    /// The helper thread has compiled a table.
    Compiled {
        /// The table.
        table: Arc<Table>,
        /// Its TLS side.
        tls: Arc<TlsTable>,
        /// The answers that it was made of.
        answers: Arc<Answers>,
    },
    /// The copy on disk is written, or why not.
    Saved(Result<(), String>),
    /// Somebody wants the numbers of all shards to be added to the totals; told when that is done.
    Scrape(oneshot::Sender<()>),
    /// Drain, without ending.
    Drain,
    /// Drain, then end.
    Quit,
}

/// What the feed's stream has to say. Streams count up, so that an answer to an old one is told apart.
#[derive(Debug)]
pub enum FeedEvent {
    /// A connection stands; what is put into `outbox` is sent on it.
    Up {
        /// Number of the stream.
        stream: u64,
        /// Requests to the controller.
        outbox: mpsc::UnboundedSender<DeltaRequest>,
    },
    /// Responses that arrived together.
    Responses {
        /// Number of the stream.
        stream: u64,
        /// In order of arrival.
        responses: Vec<DeltaResponse>,
    },
    /// The stream ended, or could not be opened.
    Down {
        /// Number of the stream.
        stream: u64,
        /// Why, for people.
        reason: String,
    },
}
