//! Small pieces of asynchronous I/O that connections, pools and relays are made of.

mod alarm;
mod race;
mod stream;
pub mod tls;
mod transfer;

pub use alarm::{Alarm, Interrupted};
pub use race::{Either, race, sleep_until, within};
pub use stream::Stream;
pub use transfer::{Stalled, write_all, write_all_within};
