//! What the admin endpoints hold of the control loop.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc;

use super::Settings;
use super::event::Event;
use super::log::Log;
use super::status::Status;
use super::totals::Totals;

/// Shared between the control loop, which writes, and the endpoints, which read. One thread.
#[derive(Debug)]
pub struct Handle {
    /// How the process was started.
    pub settings: Settings,
    /// The state of everything.
    pub status: RefCell<Status>,
    /// The shards' numbers as of the last scrape.
    pub totals: RefCell<Totals>,
    /// Orders to the control loop.
    pub events: mpsc::Sender<Event>,
    /// Lines for the operator.
    pub log: Log,
}

/// As the endpoints' tasks hold it.
pub type Shared = Rc<Handle>;
