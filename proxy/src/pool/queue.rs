//! Requests of one shard that wait for a place under a destination's connection cap, in the order in which they came.
//!
//! The cap holds in total over the shards, so a place may come free on another shard, which has no way to wake this one
//! cheaply: the first in line looks again every few milliseconds beside being woken.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use dromon_core::balance::DestinationState;
use dromon_core::limits::PENDING_LOOK_MS;

use crate::io::within;
use crate::sys::clock;

/// A line of requests.
pub(super) struct Queue {
    line: RefCell<VecDeque<(u64, Option<Waker>)>>,
    next: Cell<u64>,
    /// Keeps the state's address, by which the queue is found, from being taken by another.
    _state: Arc<DestinationState>,
}

impl Queue {
    pub(super) fn new(state: Arc<DestinationState>) -> Queue {
        Queue { line: RefCell::default(), next: Cell::new(0), _state: state }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// Stands at the end of the line until dropped.
    pub(super) fn join(self: &Rc<Queue>) -> Place {
        let number = self.next.replace(self.next.get() + 1);
        self.line.borrow_mut().push_back((number, None));
        Place { queue: self.clone(), number }
    }

    /// A connection or a place under the cap has come free.
    pub(super) fn wake_first(&self) {
        let waker = self.line.borrow_mut().front_mut().and_then(|(_, waker)| waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A place in the line.
pub(super) struct Place {
    queue: Rc<Queue>,
    number: u64,
}

impl Place {
    pub(super) fn is_first(&self) -> bool {
        self.queue.line.borrow().front().is_some_and(|(number, _)| *number == self.number)
    }

    /// Waits until there may be something to be had: woken, or, at the front, after a few milliseconds.
    pub(super) async fn moved(&self) {
        let mut registered = false;
        let woken = poll_fn(|context| {
            let mut line = self.queue.line.borrow_mut();
            let Some((_, slot)) = line.iter_mut().find(|(number, _)| *number == self.number) else {
                return Poll::Ready(());
            };
            if registered && slot.is_none() {
                return Poll::Ready(());
            }
            registered = true;
            *slot = Some(context.waker().clone());
            Poll::Pending
        });
        let look_again = clock::now().plus_millis(PENDING_LOOK_MS);
        // Whether woken or not, the caller looks.
        let _ = within(look_again, woken).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.line.borrow_mut().retain(|(number, _)| *number != self.number);
        self.queue.wake_first();
    }
}
