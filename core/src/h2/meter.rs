//! What a peer may cost before it is one: budgets on frames, as the known abuses of HTTP/2 spend them.
//!
//! The `h2` crate keeps to the protocol and bounds memory; work that a peer causes within the protocol it does not bound. A
//! [`Meter`] sees every inbound byte before `h2` does and reads frame heads only. Once a budget is spent the connection
//! is told ENHANCE_YOUR_CALM and closed. Budgets of a second count in windows of a second; those of a life grow with
//! what the connection has been good for, so a long-lived connection of a proper peer never spends one.

use thiserror::Error;

use crate::limits::{
    H2_CONTINUATIONS_MAX, H2_EMPTY_DATA_PER_S_MAX, H2_HEADER_BLOCK_MS, H2_OTHER_FRAMES_PER_S_MAX,
    H2_PING_CREDIT_MAX, H2_PINGS_PER_S_MAX, H2_PRIORITY_PER_STREAM_MAX, H2_RESET_CREDIT_MAX, H2_RESETS_MAX,
    H2_RESETS_PER_S_MAX, H2_RESETS_UNANSWERED_MIN, H2_SETTINGS_PER_S_MAX, H2_STREAM_ERRORS_MAX,
    H2_WINDOW_UPDATES_PER_DATA_MAX,
};
use crate::time::Tick;

/// What a client sends first (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113, 4.1.
const HEAD_BYTES: usize = 9;
const SECOND_NS: u64 = 1_000_000_000;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Which budget was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Trip {
    /// Streams opened and reset at once (CVE-2023-44487).
    #[error("rapid reset")]
    RapidReset,
    /// Stream errors that this side was made to answer (CVE-2025-8671).
    #[error("stream errors provoked")]
    StreamErrors,
    /// A header block in too many frames (CVE-2024-27316).
    #[error("CONTINUATION flood")]
    Continuations,
    /// A header block that does not end in time.
    #[error("header block too slow")]
    SlowHeaders,
    /// CVE-2019-9515.
    #[error("SETTINGS flood")]
    Settings,
    /// CVE-2019-9512.
    #[error("PING flood")]
    Pings,
    /// CVE-2019-9518.
    #[error("empty DATA flood")]
    EmptyData,
    /// CVE-2019-9513.
    #[error("PRIORITY flood")]
    Priorities,
    /// CVE-2019-9511.
    #[error("WINDOW_UPDATE flood")]
    WindowUpdates,
    /// Frames of unknown kinds, which cost and do nothing.
    #[error("flood of unknown frames")]
    Others,
}

impl Trip {
    /// A stable name: a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Trip::RapidReset => "rapid_reset",
            Trip::StreamErrors => "stream_errors",
            Trip::Continuations => "continuations",
            Trip::SlowHeaders => "slow_headers",
            Trip::Settings => "settings",
            Trip::Pings => "pings",
            Trip::EmptyData => "empty_data",
            Trip::Priorities => "priorities",
            Trip::WindowUpdates => "window_updates",
            Trip::Others => "unknown_frames",
        }
    }
}

/// A budget of a second.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    since: Tick,
    count: u32,
}

impl Rate {
    /// Counts one; false beyond `most` in a second.
    fn spend(&mut self, most: u32, now: Tick) -> bool {
        if now.0.saturating_sub(self.since.0) >= SECOND_NS {
            *self = Rate { since: now, count: 0 };
        }
        self.count += 1;
        self.count <= most
    }
}

