//! What is counted of a request when it is over.

use std::sync::Arc;

use anyhow::{Context, Result};
use dromon_core::config::model::{Destination, Endpoint, Workload};
use dromon_core::exchange::Exchange;
use dromon_core::telemetry::{Record, Recorder, Sides};

/// A recorder, and the sides of a request that has been answered.
pub struct Account {
    recorder: Recorder,
    destination: Arc<Destination>,
    endpoint: Arc<Endpoint>,
}

impl Account {
    /// For requests that go where this one went.
    pub fn new(exchange: &Exchange) -> Result<Account> {
        let destination = exchange.destination().context("the request has no destination")?;
        let endpoint = exchange.endpoint().context("the request has no endpoint")?;
        Ok(Account {
            recorder: Recorder::new(Arc::new(Workload::default())),
            destination: Arc::clone(&destination.model),
            endpoint: Arc::clone(&endpoint.model),
        })
    }

    /// Counts one request as the proxy does: one more of its series, its sizes and its time in their histograms.
    pub fn record(&mut self) -> bool {
        self.recorder.record(&Record {
            sides: Sides {
                destination: Some(&self.destination),
                endpoint: Some(&self.endpoint),
                ..Sides::default()
            },
            response_code: 200,
            request_bytes: 350,
            response_bytes: 300,
            duration_ns: 250_000,
            ..Record::default()
        });
        true
    }
}
