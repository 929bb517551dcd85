//! TCP connections under way: what they carry is counted at each scrape, not only when they end, as long streams would
//! otherwise show as nothing for hours and then as a leap.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use dromon_core::config::model::{Destination, Endpoint, Workload};
use dromon_core::telemetry::{Principals, Recorder, Reporter, Security, Sides};

use crate::relay::Carried;

/// One TCP connection.
#[derive(Debug)]
pub struct Flow {
    /// What it has carried so far.
    pub carried: Carried,
    counted: Cell<(u64, u64)>,
    /// Where it stands among the others.
    place: Cell<usize>,
    reporter: Reporter,
    security: Security,
    destination: Option<Arc<Destination>>,
    endpoint: Option<Arc<Endpoint>>,
    peer: Option<Arc<Workload>>,
    principals: Option<Arc<Principals>>,
}

impl Flow {
    /// Between whom it is.
    pub fn sides(&self) -> Sides<'_> {
        Sides {
            reporter: self.reporter,
            destination: self.destination.as_ref(),
            endpoint: self.endpoint.as_ref(),
            peer: self.peer.as_ref(),
            security: self.security,
            principals: self.principals.as_ref(),
        }
    }

    /// Bytes from the client and to it that were not counted before; they count as counted from now on.
    pub fn uncounted(&self) -> (u64, u64) {
        let (up, down) = self.carried.bytes();
        let (counted_up, counted_down) = self.counted.replace((up, down));
        (up.saturating_sub(counted_up), down.saturating_sub(counted_down))
    }
}

/// All of a shard's.
#[derive(Debug, Default)]
pub struct Flows(RefCell<Vec<Rc<Flow>>>);

impl Flows {
    /// Takes one in.
    pub fn open(&self, sides: &Sides<'_>) -> Rc<Flow> {
        let mut open = self.0.borrow_mut();
        let flow = Rc::new(Flow {
            carried: Carried::default(),
            counted: Cell::default(),
            place: Cell::new(open.len()),
            reporter: sides.reporter,
            security: sides.security,
            destination: sides.destination.cloned(),
            endpoint: sides.endpoint.cloned(),
            peer: sides.peer.cloned(),
            principals: sides.principals.cloned(),
        });
        open.push(flow.clone());
        flow
    }

    /// Lets one go.
    pub fn close(&self, flow: &Rc<Flow>) {
        let mut open = self.0.borrow_mut();
        let place = flow.place.get();
        if open.get(place).is_some_and(|found| Rc::ptr_eq(found, flow)) {
            open.swap_remove(place);
            if let Some(moved) = open.get(place) {
                moved.place.set(place);
            }
        }
    }

    /// Counts what all have carried since the last time.
    pub fn count(&self, recorder: &mut Recorder) {
        for flow in self.0.borrow().iter() {
            let (up, down) = flow.uncounted();
            if up + down > 0 {
                recorder.tcp_bytes(&flow.sides(), up, down);
            }
        }
    }
}

#[cfg(test)]
mod tests;
