//! Bytes both ways between two connections, until both have ended, one broke, or neither spoke for too long.
//!
//! Each direction waits by readiness without a buffer, so that a relay that idles weighs little; while bytes flow
//! the buffer stays and grows. The end of one direction is passed on (half-close), the other goes on.

use std::cell::Cell;
use std::io;
use std::pin::pin;

use dromon_core::exchange::End;
use dromon_core::limits::{BODY_BUFFER_BYTES, BODY_BUFFER_BYTES_MAX};
use dromon_core::time::Tick;

use crate::io::{Alarm, Either, Stream, race, sleep_until, write_all_within};
use crate::shard::Shard;
use crate::sys::buffer::Buffer;

/// Steps of one direction after which its task lets others run, even if more is there.
const STEPS_MAX: u32 = 8;

/// Bytes that were read before the relay began.
#[derive(Debug, Default)]
pub struct Ahead {
    /// From the client, for the upstream.
    pub from_client: Vec<u8>,
    /// From the upstream, for the client.
    pub from_upstream: Vec<u8>,
}

/// Why a relay ended early.
enum Broken {
    /// The client's connection broke, or it took nothing for too long.
    Client,
    /// So did the upstream.
    Upstream,
    /// No byte came for the idle time.
    Idle,
}

/// What a relay has carried so far.
#[derive(Debug, Default)]
pub struct Carried {
    /// Bytes from the client.
    pub up_bytes: Cell<u64>,
    /// Bytes from the upstream.
    pub down_bytes: Cell<u64>,
}

impl Carried {
    /// From the client, and from the upstream.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up_bytes.get(), self.down_bytes.get())
    }
}

/// Which socket of a direction broke.
enum Side {
    From,
    To,
}

/// Relays, counting in `carried` as it goes. On an error the side that is left is reset, so that it does not take what it
/// got for the whole.
pub async fn run(
    shard: &Shard,
    alarm: &Alarm,
    client: &Stream,
    upstream: &Stream,
    ahead: Ahead,
    idle_ms: u64,
    carried: &Carried,
) -> End {
    let motion = Motion::new(shard.now());
    let result = {
        let Ahead { from_client, from_upstream } = ahead;
        let up = Direction {
            shard,
            alarm,
            from: client,
            to: upstream,
            bytes: &carried.up_bytes,
            motion: &motion,
            idle_ms,
        };
        let down = Direction {
            shard,
            alarm,
            from: upstream,
            to: client,
            bytes: &carried.down_bytes,
            motion: &motion,
            idle_ms,
        };
        let mut up = pin!(up.run(from_client));
        let mut down = pin!(down.run(from_upstream));
        let both = async {
            match race(up.as_mut(), down.as_mut()).await {
                Either::First(Ok(())) => down.await.map_err(of_down),
                Either::Second(Ok(())) => up.await.map_err(of_up),
                Either::First(Err(side)) => Err(of_up(side)),
                Either::Second(Err(side)) => Err(of_down(side)),
            }
        };
        let mut both = pin!(both);
        let mut idle = pin!(idle(shard, &motion, idle_ms));
        match race(both.as_mut(), idle.as_mut()).await {
            Either::First(result) => result,
            Either::Second(()) => Err(Broken::Idle),
        }
    };
    match result {
        Ok(()) => End::Complete,
        Err(Broken::Client) => {
            upstream.reset_on_close();
            End::DownstreamClosed
        }
        Err(Broken::Upstream) => {
            client.reset_on_close();
            End::UpstreamAborted
        }
        Err(Broken::Idle) => End::Idle,
    }
}

fn of_up(side: Side) -> Broken {
    match side {
        Side::From => Broken::Client,
        Side::To => Broken::Upstream,
    }
}

fn of_down(side: Side) -> Broken {
    match side {
        Side::From => Broken::Upstream,
        Side::To => Broken::Client,
    }
}

/// When bytes last moved, of both ways.
pub struct Motion {
    last: Cell<Tick>,
    /// Ways that wait for their receiver to take what came.
    writing: Cell<u8>,
}

impl Motion {
    /// From now on.
    pub fn new(now: Tick) -> Motion {
        Motion { last: Cell::new(now), writing: Cell::new(0) }
    }

    /// Bytes have moved.
    pub fn moved(&self, now: Tick) {
        self.last.set(now);
    }

    /// Waits for a receiver to take what came.
    pub async fn write<F: Future>(&self, taken: F) -> F::Output {
        self.writing.set(self.writing.get() + 1);
        let output = taken.await;
        self.writing.set(self.writing.get() - 1);
        output
    }
}

/// Ready once nothing has come for `idle_ms`. Time in which a receiver takes its time does not count: a write has a limit
/// of its own, and ends with a reset, because the receiver has not all that came.
pub async fn idle(shard: &Shard, motion: &Motion, idle_ms: u64) {
    loop {
        let now = shard.now();
        let since = if motion.writing.get() > 0 { now } else { motion.last.get() };
        let until = since.plus_millis(idle_ms);
        if now >= until {
            return;
        }
        sleep_until(until).await;
    }
}

/// One way of a relay.
struct Direction<'a> {
    shard: &'a Shard,
    alarm: &'a Alarm,
    from: &'a Stream,
    to: &'a Stream,
    bytes: &'a Cell<u64>,
    motion: &'a Motion,
    idle_ms: u64,
}

impl Direction<'_> {
    async fn run(&self, ahead: Vec<u8>) -> Result<(), Side> {
        if !ahead.is_empty() {
            let mut buffer = Buffer::with_capacity(ahead.len());
            buffer.extend(&ahead);
            drop(ahead);
            self.send(buffer).await?;
        }
        let mut size = BODY_BUFFER_BYTES;
        loop {
            self.from.arrival().await.map_err(|_| Side::From)?;
            for _ in 0..STEPS_MAX {
                let mut buffer = self.shard.buffers.take(size);
                match self.from.try_read(&mut buffer) {
                    Ok(0) => {
                        self.shard.buffers.give(buffer);
                        return self.finish().await;
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.shard.buffers.give(buffer);
                        break;
                    }
                    Err(_) => return Err(Side::From),
                }
                // By TLS a buffer ends with the last whole record that it has room for.
                let (got, full) = (buffer.len(), buffer.room() <= buffer.len() / 8);
                self.send(buffer).await?;
                // A stream that pauses for a moment goes on as it was.
                size = match got {
                    _ if full => (size * 4).min(BODY_BUFFER_BYTES_MAX),
                    _ if got < size / 4 => (size / 4).max(BODY_BUFFER_BYTES),
                    _ => size,
                };
                if !full {
                    break;
                }
            }
        }
    }

    /// Passes the end on.
    async fn finish(&self) -> Result<(), Side> {
        let by = self.shard.now().plus_millis(self.idle_ms);
        let finished = self.motion.write(self.alarm.within(by, self.to.finish_write())).await;
        // Who is gone by now had all the bytes there were; who takes nothing has not.
        finished.map(|_| ()).map_err(|_| Side::To)
    }

    async fn send(&self, buffer: Buffer) -> Result<(), Side> {
        let count = buffer.len() as u64;
        // A peer that reads slowly is no worse than one that is silent: the same time is allowed to both.
        let written = write_all_within(self.alarm, self.to, buffer, self.idle_ms);
        let (result, buffer) = self.motion.write(written).await;
        result.map_err(|_| Side::To)?;
        self.shard.buffers.give(buffer);
        self.bytes.set(self.bytes.get() + count);
        self.motion.moved(self.shard.now());
        Ok(())
    }
}
