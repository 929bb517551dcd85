//! Small pieces of asynchronous I/O that connections, pools and relays are made of.

mod race;
mod transfer;
mod watch;

pub use race::{Either, Timeout, race, sleep_until, within};
pub use transfer::{Stalled, write_all};
pub use watch::{Interrupted, watch};
