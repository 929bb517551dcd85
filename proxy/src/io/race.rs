//! Two things at once in one task, and a thing with a deadline; no allocation, nothing spawned.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use dromon_core::time::Tick;
use monoio::time::Sleep;

use crate::sys::clock;

/// Which of two futures came first.
#[derive(Debug)]
pub enum Either<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

/// The deadline came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout;

/// Polls both until one is ready; the first has precedence. The other stays as it is and can be polled on.
pub async fn race<A: Future, B: Future>(
    mut first: Pin<&mut A>,
    mut second: Pin<&mut B>,
) -> Either<A::Output, B::Output> {
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// Waits for `future` until `deadline`. [`Tick::NEVER`] costs no timer.
pub async fn within<F: Future>(deadline: Tick, future: F) -> Result<F::Output, Timeout> {
    let mut future = pin!(future);
    if deadline == Tick::NEVER {
        return Ok(future.await);
    }
    let mut sleep = sleep_until(deadline);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(context).map(|()| Err(Timeout))
    })
    .await
}

/// A timer for a moment of the shard's clock. Boxed: the runtime's timer takes half a KiB, which would weigh on every
/// connection whose future might ever wait by one.
pub fn sleep_until(deadline: Tick) -> Pin<Box<Sleep>> {
    Box::pin(monoio::time::sleep(remaining(deadline)))
}

pub(super) fn remaining(deadline: Tick) -> Duration {
    // The runtime's timer wheel takes some two years; longer is as good as never.
    deadline.since(clock::now()).min(Duration::from_secs(365 * 24 * 3600))
}
