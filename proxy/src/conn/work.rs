//! The state of one exchange under way: buffers, parsed heads, the body's progress. Taken from the shard when a request's
//! first byte comes and given back with its end, so that idle connections weigh nothing but themselves.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;

use dromon_core::exchange::Attempt;
use dromon_core::h1::request_id::RequestId;
use dromon_core::h1::{RequestHead, ResponseHead};
use dromon_core::h2::grpc_web::{Decoder, Web};
use dromon_core::limits::{HEAD_BUFFER_BYTES, IDLE_BUFFER_BYTES, REPLAY_BYTES_MAX, SPARE_WORK_MAX};
use dromon_core::telemetry::Principals;
use dromon_core::time::Tick;

use super::framing::Framing;
use crate::sys::buffer::Buffer;

/// Everything one exchange needs. Its parts are lent to different tasks of the exchange at the same time.
#[derive(Default)]
pub struct Work {
    pub(super) request: Request,
    pub(super) upload: Upload,
    pub(super) flags: Flags,
    pub(super) answer: Answer,
    pub(super) times: Times,
    /// The try under way.
    pub(super) attempt: Option<Attempt>,
    /// Who is at either end of the latest try's connection, where that was proved.
    pub(super) principals: Option<Arc<Principals>>,
    /// This end's address on that connection, where an access log may show it.
    pub(super) upstream_local: Option<SocketAddr>,
    /// The request is a call of gRPC-Web at a gateway.
    pub(super) web: Option<Web>,
}

/// When things happened; [`Tick::ZERO`] for what has not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// The request's head was complete.
    pub(super) arrived: Tick,
    /// The latest try's head was written.
    pub(super) sent: Tick,
}

/// The request's head. Its bytes stay until the exchange is over: tries encode it anew.
#[derive(Default)]
pub(super) struct Request {
    /// What the client has sent, from the request's first byte on; the body moves on into [`Upload::buffer`].
    pub(super) buffer: Buffer,
    /// The buffer for heads of clients that bring none, while `buffer` is the client's own.
    spare: Buffer,
    pub(super) head: RequestHead,
    /// Length of the head in `buffer`.
    pub(super) head_bytes: usize,
    /// The path as rules match it, where that differs from the one sent.
    pub(super) path: Vec<u8>,
    pub(super) path_differs: bool,
    /// Made here for a request that had none.
    pub(super) id: Option<RequestId>,
    /// The parser stopped within a head; it must not go on with another one's bytes.
    pub(super) dirty: bool,
}

/// The request's body on its way up.
#[derive(Default)]
pub(super) struct Upload {
    /// Bytes of the body, and of the next request behind it, not sent on yet.
    pub(super) buffer: Buffer,
    /// Bytes on their way, where they are not the buffer as it is.
    pub(super) out: Buffer,
    pub(super) framing: Framing,
    pub(super) replay: Replay,
    /// Decodes what is base64 on its way.
    pub(super) text: Option<Decoder>,
    /// Bytes of body sent on.
    pub(super) sent_bytes: u64,
}

impl Request {
    /// What the client has sent behind the head.
    pub(super) fn behind_head(&self) -> &[u8] {
        self.buffer.filled().get(self.head_bytes..).unwrap_or_default()
    }
}

impl Upload {
    /// Has the body go out without its chunks, for HTTP/2; false where a part of it has gone out in chunks.
    pub(super) fn unframe(&mut self) -> bool {
        let untouched = self.sent_bytes == 0;
        self.framing.reframe(true, untouched)
    }

    /// Has the body go out as it came, for HTTP/1; false where a part of it has gone out otherwise.
    pub(super) fn frame(&mut self) -> bool {
        let untouched = self.sent_bytes == 0;
        self.framing.reframe(false, untouched)
    }
}

/// What the upload and the answer, which run side by side, tell each other.
#[derive(Default)]
pub(super) struct Flags {
    /// The client may send its body: it did not ask, or was told so (R28).
    pub(super) invited: Cell<bool>,
    /// What was sent of the body is not all here any more.
    pub(super) unrepeatable: Cell<bool>,
    /// The whole request is on its way.
    pub(super) uploaded: Cell<bool>,
    /// The final head of the latest try's answer has come.
    pub(super) answered: Cell<bool>,
}