/// Meters the frames that one peer sends.
#[derive(Debug, Default)]
pub struct Meter {
    /// The peer is a server: it resets streams that this side has opened, which costs it nobody's work.
    of_upstream: bool,
    /// The peer's SETTINGS have come, with all that must come before them.
    greeted: bool,
    /// The payload under way is that of SETTINGS.
    settings_end: bool,
    /// Bytes of the preface still to come.
    preface_left: usize,
    head: [u8; HEAD_BYTES],
    head_filled: usize,
    /// Bytes of the current frame's payload still to come.
    payload_left: usize,
    /// The payload under way ends its header block.
    block_ends: bool,
    /// When the header block under way must have ended.
    block_by: Option<Tick>,
    continuations: u32,
    streams: u64,
    resets: u64,
    resets_unanswered: u64,
    stream_errors: u32,
    priorities: u64,
    window_updates: u64,
    data_sent: u64,
    /// DATA frames sent that no ping beyond the budget of a second was set against.
    ping_credit: u64,
    /// Streams answered that no reset beyond the budget of a second was set against.
    reset_credit: u64,
    answered: u64,
    reset_rate: Rate,
    setting_rate: Rate,
    ping_rate: Rate,
    empty_rate: Rate,
    other_rate: Rate,
}

impl Meter {
    /// For what a client sends, its preface first.
    pub fn of_client() -> Meter {
        Meter { preface_left: PREFACE.len(), ..Meter::default() }
    }

    /// For what an upstream sends. Its resets are no abuse: each ends a stream that this side has opened.
    pub fn of_upstream() -> Meter {
        Meter { of_upstream: true, ..Meter::default() }
    }

    /// All has come that a connection begins with: the preface and SETTINGS (RFC 9113, 3.4).
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Header blocks that have begun: requests, and trailers.
    pub fn blocks(&self) -> u64 {
        self.streams
    }

    /// Looks at bytes as they come. How many of them may be acted on, and the budget that the frame behind them spent.
    pub fn inspect(&mut self, bytes: &[u8], now: Tick) -> (usize, Result<(), Trip>) {
        let mut rest = skip(bytes, &mut self.preface_left);
        loop {
            rest = skip(rest, &mut self.payload_left);
            if self.payload_left == 0 {
                self.greeted |= std::mem::take(&mut self.settings_end);
                if std::mem::take(&mut self.block_ends) {
                    self.block_by = None;
                }
            }
            if rest.is_empty() {
                return (bytes.len(), self.check_time(now));
            }
            let good = bytes.len() - rest.len();
            let Some(place) = self.head.get_mut(self.head_filled..) else { return (good, Ok(())) };
            let count = place.len().min(rest.len());
            for (to, from) in place.iter_mut().zip(rest) {
                *to = *from;
            }
            self.head_filled += count;
            rest = rest.get(count..).unwrap_or_default();
            if self.head_filled == HEAD_BYTES {
                self.head_filled = 0;
                if let Err(trip) = self.frame(now) {
                    return (good, Err(trip));
                }
            }
        }
    }

    /// When the header block under way must have ended; [`Tick::NEVER`] while there is none.
    pub fn deadline(&self) -> Tick {
        self.block_by.unwrap_or(Tick::NEVER)
    }

    /// Whether the time has come that [`Meter::deadline`] told.
    ///
    /// # Errors
    /// [`Trip::SlowHeaders`].
    pub fn check_time(&self, now: Tick) -> Result<(), Trip> {
        if now >= self.deadline() { Err(Trip::SlowHeaders) } else { Ok(()) }
    }

    /// This side has sent a DATA frame, which the peer may answer by WINDOW_UPDATE, and by a PING where it measures the
    /// path (gRPC's estimate of bandwidth and delay).
    pub fn data_sent(&mut self) {
        self.data_sent += 1;
        self.ping_credit = (self.ping_credit + 1).min(H2_PING_CREDIT_MAX);
    }

    /// This side has begun to answer a stream. A connection may carry many callers, some of whom give up at once: for what
    /// was answered, as many resets more are no abuse.
    pub fn answered(&mut self) {
        self.answered += 1;
        self.reset_credit = (self.reset_credit + 1).min(H2_RESET_CREDIT_MAX);
    }

