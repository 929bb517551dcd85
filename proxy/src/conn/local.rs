//! Answers made here, and the care that ending a connection takes.

use std::net::SocketAddr;

use dromon_core::exchange::unserved::{self, UNSERVED};
use dromon_core::exchange::{End, Local};
use dromon_core::h1::encode::{LocalResponse, local_response};
use dromon_core::h1::{Reject, RequestHead, Version};
use dromon_core::h2::grpc;
use dromon_core::h2::grpc_web::Web;
use dromon_core::limits::{DRAIN_BYTES_MAX, DRAIN_MS_MAX, WRITE_STALL_MS};
use dromon_core::route::rule::Changes;
use http::header::CONTENT_TYPE;
use smallvec::SmallVec;

use super::body::write;
use super::client::Client;
use super::framing::Take;
use super::http::Next;
use super::work::Work;

/// Lower-case names and values.
type Fields<'a> = SmallVec<[(&'a str, &'a [u8]); 7]>;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// Completely, and the connection may serve another request.
    KeepAlive,
    /// Completely, and the client knows that the connection closes.
    Close,
    /// Incompletely.
    Broken(End),
}

impl Answered {
    /// As the exchange wants to know it.
    pub(super) fn end(self) -> End {
        match self {
            Answered::KeepAlive | Answered::Close => End::Complete,
            Answered::Broken(end) => end,
        }
    }
}

/// Refuses what cannot be served as a request: answers, then closes. Nothing of it was or will be forwarded.
pub(super) async fn refuse(client: &Client, work: &mut Work, reject: &Reject) -> Next {
    let expose = client.shard.table().is_some_and(|table| table.proxy.expose_reason);
    let body = if expose { reject.detail.as_bytes() } else { b"" };
    let facts = reject.reason.facts();
    let label = [("x-dromon-reason", facts.label.as_bytes())];
    work.answer.out.clear();
    let response = LocalResponse {
        status: facts.status,
        content_type: "text/plain",
        body,
        fields: if expose { &label } else { &[] },
        client: Version::Http11,
        keep_alive: false,
        to_head: false,
    };
    local_response(&response, work.answer.out.vec());
    work.answer.status = facts.status;
    work.answer.head_bytes = work.answer.out.len() as u64;
    if write(client, &client.stream, &mut work.answer.out).await.is_ok() {
        linger(client, work).await;
    }
    Next::Close
}

/// Gives an answer that the exchange or this proxy has decided on.
pub(super) async fn respond(client: &Client, work: &mut Work, local: &Local, expose: bool) -> Answered {
    let head = &work.request.head;
    let keep_alive = keep_alive(client, head) && work.flags.invited.get();
    let retry_after = local.retry_after_s.map(|seconds| seconds.to_string());
    let call = work.web.map(|web| GrpcStatus::new(web, local, expose));
    let unserved = unserved(client, local).map(|address| address.to_string());
    let mut fields = Fields::new();
    if let Some(call) = &call {
        fields.extend(call.fields());
        work.answer.grpc_status = Some(call.status);
    }
    if let Some(location) = &local.location {
        fields.push(("location", location.as_bytes()));
    }
    if let Some(seconds) = &retry_after {
        fields.push(("retry-after", seconds.as_bytes()));
    }
    if expose {
        fields.push(("x-dromon-reason", local.reason.facts().label.as_bytes()));
    }
    if let Some(address) = &unserved {
        fields.push((UNSERVED, address.as_bytes()));
    }
    let changes = local.changes.get().filter(|_| call.is_none());
    if let Some(changes) = changes {
        change(&mut fields, changes);
    }
    let detail = if expose { local.detail.as_str() } else { "" };
    work.answer.out.clear();
    let body = if call.is_some() { "" } else { local.body.as_deref().unwrap_or(detail) };
    let response = LocalResponse {
        status: if call.is_some() { 200 } else { local.status },
        content_type: if changes.is_some_and(says_content_type) { "" } else { "text/plain" },
        body: body.as_bytes(),
        fields: &fields,
        client: head.version(),
        keep_alive,
        to_head: head.method().of_bytes(work.request.buffer.filled()) == b"HEAD",
    };
    let body_bytes = if response.to_head { 0 } else { response.body.len() as u64 };
    local_response(&response, work.answer.out.vec());
    work.answer.status = response.status;
    work.answer.head_bytes = (work.answer.out.len() as u64).saturating_sub(body_bytes);
    work.answer.sent_bytes = body_bytes;
    match write(client, &client.stream, &mut work.answer.out).await {
        Ok(()) if keep_alive => Answered::KeepAlive,
        Ok(()) => Answered::Close,
        Err(_) => Answered::Broken(End::DownstreamClosed),
    }
}

