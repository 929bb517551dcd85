//! The bytes of an HTTP/2 connection between its stream and the `h2` crate.
//!
//! `h2` wants tokio's I/O traits, the shard's I/O owns its buffers while it runs. So `h2` reads from and writes to memory
//! ([`Io`]), and [`drive`] moves what is there: one task for each connection, which reads, polls `h2`, and writes what
//! that has produced in one go. TLS and plaintext share this path, and `h2` can be driven in tests without a runtime.
//!
//! Reader, engine and writer belong to one task, and [`drive`] polls each again when another has made room for it. The
//! engine is polled only when there is something for it: bytes have come, a stream has asked for it (by a waker of its
//! own), its moment has come. To poll `h2` costs about a thousand instructions even where nothing is to be done.
//! While a connection is idle it holds the small buffer that its next bytes are read into.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use dromon_core::limits::{
    DRAIN_BYTES_MAX, DRAIN_MS_MAX, H2_IDLE_BUFFER_BYTES, H2_OUTBOUND_BYTES_MAX, WRITE_STALL_MS,
};
use dromon_core::time::Tick;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::{Alarm, Stalled, Stream, within, write_all};
use crate::shard::Shard;
use crate::sys::buffer::Buffer;
use crate::sys::clock;

/// What is driven: an HTTP/2 connection, client's or server's, over [`Io`].
pub trait Engine {
    /// Looks at bytes that the peer has sent, before the connection sees them: how many of them it is to see. Fewer than all
    /// mean that it is to see no further ones either; [`Engine::poll`] then says goodbye.
    fn inspect(&mut self, bytes: &[u8], now: Tick) -> usize;

    /// When [`Engine::poll`] is to be called even if nothing has happened; [`Tick::NEVER`] for not at all.
    fn wake_at(&self) -> Tick;

    /// Polls the connection; ready when it is over and has written its last. Called when bytes have come, when the context's
    /// waker was used, when [`Engine::wake_at`] has come, and when there is room again for what it could not write.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// All that [`Engine::poll`] has produced is the kernel's.
    fn flushed(&mut self) {}

