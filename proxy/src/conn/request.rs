//! One request, from its first byte to the end of its answer: what the core's exchange decides is carried out here.

use dromon_core::exchange::{Arrival, End, Exchange, Input, Local, RequestView, Step};
use dromon_core::fault::Reason;
use dromon_core::h1::{Body, Form, PathPolicy, PortRules, Progress, Reject, RequestRef, Rule, request_id};
use dromon_core::limits::{HEAD_BUFFER_BYTES, HEAD_BYTES_MAX, HEAD_DEADLINE_MS};
use dromon_core::time::Tick;

use super::account;
use super::attempt::{self, Tried};
use super::client::Client;
use super::framing::Framing;
use super::http::Next;
use super::local::{self, Answered};
use super::work::{Request, Work};
use crate::io::{Interrupted, watch, within};
use crate::mailbox::FromShard;

/// Why there is no request to serve.
enum NoRequest {
    /// The client closed, or broke off; nothing can be said to it.
    Gone,
    /// What came is refused.
    Refused(Reject),
    /// The head did not come in time (R21).
    Late,
}

/// Serves one request; its first byte is there or on its way.
pub(super) async fn serve(client: &Client, work: &mut Work) -> Next {
    work.begin();
    match read_head(client, &mut work.request).await {
        Ok(()) => {}
        Err(NoRequest::Gone) => return Next::Close,
        Err(NoRequest::Refused(reject)) => {
            return refuse(client, work, &reject).await;
        }
        Err(NoRequest::Late) => {
            let detail = "the request's head did not arrive in time";
            let reject = Reject { rule: Rule::R21, reason: Reason::HeadTimeout, detail };
            return refuse(client, work, &reject).await;
        }
    }
    let _under_way = client.shard.gauges.requests_active.hold();
    client.requests.set(client.requests.get() + 1);
    if let Err(reject) = prepare(client, work) {
        return refuse(client, work, &reject).await;
    }
    carry_out(client, work).await
}

async fn refuse(client: &Client, work: &mut Work, reject: &Reject) -> Next {
    let next = local::refuse(client, work, reject).await;
    account::refused(client, work, reject);
    next
}

/// Reads until the head is complete and parsed.
async fn read_head(client: &Client, request: &mut Request) -> Result<(), NoRequest> {
    let deadline = client.shard.now().plus_millis(HEAD_DEADLINE_MS);
    let rules = PortRules { explicit_proxy: client.port.outbound };
    loop {
        if !request.buffer.is_empty() {
            match request.head.parse(request.buffer.filled(), rules) {
                Ok(Progress::Complete(bytes)) => {
                    request.head_bytes = bytes;
                    request.dirty = false;
                    return Ok(());
                }
                Ok(Progress::Incomplete) => {}
                Err(reject) => return Err(NoRequest::Refused(reject)),
            }
        }
        if request.buffer.room() == 0 {
            let larger = (request.buffer.capacity() * 2).clamp(HEAD_BUFFER_BYTES, HEAD_BYTES_MAX + 1);
            request.buffer.grow(larger);
        }
        let buffer = std::mem::take(&mut request.buffer);
        match within(deadline, client.socket.read(buffer)).await {
            Ok((Ok(count), buffer)) => {
                request.buffer = buffer;
                if count == 0 {
                    return Err(NoRequest::Gone);
                }
            }
            Ok((Err(_), _)) => return Err(NoRequest::Gone),
            Err(_) => return Err(NoRequest::Late),
        }
    }
}

/// What follows from the head alone: the path for matching, the request's id, where its body starts.
fn prepare(client: &Client, work: &mut Work) -> Result<(), Reject> {
    let Work { request, upload, flags, .. } = work;
    let bytes = request.buffer.filled();
    let normalized = request.head.normalized_path(bytes, PathPolicy::default(), &mut request.path)?;
    request.path_differs = normalized.is_some();
    if request.head.request_id().is_none() {
        request.id = Some(request_id::generate(&mut client.shard.rng.borrow_mut()));
    }
    let body = request.head.body();
    if body != Body::Empty {
        upload.framing = Framing::new(body, body, request.head.accepts_trailers());
        upload.buffer = client.shard.buffers.take(0);
        upload.buffer.extend(bytes.get(request.head_bytes..).unwrap_or_default());
        request.buffer.truncate(request.head_bytes);
        flags.invited.set(!request.head.expects_continue());
        flags.uploaded.set(false);
    }
    Ok(())
}