    /// The peer has reset a stream before it had an answer.
    ///
    /// # Errors
    /// [`Trip::RapidReset`] once those are many and more than half of the streams.
    pub fn reset_unanswered(&mut self) -> Result<(), Trip> {
        self.resets_unanswered += 1;
        let many = self.resets_unanswered > H2_RESETS_UNANSWERED_MIN;
        if many && self.resets_unanswered * 2 > self.streams { Err(Trip::RapidReset) } else { Ok(()) }
    }

    /// This side has answered a stream with an error of the peer's making.
    ///
    /// # Errors
    /// [`Trip::StreamErrors`].
    pub fn stream_error(&mut self) -> Result<(), Trip> {
        self.stream_errors += 1;
        if self.stream_errors > H2_STREAM_ERRORS_MAX { Err(Trip::StreamErrors) } else { Ok(()) }
    }

    /// A frame's head is complete.
    fn frame(&mut self, now: Tick) -> Result<(), Trip> {
        let [high, mid, low, kind, flags, ..] = self.head;
        let length = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
        self.payload_left = length;
        let within = |good: bool, trip: Trip| if good { Ok(()) } else { Err(trip) };
        match kind {
            // DATA
            0 if length == 0 && flags & END_STREAM == 0 => {
                within(self.empty_rate.spend(H2_EMPTY_DATA_PER_S_MAX, now), Trip::EmptyData)
            }
            0 => Ok(()),
            // HEADERS
            1 => {
                // One within a stream is its trailers; no stream has more than two, so the budget grows by half at most.
                self.streams += 1;
                self.continuations = 0;
                self.block_by = Some(now.plus_millis(H2_HEADER_BLOCK_MS));
                self.block_ends = flags & END_HEADERS != 0;
                Ok(())
            }
            // PRIORITY
            2 => {
                self.priorities += 1;
                let most = H2_PRIORITY_PER_STREAM_MAX * (1 + self.streams);
                within(self.priorities <= most, Trip::Priorities)
            }
            // RST_STREAM
            3 if self.of_upstream => Ok(()),
            3 => {
                self.resets += 1;
                let slow = self.reset_rate.spend(H2_RESETS_PER_S_MAX, now) || self.reset_credit > 0;
                if self.reset_rate.count > H2_RESETS_PER_S_MAX {
                    self.reset_credit = self.reset_credit.saturating_sub(1);
                }
                within(slow && self.resets <= H2_RESETS_MAX + self.answered, Trip::RapidReset)
            }
            // SETTINGS
            4 => {
                self.settings_end = true;
                within(self.setting_rate.spend(H2_SETTINGS_PER_S_MAX, now), Trip::Settings)
            }
            // PING
            6 => {
                let slow = self.ping_rate.spend(H2_PINGS_PER_S_MAX, now) || self.ping_credit > 0;
                if self.ping_rate.count > H2_PINGS_PER_S_MAX {
                    self.ping_credit = self.ping_credit.saturating_sub(1);
                }
                within(slow, Trip::Pings)
            }
            // WINDOW_UPDATE
            8 => {
                self.window_updates += 1;
                let most = 5 + 2 * (self.streams + H2_WINDOW_UPDATES_PER_DATA_MAX * self.data_sent);
                within(self.window_updates <= most, Trip::WindowUpdates)
            }
            // CONTINUATION
            9 => {
                self.continuations += 1;
                self.block_ends = flags & END_HEADERS != 0;
                within(self.continuations <= H2_CONTINUATIONS_MAX, Trip::Continuations)
            }
            // GOAWAY and PUSH_PROMISE, which h2 judges, and what no RFC knows.
            _ => within(self.other_rate.spend(H2_OTHER_FRAMES_PER_S_MAX, now), Trip::Others),
        }
    }
}

/// What is left of `bytes` behind the next `left`; takes off what was skipped.
fn skip<'a>(bytes: &'a [u8], left: &mut usize) -> &'a [u8] {
    let count = bytes.len().min(*left);
    *left -= count;
    bytes.get(count..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
