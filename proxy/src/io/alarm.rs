//! One timer for all the waits of a connection, one after the other.
//!
//! Nearly every wait ends long before its deadline, so a timer of its own for each would be registered and taken back
//! for nothing several times a request (measured: a tenth of a shard's own time). An alarm stays registered for the
//! earliest deadline it was ever asked for; when it goes off early it looks at what is waited for now and goes on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use dromon_core::limits::{PEER_LOOK_MS, PEER_LOOK_MS_MAX};
use dromon_core::time::Tick;
use monoio::time::{Instant, Sleep};

use super::race::{Timeout, remaining, sleep_until};
use super::stream::Stream;
use crate::sys::clock;

/// A connection's timer. Futures that wait by it at the same time must belong to one task.
pub struct Alarm {
    armed: RefCell<Armed>,
}

struct Armed {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Tick,
}

/// Why a wait was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// The deadline came.
    Deadline,
    /// The connection watched is dead: there is nobody left to wait for.
    Gone,
}

impl Default for Alarm {
    fn default() -> Alarm {
        Alarm { armed: RefCell::new(Armed { sleep: None, at: Tick::NEVER }) }
    }
}

impl Alarm {
    /// Waits for `future` until `deadline`.
    pub async fn within<F: Future>(&self, deadline: Tick, future: F) -> Result<F::Output, Timeout> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            self.poll_until(deadline, context).map(|()| Err(Timeout))
        })
        .await
    }

    /// Waits for `future` until `deadline`, and looks now and then whether `peer` is still there. The looks are spread
    /// out, since nearly all waits are over before the first; what counts as gone says [`Stream::is_dead`].
    pub async fn watch<F: Future>(
        &self,
        deadline: Tick,
        peer: &Stream,
        future: F,
    ) -> Result<F::Output, Interrupted> {
        let mut future = pin!(future);
        let mut distance_ms = PEER_LOOK_MS;
        let mut look_at = clock::coarse().plus_millis(distance_ms);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            loop {
                if self.poll_until(look_at.min(deadline), context).is_pending() {
                    return Poll::Pending;
                }
                if clock::now() >= deadline {
                    return Poll::Ready(Err(Interrupted::Deadline));
                }
                if peer.is_dead() {
                    return Poll::Ready(Err(Interrupted::Gone));
                }
                distance_ms = (distance_ms * 2).min(PEER_LOOK_MS_MAX);
                look_at = clock::now().plus_millis(distance_ms);
            }
        })
        .await
    }

    /// Ready from `deadline` on; wakes the task then, and perhaps before.
    pub fn poll_until(&self, deadline: Tick, context: &mut Context<'_>) -> Poll<()> {
        if deadline == Tick::NEVER {
            return Poll::Pending;
        }
        let mut armed = self.armed.borrow_mut();
        let Armed { sleep, at } = &mut *armed;
        let sleep = sleep.get_or_insert_with(|| {
            *at = deadline;
            sleep_until(deadline)
        });
        if *at > deadline {
            // One wait's moment may have come while the alarm went off for another's, which armed it anew.
            if clock::now() >= deadline {
                return Poll::Ready(());
            }
            *at = deadline;
            sleep.as_mut().reset(Instant::now() + remaining(deadline));
        }
        while sleep.as_mut().poll(context).is_ready() {
            if clock::now() >= deadline {
                // What went off is spent: the next wait arms anew.
                *at = Tick::NEVER;
                return Poll::Ready(());
            }
            *at = deadline;
            sleep.as_mut().reset(Instant::now() + remaining(deadline));
        }
        Poll::Pending
    }
}
