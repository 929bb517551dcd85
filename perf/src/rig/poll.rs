//! A thin readiness poller over epoll, level-triggered: a descriptor, its number, and what it waits for.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Events taken from the kernel at once.
const BATCH: usize = 512;

/// What a descriptor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read, or the peer's end.
    Read,
    /// Room to write.
    Write,
    /// Only errors.
    Nothing,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Interest::Read => epoll::EventFlags::IN,
            Interest::Write => epoll::EventFlags::OUT,
            Interest::Nothing => epoll::EventFlags::empty(),
        }
    }
}

/// One epoll instance with room for a batch of events.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    /// A new instance.
    pub fn new() -> std::io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(BATCH) })
    }

    /// Starts to watch a descriptor under a number of the caller's.
    pub fn add(&self, fd: impl AsFd, number: usize, interest: Interest) -> std::io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, fd, data, interest.flags())?)
    }

    /// Changes what a watched descriptor waits for.
    pub fn modify(&self, fd: impl AsFd, number: usize, interest: Interest) -> std::io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::modify(&self.epoll, fd, data, interest.flags())?)
    }

    /// Waits for events, for ever without a limit, and returns the numbers that are ready into `ready`.
    pub fn wait(&mut self, limit: Option<Duration>, ready: &mut Vec<usize>) -> std::io::Result<()> {
        ready.clear();
        self.events.clear();
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
