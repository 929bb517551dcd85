//! Waking all tasks of a shard that wait for one event.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// An event that may happen many times; each time, all who wait are woken.
#[derive(Debug, Default)]
pub struct Notify {
    generation: Cell<u64>,
    waiters: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Wakes all who wait now.
    pub fn notify_all(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Waits for the next event after this call. Losing the future costs a spurious wake at most.
    pub fn notified(&self) -> impl Future<Output = ()> + '_ {
        let seen = self.generation.get();
        poll_fn(move |context| {
            if self.generation.get() != seen {
                return Poll::Ready(());
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.iter().any(|waker| waker.will_wake(context.waker())) {
                waiters.push(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

/// Tasks that are woken together, each for as long as it has its place: none is kept alive by having been here.
#[derive(Debug, Default)]
pub struct Roster {
    next: Cell<u64>,
    wakers: RefCell<HashMap<u64, Waker>>,
}

impl Roster {
    /// Takes a place; its number is for [`Roster::leave`].
    pub fn join(&self, waker: Waker) -> u64 {
        let place = self.next.replace(self.next.get().wrapping_add(1));
        self.wakers.borrow_mut().insert(place, waker);
        place
    }

    /// Gives a place back.
    pub fn leave(&self, place: u64) {
        let waker = self.wakers.borrow_mut().remove(&place);
        // Dropped with nothing borrowed: it may be the last that holds its task.
        drop(waker);
    }

    /// Wakes all.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = self.wakers.borrow().values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}
