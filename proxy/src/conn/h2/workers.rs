//! Tasks that serve streams, kept for the next stream when one is over: what a stream needs while it is served takes some KiB,
//! which would be allocated, moved and freed for each.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use dromon_core::limits::H2_SPARE_WORKERS_MAX;
use h2::RecvStream;
use h2::server::SendResponse;

use super::server::Open;
use super::stream;

/// A stream to be served.
pub(super) struct Job {
    pub(super) open: Open,
    pub(super) request: http::Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

/// A task's place of work: what it is to do next.
#[derive(Default)]
struct Bench {
    job: RefCell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
    dismissed: Cell<bool>,
}

impl Bench {
    /// The next stream to serve; none when the task is to end.
    async fn next(&self) -> Option<Job> {
        poll_fn(|context| {
            if let Some(job) = self.job.take() {
                return Poll::Ready(Some(job));
            }
            if self.dismissed.get() {
                return Poll::Ready(None);
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// Tasks of a shard that wait for a stream to serve.
#[derive(Default)]
pub struct Workers {
    spare: RefCell<Vec<Rc<Bench>>>,
}

impl Workers {
    /// Has a stream served.
    pub(super) fn serve(&self, job: Job) {
        let spare = self.spare.borrow_mut().pop();
        match spare {
            Some(bench) => {
                bench.job.replace(Some(job));
                bench.wake();
            }
            None => {
                monoio::spawn(work(job));
            }
        }
    }

    /// Keeps a task that has nothing to do; false where there are enough.
    fn keep(&self, bench: &Rc<Bench>) -> bool {
        let mut spare = self.spare.borrow_mut();
        let room = spare.len() < H2_SPARE_WORKERS_MAX;
        if room {
            spare.push(bench.clone());
        }
        room
    }

    /// Ends half of those that wait.
    pub fn trim(&self) {
        let mut spare = self.spare.borrow_mut();
        let kept = spare.len() / 2;
        for bench in spare.drain(kept..) {
            bench.dismissed.set(true);
            bench.wake();
        }
    }
}

async fn work(first: Job) {
    let bench = Rc::new(Bench::default());
    let mut next = Some(first);
    while let Some(Job { open, request, respond }) = next {
        let shard = open.0.client.shard.clone();
        stream::serve(open, request, respond).await;
        let kept = shard.h2_workers.keep(&bench);
        // A task that waits must not hold its shard, which holds it.
        drop(shard);
        next = if kept { bench.next().await } else { None };
    }
}
