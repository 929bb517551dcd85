//! One request as all its tries see it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use dromon_core::exchange::{Arrival, Exchange, Step};
use dromon_core::h1::request_id::{self, RequestId};
use dromon_core::h1::{self, PathPolicy, Reject};
use dromon_core::h2::grpc_web::Web;
use dromon_core::h2::{Checked, PartsRef, check, grpc};
use dromon_core::telemetry::Principals;
use dromon_core::time::Tick;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::reply::Reply;
use super::server::{Conn, Open};
use crate::io::{Alarm, Interrupted};

/// A request: its head, checked, and what follows from it.
pub(super) struct Call {
    open: Open,
    pub(super) parts: Parts,
    pub(super) checked: Checked,
    /// The protocol of an extended CONNECT (RFC 8441).
    pub(super) protocol: Option<h2::ext::Protocol>,
    /// Path and query as rules match them, where that differs from what was sent.
    path: Option<Box<[u8]>>,
    /// Made here for a request that had none.
    pub(super) id: Option<RequestId>,
    /// It is a call of gRPC.
    pub(super) grpc: bool,
    /// It is gRPC-Web at a gateway.
    pub(super) web: Option<Web>,
    /// When the caller gives up (`grpc-timeout`).
    pub(super) deadline: Tick,
    /// No body follows.
    pub(super) bodiless: bool,
    pub(super) arrived: Tick,
    /// When the latest try's head was sent; [`Tick::ZERO`] before.
    pub(super) sent: Cell<Tick>,
    /// The stream's timer.
    pub(super) alarm: Alarm,
    /// Why the latest upstream connection that failed in TLS did; empty before one has.
    pub(super) transport_failure: RefCell<Box<str>>,
    /// Who is at either end of the latest try's connection, where that was proved.
    pub(super) principals: RefCell<Option<Arc<Principals>>>,
    /// This end's address on that connection, where an access log may show it.
    pub(super) upstream_local: Cell<Option<SocketAddr>>,
}

impl Call {
    /// A request as it came, not checked yet.
    pub(super) fn new(open: Open, parts: Parts, bodiless: bool) -> Call {
        let now = open.0.client.shard.now();
        Call {
            open,
            parts,
            checked: Checked::default(),
            protocol: None,
            path: None,
            id: None,
            grpc: false,
            web: None,
            deadline: Tick::NEVER,
            bodiless,
            arrived: now,
            sent: Cell::new(Tick::ZERO),
            alarm: Alarm::default(),
            transport_failure: RefCell::default(),
            principals: RefCell::default(),
            upstream_local: Cell::default(),
        }
    }

    /// Checks the head and takes from it what decisions need.
    pub(super) fn prepare(&mut self) -> Result<(), Reject> {
        self.protocol = self.parts.extensions.remove::<h2::ext::Protocol>();
        self.checked = check(&self.parts, self.protocol.as_ref().map(h2::ext::Protocol::as_str))?;
        if !self.checked.plain_path {
            let sent = self.view().sent_path().to_vec();
            let mut normal = Vec::with_capacity(sent.len());
            h1::normalize(&sent, PathPolicy::default(), &mut normal)?;
            self.path = (normal != sent).then(|| normal.into_boxed_slice());
        }
        let fields = &self.parts.headers;
        if !self.checked.has_request_id {
            let id = request_id::generate(&mut self.conn().client.shard.rng.borrow_mut());
            self.id = Some(id);
        }
        let content_type = fields.get(CONTENT_TYPE).map(|value| value.as_bytes());
        if content_type.is_some() && self.conn().client.port.gateway {
            self.web = Web::of_fields(fields);
        }
        self.grpc = self.web.is_some() || grpc::is_grpc(content_type);
        let timeout = if self.grpc { fields.get(grpc::TIMEOUT_FIELD) } else { None };
        if let Some(timeout) = timeout.and_then(|value| grpc::timeout(value.as_bytes())) {
            let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.deadline = self.arrived.plus_millis(ms);
        }
        Ok(())
    }

    pub(super) fn conn(&self) -> &Rc<Conn> {
        &self.open.0
    }

    /// The request as decisions see it.
    pub(super) fn view(&self) -> PartsRef<'_> {
        let secure = self.conn().client.secure();
        let scheme = if secure { "https" } else { "http" };
        let principal = self.conn().client.principal();
        PartsRef::new(&self.parts, scheme).with_path(self.path.as_deref()).of(principal)
    }

    /// Routes the request by the table in force; none where that has no such listener.
    pub(super) fn begin(&self, now: Tick) -> Option<(Exchange, Step)> {
        let client = &self.conn().client;
        let shard = &client.shard;
        let begun = shard.with_table(|table| {
            let arrival = Arrival {
                listener: client.listener.index(table)?,
                arrived: self.arrived,
                peer: client.peer,
                original_destination: client.original,
                absolute_form: client.port.outbound && client.original.is_none(),
                has_body: !self.bodiless,
                upgrade: self.protocol.is_some(),
                shard: shard.id.0,
                server_tls: client.server_tls(table),
            };
            let view = self.view();
            let whole = dromon_core::exchange::RequestView::path_and_query(&view);
            let path = whole.split(|byte| *byte == b'?').next().unwrap_or(whole);
            let mut rng = shard.rng.borrow_mut();
            Some(Exchange::begin_within(table, &arrival, &view, path, self.deadline, now, &mut rng))
        });
        begun.flatten()
    }

    /// Waits for `future` until `deadline`, or until the client has reset the stream.
    pub(super) async fn watch<F: Future>(
        &self,
        deadline: Tick,
        reply: &mut Reply,
        future: F,
    ) -> Result<F::Output, Interrupted> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            if reply.poll_gone(context).is_ready() {
                return Poll::Ready(Err(Interrupted::Gone));
            }
            self.alarm.poll_until(deadline, context).map(|()| Err(Interrupted::Deadline))
        })
        .await
    }

    /// Path and query exactly as sent.
    pub(super) fn sent_path(&self) -> &[u8] {
        PartsRef::new(&self.parts, "").sent_path()
    }

    /// The authority asked for.
    pub(super) fn authority(&self) -> &[u8] {
        PartsRef::new(&self.parts, "").asked_authority()
    }

    /// Bytes of the head, about as HTTP/1 would have it.
    pub(super) fn head_bytes(&self) -> u64 {
        let line = self.parts.method.as_str().len() + self.sent_path().len();
        (line + field_bytes(&self.parts.headers)) as u64
    }
}

/// Bytes of fields, about as HTTP/1 would have them.
pub(super) fn field_bytes(fields: &http::HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
