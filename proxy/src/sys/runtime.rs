//! A shard's runtime, on the best driver that this machine really gives.
//!
//! Containers, seccomp profiles and a small memory-lock limit refuse io_uring in ways that a version check does not see,
//! so the ring is built, in the thread that will use it, and what it says decides. Measured here: a plain ring costs a
//! quarter more per request than one with deferred or cooperative task work, so those are tried first.

use std::future::Future;
use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};
use thiserror::Error;

use crate::mailbox::DriverReport;
use dromon_core::settings::Driver;

/// Entries of the submission queue.
const RING_ENTRIES: u32 = 1024;

/// No driver could be built.
#[derive(Debug, Error)]
#[error("no I/O driver can be built: {0}")]
pub struct NoDriver(String);

/// A runtime that has not started.
pub enum ShardRuntime {
    /// On io_uring.
    Ring(Runtime<TimeDriver<IoUringDriver>>),
    /// On epoll.
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

impl ShardRuntime {
    /// Builds the runtime for the calling thread, which must be the one that runs it: a single-issuer ring belongs to
    /// the thread that made it.
    pub fn build(wanted: Driver) -> Result<(ShardRuntime, DriverReport), NoDriver> {
        let mut refused = String::new();
        if wanted != Driver::Epoll {
            for (name, tune) in FLAVOURS {
                match ring(tune) {
                    Ok(runtime) => {
                        return Ok((
                            ShardRuntime::Ring(runtime),
                            DriverReport { driver: name, reason: refused },
                        ));
                    }
                    Err(error) => note(&mut refused, name, &error),
                }
            }
        }
        if wanted == Driver::IoUring {
            return Err(NoDriver(refused));
        }
        if wanted == Driver::Epoll {
            refused.push_str("asked for on the command line");
        }
        match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
            Ok(runtime) => {
                Ok((ShardRuntime::Epoll(runtime), DriverReport { driver: "epoll", reason: refused }))
            }
            Err(error) => {
                note(&mut refused, "epoll", &error);
                Err(NoDriver(refused))
            }
        }
    }

    /// Runs `future` to its end.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match self {
            ShardRuntime::Ring(runtime) => runtime.block_on(future),
            ShardRuntime::Epoll(runtime) => runtime.block_on(future),
        }
    }

    /// Whether sockets must not block, as epoll needs it; a ring wants the opposite, else it answers `EAGAIN` rather
    /// than wait.
    pub fn wants_nonblocking(&self) -> bool {
        matches!(self, ShardRuntime::Epoll(_))
    }
}

type Tune = fn(&mut io_uring::Builder);

/// From best to worst.
const FLAVOURS: [(&str, Tune); 3] = [
    ("io_uring+defer", |builder| {
        builder.setup_single_issuer().setup_defer_taskrun();
    }),
    ("io_uring+coop", |builder| {
        builder.setup_coop_taskrun();
    }),
    ("io_uring", |_| ()),
];

fn ring(tune: Tune) -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut builder = io_uring::IoUring::builder();
    tune(&mut builder);
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .uring_builder(builder)
        .enable_timer()
        .build()
}

fn note(refused: &mut String, name: &str, error: &io::Error) {
    if !refused.is_empty() {
        refused.push_str("; ");
    }
    refused.push_str(&format!("{name}: {error}"));
}