/// Carries out what a rule does to the headers of its own answer.
fn change<'a>(fields: &mut Fields<'a>, changes: &'a Changes) {
    let gone = |name: &str| changes.remove.iter().any(|it| it == name);
    fields.retain(|(name, _)| !gone(name) && !changes.set.iter().any(|(it, _)| it == *name));
    let given = changes.set.iter().chain(&changes.add).filter(|(name, _)| !gone(name.as_str()));
    fields.extend(given.map(|(name, value)| (name.as_str(), value.as_bytes())));
}

/// Whether a rule says what the type of its answer's body is, or that none is told.
fn says_content_type(changes: &Changes) -> bool {
    let given = changes.set.iter().chain(&changes.add).map(|(name, _)| name);
    given.chain(&changes.remove).any(|name| name == CONTENT_TYPE)
}

/// Tells a workload of the mesh that the application here has not seen its request, by the address that it asked.
pub(super) fn unserved(client: &Client, local: &Local) -> Option<SocketAddr> {
    if !client.port.inbound || client.ends.is_none() || !unserved::tells(local.reason) {
        return None;
    }
    client.original.or_else(|| client.stream.socket().local_address().ok())
}

/// What a caller of gRPC-Web gets for an answer made here: a status in the head, which it reads where there is no body.
struct GrpcStatus {
    web: Web,
    status: u8,
    digits: String,
    message: String,
}

impl GrpcStatus {
    fn new(web: Web, local: &Local, expose: bool) -> GrpcStatus {
        let status = grpc::status_of(local.reason, local.status);
        let detail = local.body.as_deref().or(Some(local.detail.as_str()).filter(|_| expose));
        let text = detail.filter(|detail| !detail.is_empty()).unwrap_or(local.reason.facts().label);
        GrpcStatus { web, status, digits: status.to_string(), message: grpc::message(text) }
    }

    fn fields(&self) -> [(&str, &[u8]); 3] {
        [
            ("content-type", self.web.content_type().as_bytes()),
            (grpc::STATUS, self.digits.as_bytes()),
            (grpc::MESSAGE, self.message.as_bytes()),
        ]
    }
}

/// Whether the client's connection may live on after this request, as far as both ends of it are concerned.
pub(super) fn keep_alive(client: &Client, head: &RequestHead) -> bool {
    head.keep_alive() && !client.shard.draining()
}

/// Takes what is left of a request's body, if that is little (R23). True if the body is over.
pub(super) async fn drain(client: &Client, work: &mut Work) -> bool {
    let upload = &mut work.upload;
    let deadline = client.shard.now().plus_millis(DRAIN_MS_MAX);
    let mut drained_bytes = 0;
    if !work.flags.invited.get() {
        return false;
    }
    loop {
        drained_bytes += upload.buffer.len();
        upload.out.clear();
        match upload.framing.take(&mut upload.buffer, &mut upload.out) {
            Ok(Take::Whole) => upload.buffer.clear(),
            Ok(Take::Copied | Take::Nothing) => {}
            Err(_) => return false,
        }
        if upload.framing.is_done() {
            return true;
        }
        if drained_bytes > DRAIN_BYTES_MAX {
            return false;
        }
        upload.buffer.compact();
        if upload.buffer.room() == 0 {
            upload.buffer = client.shard.buffers.take(0);
        }
        let buffer = std::mem::take(&mut upload.buffer);
        match client.alarm.within(deadline, client.stream.read(buffer)).await {
            Ok((Ok(1..), buffer)) => upload.buffer = buffer,
            _ => return false,
        }
    }
}

/// Closes so that the answer arrives: a close with unread bytes would reset the connection and take the answer along, so
/// writing ends first and what the client still sends is thrown away for a moment (RFC 9112, 9.6).
pub(super) async fn linger(client: &Client, work: &mut Work) {
    let write_by = client.shard.now().plus_millis(WRITE_STALL_MS);
    let Ok(Ok(())) = client.alarm.within(write_by, client.stream.finish_write()).await else { return };
    let deadline = client.shard.now().plus_millis(DRAIN_MS_MAX);
    let mut drained_bytes = 0;
    let mut buffer = std::mem::take(&mut work.answer.out);
    while drained_bytes <= DRAIN_BYTES_MAX {
        buffer.clear();
        if buffer.room() == 0 {
            buffer = client.shard.buffers.take(0);
        }
        match client.alarm.within(deadline, client.stream.read(buffer)).await {
            Ok((Ok(count @ 1..), back)) => {
                drained_bytes += count;
                buffer = back;
            }
            _ => return,
        }
    }
}