    /// Whether what the peer has said before the connection broke is still to be heard.
    fn hears_last_words(&self) -> bool {
        false
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The engine was done, and its last bytes are on their way.
    Done,
    /// The connection broke.
    Broken,
    /// The peer took nothing for too long.
    Stalled,
}

/// The memory between.
#[derive(Default)]
struct Rings {
    /// What the peer has sent and `h2` has not taken.
    inbound: RefCell<Buffer>,
    /// Something has come, or the end, that the engine has not been polled for.
    news: Cell<bool>,
    /// The peer sends no more, or nothing of it is wanted any more.
    inbound_ended: Cell<bool>,
    /// What `h2` has written and is not on its way.
    outbound: RefCell<Buffer>,
    /// `h2` was told to wait until there is room.
    outbound_full: Cell<bool>,
    /// What `h2` has written before is on its way.
    writing: Cell<bool>,
    /// Bytes that have come and were not wanted any more.
    unwanted_bytes: Cell<usize>,
}

/// `h2`'s end of a connection.
pub struct Io {
    rings: Rc<Rings>,
    shard: Rc<Shard>,
}

/// The stream's end of a connection.
pub struct Pump {
    rings: Rc<Rings>,
    /// Read before the connection was known to be one of HTTP/2.
    ahead: Cell<Buffer>,
}

impl Pump {
    /// With bytes that were read from the stream before.
    pub fn with_ahead(self, ahead: Buffer) -> Pump {
        Pump { ahead: Cell::new(ahead), ..self }
    }
}

/// The two ends of a connection's memory.
pub fn pair(shard: &Rc<Shard>) -> (Io, Pump) {
    let rings = Rc::new(Rings::default());
    (Io { rings: rings.clone(), shard: shard.clone() }, Pump { rings, ahead: Cell::default() })
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inbound = self.rings.inbound.borrow_mut();
        if inbound.is_empty() {
            return match self.rings.inbound_ended.get() {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            };
        }
        let count = inbound.len().min(into.remaining());
        into.put_slice(inbound.filled().get(..count).unwrap_or_default());
        inbound.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl Io {
    /// Appends as much as there is room for; the count.
    fn append(&self, outbound: &mut Buffer, bytes: &[u8]) -> usize {
        if outbound.room() < bytes.len() && outbound.capacity() < H2_OUTBOUND_BYTES_MAX {
            let wanted = if outbound.capacity() == 0 { bytes.len() } else { H2_OUTBOUND_BYTES_MAX };
            let mut larger = self.shard.buffers.take(wanted.min(H2_OUTBOUND_BYTES_MAX));
            larger.extend(outbound.filled());
            self.shard.buffers.give(std::mem::replace(outbound, larger));
        }
        let count = bytes.len().min(outbound.room());
        outbound.extend(bytes.get(..count).unwrap_or_default());
        count
    }

    fn written(&self, count: usize) -> Poll<io::Result<usize>> {
        if count == 0 {
            self.rings.outbound_full.set(true);
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = self.append(&mut self.rings.outbound.borrow_mut(), bytes);
        self.written(count)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut outbound = self.rings.outbound.borrow_mut();
        let mut count = 0;
        for slice in slices {
            let appended = self.append(&mut outbound, slice);
            count += appended;
            if appended < slice.len() {
                break;
            }
        }
        drop(outbound);
        self.written(count)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written leaves when the connection has been polled, so that one write takes all of it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Carries a connection to its end: reads, has the engine work, writes.
pub async fn drive<E: Engine>(
    shard: &Shard,
    stream: &Stream,
    alarm: &Alarm,
    pump: &Pump,
    engine: &mut E,
) -> Ended {
    let rings = &*pump.rings;
    let engine = RefCell::new(engine);
    let over = Cell::new(false);
    let mut reader = pin!(read(shard, stream, pump, &engine, &over));
    let mut reading = true;
    let mut nudge = None;
    let ended = {
        let mut writer = pin!(write(shard, stream, alarm, rings, &over));
        poll_fn(|context| {
            let (nudge, waker) = Nudge::of(&mut nudge, context);
            loop {
                reading = reading && reader.as_mut().poll(context).is_pending();
                let asked = rings.news.take() | nudge.take();
                if !over.get() && poll_engine(&mut **engine.borrow_mut(), asked, alarm, waker, context) {
                    over.set(true);
                    // Nobody takes it any more.
                    rings.inbound.borrow_mut().clear();
                }
                if let Poll::Ready(ended) = writer.as_mut().poll(context) {
                    return Poll::Ready(ended);
                }
                let taken = reading && !over.get() && rings.wants_more();
                let blocked = rings.outbound_full.get() && rings.outbound.borrow().is_empty();
                if !taken && !blocked {
                    if !rings.writing.get() && rings.outbound.borrow().is_empty() {
                        engine.borrow_mut().flushed();
                    }
                    return Poll::Pending;
                }
                if blocked {
                    rings.outbound_full.set(false);
                    rings.news.set(true);
                }
            }
        })
        .await
    };
    match ended {
        Ended::Done if reading => linger(stream, rings, reader.as_mut()).await,
        Ended::Broken if reading && !over.get() && engine.borrow().hears_last_words() => {
            hear_out(rings, &engine, reader.as_mut()).await;
        }
        _ => {}
    }
    shard.buffers.give(rings.outbound.take());
    ended
}

/// Polls the engine where it is asked for, and where the moment it waits for has come; true once it is done.
fn poll_engine<E: Engine>(
    engine: &mut E,
    mut asked: bool,
    alarm: &Alarm,
    waker: &Waker,
    context: &mut Context<'_>,
) -> bool {
    while asked || alarm.poll_until(engine.wake_at(), context).is_ready() {
        asked = false;
        if engine.poll(&mut Context::from_waker(waker)).is_ready() {
            return true;
        }
    }
    false
}

/// Wakes a connection's task for its engine, and says so.
struct Nudge {
    task: Waker,
    asked: AtomicBool,
}

impl Nudge {
    /// The one of this task, with the waker that the engine is given; made at first, when the engine has never been polled.
    fn of<'a>(made: &'a mut Option<(Arc<Nudge>, Waker)>, context: &Context<'_>) -> (&'a Nudge, &'a Waker) {
        if made.as_ref().is_some_and(|(nudge, _)| !nudge.task.will_wake(context.waker())) {
            *made = None;
        }
        let (nudge, waker) = made.get_or_insert_with(|| {
            let nudge = Arc::new(Nudge { task: context.waker().clone(), asked: AtomicBool::new(true) });
            (nudge.clone(), Waker::from(nudge))
        });
        (nudge, waker)
    }

    /// Whether the engine was asked for since the last time.
    fn take(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::Acquire)
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Nudge>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Nudge>) {
        // Who has asked before has woken the task, which has not looked yet.
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Release);
            self.task.wake_by_ref();
        }
    }
}

impl Rings {
    /// The reader waits for `h2` to take what it has read, and `h2` has.
    fn wants_more(&self) -> bool {
        let inbound = self.inbound.borrow();
        inbound.capacity() > 0 && inbound.is_empty()
    }

