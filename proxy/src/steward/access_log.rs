//! Access-log lines on their way out: shards hand over batches, one thread writes them.
//!
//! The thread is the only one that a stalled disk or pipe can hold up. When it does not keep up, batches are dropped
//! and counted. It starts with the first batch, so a proxy without an access log has no such thread.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use dromon_core::limits::ACCESS_LOG_BATCHES_MAX;

use super::log::Log;

/// The thread's stack, in bytes: it only writes.
const STACK_BYTES: usize = 128 * 1024;

enum Order {
    Write(Vec<u8>),
    Reopen,
}

/// Takes batches and never waits.
#[derive(Debug)]
pub struct AccessLog {
    path: String,
    log: Log,
    orders: Option<SyncSender<Order>>,
    dropped_bytes: Arc<AtomicU64>,
}

impl AccessLog {
    /// Writes nothing until it has a path.
    pub fn new(log: Log) -> AccessLog {
        AccessLog { path: String::new(), log, orders: None, dropped_bytes: Arc::default() }
    }

    /// Lines go there from now on: `/dev/stdout`, `/dev/stderr` or a file that is appended to. Empty: nowhere.
    pub fn set_path(&mut self, path: &str) {
        if path != self.path {
            path.clone_into(&mut self.path);
            self.orders = None;
        }
    }

    /// Hands lines over.
    pub fn write(&mut self, lines: Vec<u8>) {
        if self.path.is_empty() {
            return;
        }
        if self.orders.is_none() {
            self.orders = self.start();
        }
        let len = lines.len() as u64;
        let taken = match &self.orders {
            Some(orders) => match orders.try_send(Order::Write(lines)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => false,
                Err(TrySendError::Disconnected(_)) => {
                    self.orders = None;
                    false
                }
            },
            None => false,
        };
        if !taken {
            self.dropped_bytes.fetch_add(len, Ordering::Relaxed);
        }
    }

    /// Opens the file anew, after it was moved away by log rotation.
    pub fn reopen(&self) {
        if let Some(orders) = &self.orders {
            // A full queue means a stalled sink; its next write after the stall still goes to the old file.
            let _ = orders.try_send(Order::Reopen);
        }
    }

    /// Bytes that could not be written.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes.load(Ordering::Relaxed)
    }

    fn start(&self) -> Option<SyncSender<Order>> {
        let (orders, inbox) = sync_channel(ACCESS_LOG_BATCHES_MAX);
        let (path, log, dropped) = (self.path.clone(), self.log, self.dropped_bytes.clone());
        let thread = std::thread::Builder::new().name("access-log".into()).stack_size(STACK_BYTES);
        match thread.spawn(move || write_all(&path, log, &inbox, &dropped)) {
            Ok(_) => Some(orders),
            Err(error) => {
                self.log.error(format_args!("access log: no thread to write it: {error}"));
                None
            }
        }
    }
}

fn write_all(path: &str, log: Log, inbox: &Receiver<Order>, dropped: &AtomicU64) {
    let mut sink: Option<Box<dyn Write>> = None;
    let mut failing = false;
    while let Ok(order) = inbox.recv() {
        let lines = match order {
            Order::Reopen => {
                sink = None;
                continue;
            }
            Order::Write(lines) => lines,
        };
        let written = match &mut sink {
            Some(sink) => sink.write_all(&lines),
            None => open(path).and_then(|mut opened| {
                let written = opened.write_all(&lines);
                sink = Some(opened);
                written
            }),
        };
        match written {
            Ok(()) => failing = false,
            Err(error) => {
                dropped.fetch_add(lines.len() as u64, Ordering::Relaxed);
                sink = None;
                if !failing {
                    log.error(format_args!(
                        "access log {path}: {error}; lines are dropped until it can be written"
                    ));
                }
                failing = true;
            }
        }
    }
}

fn open(path: &str) -> io::Result<Box<dyn Write>> {
    match path {
        "/dev/stdout" => Ok(Box::new(Unbuffered(io::stdout()))),
        "/dev/stderr" => Ok(Box::new(io::stderr())),
        _ => {
            let file: File = OpenOptions::new().create(true).append(true).open(path)?;
            Ok(Box::new(file))
        }
    }
}

/// Standard output without its line buffer: a batch goes out whole.
struct Unbuffered(io::Stdout);

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.0.flush()?;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests;
