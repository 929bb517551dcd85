//! Tasks that serve streams, kept for the next stream when one is over: what a stream needs while it is served takes some KiB,
//! which would be allocated, moved and freed for each.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use dromon_core::limits::H2_SPARE_WORKERS_MAX;

use super::stream::{self, Work};

/// Where the stream lies that a task serves, or will serve next: made once for each task, since a stream's state is large and
/// was copied a dozen times on its way.
type Desk = Box<Option<Work>>;

/// A task's place of work.
#[derive(Default)]
struct Bench {
    /// Empty while the task waits, gone while it works.
    desk: Cell<Option<Desk>>,
    waker: RefCell<Option<Waker>>,
    dismissed: Cell<bool>,
}

impl Bench {
    /// The next stream to serve; none when the task is to end.
    async fn next(&self) -> Option<Desk> {
        poll_fn(|context| {
            match self.desk.take() {
                Some(desk) if desk.is_some() => return Poll::Ready(Some(desk)),
                empty => self.desk.set(empty),
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
    /// Has a stream served; `begin` makes its state where it will lie.
    pub(super) fn serve(&self, begin: impl FnOnce() -> Work) {
        let spare = self.spare.borrow_mut().pop();
        match spare {
            Some(bench) => {
                let mut desk = bench.desk.take().unwrap_or_default();
                *desk = Some(begin());
                bench.desk.set(Some(desk));
                bench.wake();
            }
            None => {
                monoio::spawn(work(Box::new(Some(begin()))));
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

async fn work(first: Desk) {
    let bench = Rc::new(Bench::default());
    let mut next = Some(first);
    while let Some(mut desk) = next.take() {
        let Some(work) = &mut *desk else { return };
        let shard = work.call.conn().client.shard.clone();
        stream::serve(work).await;
        *desk = None;
        bench.desk.set(Some(desk));
        let kept = shard.h2_workers.keep(&bench);
        // A task that waits must not hold its shard, which holds it.
        drop(shard);
        if kept {
            next = bench.next().await;
        }
    }
}