/// The upstream's answer on its way down.
#[derive(Default)]
pub(super) struct Answer {
    /// What the upstream has sent.
    pub(super) buffer: Buffer,
    pub(super) head: ResponseHead,
    /// The parser stopped within a head; it must not go on with another one's bytes.
    pub(super) dirty: bool,
    /// Encoded heads, and body bytes that do not go out as they came.
    pub(super) out: Buffer,
    pub(super) framing: Framing,
    /// Bytes of the answer, or of an interim one, were written to the client.
    pub(super) started: bool,
    /// The upstream has begun its answer to the latest try.
    pub(super) begun: bool,
    /// When the final head came.
    pub(super) answered: Tick,
    /// The status sent; 0 before one is.
    pub(super) status: u16,
    /// The `grpc-status` of its head.
    pub(super) grpc_status: Option<u8>,
    /// Bytes of head sent on.
    pub(super) head_bytes: u64,
    /// Bytes of body sent on.
    pub(super) sent_bytes: u64,
    /// The upstream's head as it came, where an access log may ask for it.
    pub(super) log_head: Vec<u8>,
}

/// What was sent of a request's body, kept for another try.
#[derive(Default)]
pub(super) struct Replay {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Replay {
    /// Keeps what is about to be sent; false if it cannot all be kept.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> bool {
        if self.overflowed || self.bytes.len() + bytes.len() > REPLAY_BYTES_MAX {
            self.overflowed = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
        !self.overflowed
    }

    /// What was sent, if all of it is here.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        (!self.overflowed).then_some(&self.bytes)
    }

    fn reset(&mut self) {
        self.bytes.clear();
        self.overflowed = false;
    }
}

impl Work {
    /// Works on a connection's own buffer, which holds the start of a request.
    pub(super) fn lend(&mut self, own: Buffer) {
        self.request.spare = std::mem::replace(&mut self.request.buffer, own);
    }

    /// Gives the connection's own buffer back; one without capacity if it had to be replaced by a larger one.
    pub(super) fn reclaim(&mut self) -> Buffer {
        if self.request.buffer.capacity() > IDLE_BUFFER_BYTES {
            return Buffer::default();
        }
        let mut own = std::mem::replace(&mut self.request.buffer, std::mem::take(&mut self.request.spare));
        own.clear();
        own
    }

    /// Nothing that one client or upstream has sent may be left for another (R19).
    fn forget_bodies(&mut self) {
        self.upload.buffer = Buffer::default();
        self.answer.buffer = Buffer::default();
        self.upload.framing = Framing::default();
        self.upload.replay.reset();
    }

    /// Frees what an upgraded connection has no more use for, for as long as it lasts; the heads stay, for its log line.
    pub(super) fn rest(&mut self) {
        self.forget_bodies();
        self.request.spare = Buffer::default();
        self.answer.out = Buffer::default();
    }

    /// Makes ready for a request. What the client has sent ahead stays in `request.buffer`.
    pub(super) fn begin(&mut self) {
        if self.request.buffer.capacity() == 0 {
            self.request.buffer = Buffer::with_capacity(HEAD_BUFFER_BYTES);
        }
        self.request.buffer.compact();
        if std::mem::replace(&mut self.request.dirty, true) {
            self.request.head = RequestHead::new();
        }
        self.forget_bodies();
        self.request.path_differs = false;
        self.request.id = None;
        self.web = None;
        self.principals = None;
        self.upstream_local = None;
        self.upload.text = None;
        self.flags.invited.set(true);
        self.flags.unrepeatable.set(false);
        self.flags.uploaded.set(true);
        self.upload.sent_bytes = 0;
        self.answer.started = false;
        self.answer.begun = false;
        self.answer.answered = Tick::ZERO;
        self.answer.status = 0;
        self.answer.grpc_status = None;
        self.answer.head_bytes = 0;
        self.answer.sent_bytes = 0;
        self.answer.log_head.clear();
        self.times = Times::default();
    }
}

/// Spare [`Work`]s of a shard.
#[derive(Default)]
// Boxed: a connection keeps a pointer, not the kilobyte behind it.
#[allow(clippy::vec_box)]
pub struct SpareWork {
    spare: RefCell<Vec<Box<Work>>>,
}

impl SpareWork {
    /// One to work with.
    pub fn take(&self) -> Box<Work> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Frees half of what is spare.
    pub fn trim(&self) {
        let mut spare = self.spare.borrow_mut();
        let half = spare.len() / 2;
        spare.truncate(half);
    }

    /// Takes one back; buffers that grew for an unusual request are freed.
    pub fn give(&self, mut work: Box<Work>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() >= SPARE_WORK_MAX {
            return;
        }
        work.forget_bodies();
        for buffer in [&mut work.request.buffer, &mut work.answer.out, &mut work.upload.out] {
            buffer.clear();
            if buffer.capacity() > 2 * HEAD_BUFFER_BYTES {
                *buffer = Buffer::default();
            }
        }
        if work.upload.replay.bytes.capacity() > HEAD_BUFFER_BYTES {
            work.upload.replay = Replay::default();
        }
        spare.push(work);
    }
}
