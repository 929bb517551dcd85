//! Waiting for one peer while the other may go away.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use dromon_core::limits::{PEER_LOOK_MS, PEER_LOOK_MS_MAX};
use dromon_core::time::Tick;

use super::race::sleep_until;
use crate::sys::clock;
use crate::sys::socket::Socket;

/// Why a wait was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// The deadline came.
    Deadline,
    /// The connection watched is dead: there is nobody left to wait for.
    Gone,
}

/// Waits for `future` until `deadline`, and looks now and then whether `peer` is still there. The looks are spread out, since
/// nearly all waits are over before the first; a reset shows in them, a half-close, which is legal, does not.
pub async fn watch<F: Future>(deadline: Tick, peer: &Socket, future: F) -> Result<F::Output, Interrupted> {
    let mut future = pin!(future);
    let mut distance_ms = PEER_LOOK_MS;
    let next = |distance_ms: u64| clock::now().plus_millis(distance_ms).min(deadline);
    let mut sleep = pin!(sleep_until(next(distance_ms)));
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        while sleep.as_mut().poll(context).is_ready() {
            if clock::now() >= deadline {
                return Poll::Ready(Err(Interrupted::Deadline));
            }
            if peer.is_dead() {
                return Poll::Ready(Err(Interrupted::Gone));
            }
            distance_ms = (distance_ms * 2).min(PEER_LOOK_MS_MAX);
            sleep.set(sleep_until(next(distance_ms)));
        }
        Poll::Pending
    })
    .await
}
