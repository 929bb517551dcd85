//! A shard's counters and its access log.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::config::model::{AccessLog, Proxy};
use dromon_core::exchange::{Flags, RequestView};
use dromon_core::limits::{ACCESS_LOG_BATCH_BYTES, ACCESS_LOG_BATCH_MS};
use dromon_core::telemetry::{Details, Interval, LogFormat, Record, Recorder, ResponseView, Sides};

use super::flows::{Flow, Flows};
use super::state::Shard;
use crate::mailbox::FromShard;
use crate::sys::clock;

/// Counters and access log of one shard.
pub struct Telemetry {
    recorder: RefCell<Recorder>,
    flows: Flows,
    format: RefCell<Option<Rc<Format>>>,
    lines: RefCell<Vec<u8>>,
    flushing: Cell<bool>,
    silent: Cell<bool>,
}

/// An access log's format with the settings it was compiled from.
struct Format {
    settings: AccessLog,
    compiled: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry {
            recorder: RefCell::new(Recorder::new(Arc::default())),
            flows: Flows::default(),
            format: RefCell::default(),
            lines: RefCell::default(),
            flushing: Cell::new(false),
            silent: Cell::new(false),
        }
    }
}

impl Telemetry {
    /// A new table is in force.
    pub fn table_changed(&self, proxy: &Proxy) {
        self.recorder.borrow_mut().table_changed(&Arc::new(proxy.workload.clone()));
        let mut format = self.format.borrow_mut();
        let same = format.as_ref().map(|format| &format.settings) == proxy.access_log.as_ref();
        if !same {
            // A format that cannot be compiled was refused before it came here; without one there is no log.
            *format = proxy.access_log.as_ref().and_then(|settings| {
                let compiled = LogFormat::new(settings).ok()?;
                Some(Rc::new(Format { settings: settings.clone(), compiled }))
            });
        }
    }

    /// Counts no HTTP exchange from now on.
    pub fn silence(&self) {
        self.silent.set(true);
    }

    /// Whether nobody wants to know of an HTTP exchange.
    pub fn is_silent(&self) -> bool {
        self.silent.get() && !self.logs()
    }

    /// Counts an HTTP exchange.
    pub fn record(&self, record: &Record<'_>) {
        if !self.silent.get() {
            self.recorder.borrow_mut().record(record);
        }
    }

    /// Counts a TCP connection that was made, and from now on what it carries, until [`Telemetry::tcp_closed`].
    pub fn tcp_opened(&self, sides: &Sides<'_>) -> Rc<Flow> {
        self.recorder.borrow_mut().tcp_opened(sides);
        self.flows.open(sides)
    }

    /// Counts a TCP connection that ended, and the rest of its bytes.
    pub fn tcp_closed(&self, flow: &Rc<Flow>, flags: Flags) {
        self.flows.close(flow);
        let (received, sent) = flow.uncounted();
        self.recorder.borrow_mut().tcp_closed(&flow.sides(), flags, received, sent);
    }

    /// Counts a TCP connection that led nowhere.
    pub fn tcp_failed(&self, sides: &Sides<'_>, flags: Flags) {
        self.recorder.borrow_mut().tcp_failed(sides, flags);
    }

    /// Everything counted since the last time.
    pub fn take(&self) -> Interval {
        let mut recorder = self.recorder.borrow_mut();
        self.flows.count(&mut recorder);
        recorder.take()
    }

    /// Whether there is an access log.
    pub fn logs(&self) -> bool {
        self.format.borrow().is_some()
    }

    /// Writes a line of the access log; it leaves with others, soon.
    pub fn log<Q: RequestView, P: ResponseView>(
        &self,
        shard: &Rc<Shard>,
        record: &Record<'_>,
        request: &Q,
        response: &P,
        details: Details<'_>,
    ) {
        let Some(format) = self.format.borrow().clone() else { return };
        let start_unix_ns = clock::unix_ns().saturating_sub(record.duration_ns);
        let details = Details { start_unix_ns, ..details };
        let mut lines = self.lines.borrow_mut();
        format.compiled.render(record, &details, request, response, &mut lines);
        if lines.len() >= ACCESS_LOG_BATCH_BYTES {
            send(shard, &mut lines);
        } else if !self.flushing.replace(true) {
            let shard = shard.clone();
            monoio::spawn(async move {
                monoio::time::sleep(Duration::from_millis(ACCESS_LOG_BATCH_MS)).await;
                shard.telemetry.flushing.set(false);
                shard.telemetry.flush(&shard);
            });
        }
    }

    /// Sends the lines that wait.
    pub fn flush(&self, shard: &Shard) {
        send(shard, &mut self.lines.borrow_mut());
    }
}

/// A full mailbox means that the steward is behind: lines are dropped and counted rather than kept without bound.
fn send(shard: &Shard, lines: &mut Vec<u8>) {
    if lines.is_empty() {
        return;
    }
    let bytes = std::mem::take(lines);
    let length = bytes.len() as u64;
    if shard.outbox.try_send(FromShard::AccessLog(bytes)).is_err() {
        shard.gauges.access_log_dropped_bytes.add(length);
    }
}