/// Does what the exchange says, step by step.
async fn carry_out(client: &Client, work: &mut Work) -> Next {
    let shard = &client.shard;
    let arrived = shard.now();
    work.times.arrived = arrived;
    let (mut exchange, mut step) = match begin(client, &work.request, arrived) {
        Ok(begun) => begun,
        Err(local) => {
            let answered = local::respond(client, work, &local, true).await;
            return finish(client, work, answered).await;
        }
    };
    loop {
        step = match step {
            Step::Respond(local) => {
                let answered = local::respond(client, work, &local, exchange.expose_reason()).await;
                exchange.handle(Input::Finished(answered.end()), shard.now(), &mut shard.rng.borrow_mut());
                account::finished(client, work, &exchange);
                return finish(client, work, answered).await;
            }
            Step::Wait(until) => match watch(until, &client.socket, std::future::pending::<()>()).await {
                Err(Interrupted::Gone) => return gone(client, work, &mut exchange),
                _ => exchange.handle(Input::Timer, shard.now(), &mut shard.rng.borrow_mut()),
            },
            Step::Fetch { kind, name, until } => {
                let changed = shard.table_changed.notified();
                // A full mailbox means that the steward is behind; the wait then ends with its deadline.
                let _ = shard.outbox.try_send(FromShard::Need { kind, name });
                match within(until, changed).await {
                    Ok(()) => match begin(client, &work.request, arrived) {
                        Ok((begun, step)) => {
                            exchange = begun;
                            step
                        }
                        Err(local) => Step::Respond(local),
                    },
                    Err(_) => exchange.handle(Input::Timer, shard.now(), &mut shard.rng.borrow_mut()),
                }
            }
            Step::Attempt(attempt) => match attempt::run(client, work, &mut exchange, &attempt).await {
                Tried::Again(step) => step,
                Tried::Answered(answered) => {
                    account::finished(client, work, &exchange);
                    return finish(client, work, answered).await;
                }
                Tried::Tunnel(tunnel) => {
                    account::finished(client, work, &exchange);
                    return Next::Tunnel(tunnel);
                }
                Tried::BadBody(reject) => {
                    exchange.handle(
                        Input::Finished(End::DownstreamClosed),
                        shard.now(),
                        &mut shard.rng.borrow_mut(),
                    );
                    let next = local::refuse(client, work, &reject).await;
                    account::finished(client, work, &exchange);
                    return next;
                }
                Tried::ClientGone => return gone(client, work, &mut exchange),
            },
            Step::Discard(inner) => *inner,
            Step::Forward | Step::Done => return Next::Close,
        }
    }
}

/// Routes the request by the table in force.
fn begin(client: &Client, request: &Request, arrived: Tick) -> Result<(Exchange, Step), Local> {
    let shard = &client.shard;
    let missing = || Local::new(Reason::ConfigPending, "this proxy has no configuration for the listener");
    let table = shard.table().ok_or_else(missing)?;
    let listener = client.listener.index(&table).ok_or_else(missing)?;
    let arrival = Arrival {
        listener,
        arrived,
        peer: client.peer,
        original_destination: client.original,
        absolute_form: request.head.form() == Form::Absolute,
        has_body: request.head.body() != Body::Empty,
        upgrade: request.head.wants_upgrade(),
    };
    let view = request.view();
    let whole = view.path_and_query();
    let path = whole.split(|byte| *byte == b'?').next().unwrap_or(whole);
    let now = shard.now();
    Ok(Exchange::begin(&table, &arrival, &view, path, now, &mut shard.rng.borrow_mut()))
}

impl Request {
    /// The request as decisions see it.
    pub(super) fn view(&self) -> RequestRef<'_> {
        let path = self.path_differs.then_some(self.path.as_slice());
        RequestRef::new(&self.head, self.buffer.filled(), "http").with_path(path)
    }
}

fn gone(client: &Client, work: &Work, exchange: &mut Exchange) -> Next {
    let shard = &client.shard;
    exchange.handle(Input::Finished(End::DownstreamClosed), shard.now(), &mut shard.rng.borrow_mut());
    account::finished(client, work, exchange);
    Next::Close
}

/// Makes the connection ready for the next request, if there may be one.
async fn finish(client: &Client, work: &mut Work, answered: Answered) -> Next {
    match answered {
        Answered::KeepAlive if work.upload.framing.is_done() || local::drain(client, work).await => {
            next_request(client, work);
            Next::KeepAlive
        }
        Answered::KeepAlive | Answered::Close => {
            local::linger(client, work).await;
            Next::Close
        }
        Answered::Broken(_) => {
            // The client must not take what it got for the whole (R32).
            client.socket.reset_on_close();
            Next::Close
        }
    }
}

/// Leaves in the request's buffer what the client has sent beyond this request.
fn next_request(client: &Client, work: &mut Work) {
    let Work { request, upload, .. } = work;
    request.buffer.consume(request.head_bytes);
    if upload.buffer.capacity() > 0 {
        request.buffer.clear();
        request.buffer.extend(upload.buffer.filled());
        client.shard.buffers.give(std::mem::take(&mut upload.buffer));
    }
}
