//! Requests of one shard that wait for a place under a destination's connection cap, in the order in which they came.
//!
//! The cap holds in total over the shards, so a place may come free on another shard, which has no way to wake this one
//! cheaply: the first in line looks again every few milliseconds beside being woken. The shards count together how many
//! wait, so that none keeps an idle connection while another's requests stand in line.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use dromon_core::balance::{DestinationState, WaitingToken};
use dromon_core::limits::{PENDING_LOOK_MS, POOL_SHARE_TURNS};
use dromon_core::time::Tick;

use crate::io::within;
use crate::sys::clock;

/// A line of requests.
pub(super) struct Queue {
    /// By number, the lowest first.
    line: RefCell<VecDeque<(u64, Option<Waker>)>>,
    next: Cell<u64>,
    /// Connections kept for this shard's line while another shard's requests waited too.
    kept: Cell<u32>,
    /// Also keeps the state's address, by which the queue is found, from being taken by another.
    state: Arc<DestinationState>,
}

impl Queue {
    pub(super) fn new(state: Arc<DestinationState>) -> Queue {
        Queue { line: RefCell::default(), next: Cell::new(0), kept: Cell::new(0), state }
    }

    pub(super) fn state(&self) -> &Arc<DestinationState> {
        &self.state
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// Stands at the end of the line until dropped.
    pub(super) fn join(self: &Rc<Queue>) -> Place {
        let number = self.next.replace(self.next.get() + 1);
        self.line.borrow_mut().push_back((number, None));
        Place { queue: self.clone(), number, waiting: OnceCell::new() }
    }

    /// Requests of another shard wait.
    pub(super) fn others_wait(&self) -> bool {
        self.state.waiting() as usize > self.line.borrow().len()
    }

    /// Whether a connection that comes free is another shard's turn: if none waits here, or if this shard's have been
    /// served several times meanwhile.
    pub(super) fn others_turn(&self) -> bool {
        if !self.others_wait() {
            return false;
        }
        let kept = self.kept.get() + 1;
        let theirs = self.is_empty() || kept > POOL_SHARE_TURNS;
        self.kept.set(if theirs { 0 } else { kept });
        theirs
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
    /// Told to the other shards once it is clear that there is nothing to be had at once.
    waiting: OnceCell<WaitingToken>,
}

impl Place {
    /// It is this one's turn: the first in line, and one that has just come lets other shards' requests go first.
    pub(super) fn may_try(&self) -> bool {
        self.is_first() && (self.waiting.get().is_some() || self.queue.state.waiting() == 0)
    }

    fn is_first(&self) -> bool {
        self.queue.line.borrow().front().is_some_and(|(number, _)| *number == self.number)
    }

    /// Waits until there may be something to be had: woken, or, at the front, after a few milliseconds.
    pub(super) async fn moved(&self) {
        self.waiting.get_or_init(|| WaitingToken::new(&self.queue.state));
        let mut registered = false;
        let woken = poll_fn(|context| {
            let mut line = self.queue.line.borrow_mut();
            let found = line.binary_search_by_key(&self.number, |(number, _)| *number).ok();
            let Some((_, slot)) = found.and_then(|at| line.get_mut(at)) else {
                return Poll::Ready(());
            };
            if registered && slot.is_none() {
                return Poll::Ready(());
            }
            registered = true;
            *slot = Some(context.waker().clone());
            Poll::Pending
        });
        // Whoever is not the first is woken when it has become so.
        let look_again = match self.is_first() {
            true => clock::now().plus_millis(PENDING_LOOK_MS),
            false => Tick::NEVER,
        };
        // Whether woken or not, the caller looks.
        let _ = within(look_again, woken).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_first = self.is_first();
        let mut line = self.queue.line.borrow_mut();
        if let Ok(at) = line.binary_search_by_key(&self.number, |(number, _)| *number) {
            line.remove(at);
        }
        drop(line);
        if was_first {
            self.queue.wake_first();
        }
    }
}
