//! The answer on its way to the client.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dromon_core::exchange::unserved::UNSERVED;
use dromon_core::exchange::{End, Local};
use dromon_core::h2::edit;
use dromon_core::h2::grpc;
use dromon_core::h2::grpc_web::Web;
use dromon_core::limits::WRITE_STALL_MS;
use dromon_core::time::Tick;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::call::{Call, field_bytes};
use super::server::Conn;
use crate::io::Interrupted;
use crate::sys::clock;

/// Most that one DATA frame of ours holds; the peer's limit is at least that (RFC 9113, 4.2).
const FRAME_BYTES: usize = 16 * 1024;

/// The stream towards the client, and what is told of the answer.
pub(super) struct Reply {
    conn: Rc<Conn>,
    respond: SendResponse<Bytes>,
    body: Option<SendStream<Bytes>>,
    /// The answer, or an interim one, was begun.
    pub(super) started: bool,
    /// The status sent; 0 before one is.
    pub(super) status: u16,
    /// The `grpc-status` of head or trailers.
    pub(super) grpc_status: Option<u8>,
    pub(super) head_bytes: u64,
    /// Bytes of body sent.
    pub(super) sent_bytes: u64,
    /// When the final head came; [`Tick::ZERO`] before.
    pub(super) answered: Tick,
    /// The upstream's head, where an access log may ask for it.
    pub(super) log_head: Option<HeaderMap>,
}

/// The client takes no more of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It is gone, or has reset the stream.
    Gone,
    /// It takes nothing for too long.
    Stalled,
    /// The exchange's time is over.
    Late,
}

impl Cut {
    /// As the exchange wants to know it.
    pub(super) fn end(self) -> End {
        match self {
            Cut::Gone | Cut::Stalled => End::DownstreamClosed,
            Cut::Late => End::TimedOut,
        }
    }
}

impl Reply {
    pub(super) fn new(conn: Rc<Conn>, respond: SendResponse<Bytes>) -> Reply {
        Reply {
            conn,
            respond,
            body: None,
            started: false,
            status: 0,
            grpc_status: None,
            head_bytes: 0,
            sent_bytes: 0,
            answered: Tick::ZERO,
            log_head: None,
        }
    }

