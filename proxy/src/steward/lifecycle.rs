//! Signals, and what else the process has of the system.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: drain and end; a second one: end at once.
    End {
        /// The signal's number.
        number: u8,
    },
    /// SIGHUP or SIGUSR1: open the access log anew.
    Reopen,
}

/// The signals that the steward listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    user: Stream,
}

impl Signals {
    /// Takes the signals over.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one. Losing the future loses nothing.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End { number: 15 },
            _ = self.interrupt.recv() => Signal::End { number: 2 },
            _ = self.hangup.recv() => Signal::Reopen,
            _ = self.user.recv() => Signal::Reopen,
        }
    }
}

/// A seed for this process, from the system's randomness by way of the standard library's hash keys.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