    /// Gives bytes to `h2` and comes back with the emptied buffer.
    async fn hand_over(&self, buffer: Buffer) -> Buffer {
        self.inbound.replace(buffer);
        poll_fn(|_| {
            let mut inbound = self.inbound.borrow_mut();
            match inbound.is_empty() {
                true => {
                    inbound.clear();
                    Poll::Ready(std::mem::take(&mut *inbound))
                }
                false => Poll::Pending,
            }
        })
        .await
    }
}

/// Reads until the stream ends. What the engine does not want any more is thrown away for a while, so that the close does
/// not reset what was written last.
async fn read<E: Engine>(
    shard: &Shard,
    stream: &Stream,
    pump: &Pump,
    engine: &RefCell<&mut E>,
    over: &Cell<bool>,
) {
    let rings = &*pump.rings;
    // Hands over what is wanted of a buffer; how many bytes of it are not.
    let pass = async |mut buffer: Buffer| {
        let good = match over.get() {
            true => 0,
            false => engine.borrow_mut().inspect(buffer.filled(), clock::coarse()),
        };
        rings.news.set(true);
        let refused = buffer.len() - good;
        buffer.truncate(good);
        (refused, if good > 0 { rings.hand_over(buffer).await } else { buffer })
    };
    let mut own = Buffer::with_capacity(H2_IDLE_BUFFER_BYTES);
    let ahead = pump.ahead.take();
    let mut refused_bytes = if ahead.is_empty() { 0 } else { pass(ahead).await.0 };
    while refused_bytes <= DRAIN_BYTES_MAX {
        let (result, buffer) = stream.read(own).await;
        own = buffer;
        if !matches!(result, Ok(1..)) {
            break;
        }
        if refused_bytes > 0 {
            refused_bytes += own.len();
            rings.unwanted_bytes.set(refused_bytes);
            own.clear();
            continue;
        }
        let mut more = own.room() == 0;
        (refused_bytes, own) = pass(own).await;
        own.clear();
        // The small buffer was too small for what is there.
        while more && refused_bytes == 0 {
            let mut large = shard.buffers.take(H2_OUTBOUND_BYTES_MAX);
            // Nothing there, an end or an error: the next read says so again.
            more = matches!(stream.try_read(&mut large), Ok(1..)) && large.room() == 0;
            if !large.is_empty() {
                (refused_bytes, large) = pass(large).await;
            }
            shard.buffers.give(large);
        }
    }
    rings.inbound_ended.set(refused_bytes == 0);
    rings.news.set(true);
}

/// Writes what `h2` has produced, all that is there at once, until the engine is done.
async fn write(shard: &Shard, stream: &Stream, alarm: &Alarm, rings: &Rings, over: &Cell<bool>) -> Ended {
    loop {
        poll_fn(|_| match rings.outbound.borrow().is_empty() && !over.get() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
        let buffer = rings.outbound.take();
        if buffer.is_empty() {
            return Ended::Done;
        }
        rings.writing.set(true);
        let (written, buffer) = write_all(alarm, stream, buffer).await;
        rings.writing.set(false);
        shard.buffers.give(buffer);
        let ended = match written {
            Ok(()) => continue,
            Err(Stalled::Broken(_)) => Ended::Broken,
            Err(Stalled::Timeout) => Ended::Stalled,
        };
        return ended;
    }
}

/// Reads what the peer has said before it went away, which a write has met first: a GOAWAY says which streams it has never
/// looked at (RFC 9113, 6.8), even where the close that follows resets the connection.
async fn hear_out<E: Engine, F: Future<Output = ()>>(
    rings: &Rings,
    engine: &RefCell<&mut E>,
    mut reader: Pin<&mut F>,
) {
    let heard = poll_fn(|context| {
        loop {
            let ended = reader.as_mut().poll(context).is_ready();
            // Nobody takes what is said to it any more.
            rings.outbound.borrow_mut().clear();
            let done = rings.news.take() && engine.borrow_mut().poll(context).is_ready();
            if ended || done {
                return Poll::Ready(());
            }
            if !rings.wants_more() {
                return Poll::Pending;
            }
        }
    });
    let _ = within(clock::now().plus_millis(DRAIN_MS_MAX), heard).await;
}

/// Closes so that what was written last arrives (see RFC 9112, 9.6, which holds for any protocol over TCP): as long as the
/// peer goes on taking it, since a byte from it to a closed connection would be answered by a reset.
async fn linger<F: Future<Output = ()>>(stream: &Stream, rings: &Rings, mut reader: Pin<&mut F>) {
    let Ok(Ok(())) = within(clock::now().plus_millis(WRITE_STALL_MS), stream.finish_write()).await else {
        return;
    };
    let mut seen = (usize::MAX, 0);
    let mut stalls_at = Tick::ZERO;
    loop {
        let now = clock::now();
        if within(now.plus_millis(DRAIN_MS_MAX), reader.as_mut()).await.is_ok() {
            return;
        }
        let (unsent_bytes, heard) = (stream.socket().unsent_bytes(), rings.unwanted_bytes.get());
        let before = std::mem::replace(&mut seen, (unsent_bytes, heard));
        if seen != before {
            stalls_at = now.plus_millis(WRITE_STALL_MS);
        }
        // What is still said by a peer that has all of it, the reader bounds.
        if (unsent_bytes == 0 && heard == before.1) || now >= stalls_at {
            return;
        }
    }
}