    /// Ready once the client has reset the stream, or its connection is gone.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.body {
            Some(body) => body.poll_reset(context).map(|_| ()),
            None => self.respond.poll_reset(context).map(|_| ()),
        }
    }

    /// Sends an interim answer on.
    pub(super) fn interim(&mut self, head: Response<()>) -> Result<(), Cut> {
        self.started = true;
        self.respond.send_informational(head).map_err(|_| Cut::Gone)
    }

    /// Sends the final head; `end`: nothing follows.
    pub(super) fn head(&mut self, head: Response<()>, end: bool) -> Result<(), Cut> {
        self.started = true;
        self.status = head.status().as_u16();
        self.head_bytes = (field_bytes(head.headers()) + b":status: 200".len()) as u64;
        self.body = Some(self.respond.send_response(head, end).map_err(|_| Cut::Gone)?);
        self.conn.answered();
        Ok(())
    }

    /// Sends a part of the body, as fast as the client takes it; `end`: it is the last.
    pub(super) async fn data(
        &mut self,
        call: &Call,
        mut bytes: Bytes,
        end: bool,
        deadline: Tick,
    ) -> Result<(), Cut> {
        while !bytes.is_empty() {
            let room = self.room(call, bytes.len(), deadline).await?;
            let part = bytes.split_to(room.min(bytes.len()));
            self.sent_bytes += part.len() as u64;
            for _ in 0..part.len().div_ceil(FRAME_BYTES) {
                call.conn().data_sent();
            }
            let last = end && bytes.is_empty();
            self.body.as_mut().ok_or(Cut::Gone)?.send_data(part, last).map_err(|_| Cut::Gone)?;
        }
        Ok(())
    }

    /// Bytes that the client takes now, at least one, waiting for them as long as a stalled reader is given.
    async fn room(&mut self, call: &Call, wanted: usize, deadline: Tick) -> Result<usize, Cut> {
        let body = self.body.as_mut().ok_or(Cut::Gone)?;
        body.reserve_capacity(wanted);
        let stalls_at = clock::coarse().plus_millis(WRITE_STALL_MS);
        loop {
            let room = body.capacity();
            if room > 0 {
                return Ok(room);
            }
            let grown = std::future::poll_fn(|context| body.poll_capacity(context));
            match call.alarm.within(stalls_at.min(deadline), grown).await {
                Ok(Some(Ok(_))) => {}
                Ok(_) => return Err(Cut::Gone),
                Err(_) if clock::now() >= deadline => return Err(Cut::Late),
                Err(_) => return Err(Cut::Stalled),
            }
        }
    }

    /// Ends the answer.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Cut> {
        let body = self.body.as_mut().ok_or(Cut::Gone)?;
        match trailers {
            Some(trailers) => {
                self.grpc_status = grpc::status(&trailers).or(self.grpc_status);
                body.send_trailers(trailers).map_err(|_| Cut::Gone)
            }
            None => body.send_data(Bytes::new(), true).map_err(|_| Cut::Gone),
        }
    }

    /// Breaks the answer off: the client must not take what it got for the whole (R32).
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.body {
            Some(body) => body.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    /// Gives an answer that the exchange or this proxy has decided on: to a caller of gRPC as a status of gRPC, which
    /// callers that read nothing else understand.
    pub(super) async fn local(&mut self, call: &Call, local: &Local, expose: bool) -> Result<(), Cut> {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(local.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = head.headers_mut();
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let mut set = |name: HeaderName, value: Option<HeaderValue>| {
            if let Some(value) = value {
                fields.insert(name, value);
            }
        };
        set(LOCATION, local.location.as_deref().and_then(text));
        set(RETRY_AFTER, local.retry_after_s.map(HeaderValue::from));
        if expose {
            let label = HeaderValue::from_static(local.reason.facts().label);
            set(HeaderName::from_static("x-dromon-reason"), Some(label));
        }
        if let Some(address) = super::super::local::unserved(&call.conn().client, local) {
            set(HeaderName::from_static(UNSERVED), text(&address.to_string()));
        }
        let detail = if expose { local.detail.as_str() } else { "" };
        let body = local.body.as_deref().unwrap_or(detail);
        if call.grpc {
            let status = grpc::status_of(local.reason, local.status);
            let message = if body.is_empty() { local.reason.facts().label } else { body };
            let content_type = call.web.map_or("application/grpc", Web::content_type);
            set(CONTENT_TYPE, text(content_type));
            set(grpc::STATUS_FIELD, Some(HeaderValue::from(u16::from(status))));
            set(grpc::MESSAGE_FIELD, text(&grpc::message(message)));
            *head.status_mut() = StatusCode::OK;
            self.grpc_status = Some(status);
            return self.head(head, true);
        }
        let bodiless = matches!(local.status, 204 | 304);
        if !bodiless {
            set(CONTENT_LENGTH, Some(HeaderValue::from(body.len())));
            set(CONTENT_TYPE, text("text/plain").filter(|_| !body.is_empty()));
        }
        if let Some(changes) = local.changes.get() {
            edit(head.headers_mut(), &[changes]);
        }
        let end = bodiless || body.is_empty() || call.parts.method == Method::HEAD;
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        self.head(head, end)?;
        if end { Ok(()) } else { self.data(call, bytes, true, Tick::NEVER).await }
    }
}

impl From<Interrupted> for Cut {
    fn from(interrupted: Interrupted) -> Cut {
        match interrupted {
            Interrupted::Deadline => Cut::Late,
            Interrupted::Gone => Cut::Gone,
        }
    }
}
