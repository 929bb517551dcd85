//! One request, from its first byte to the end of its answer: what the core's exchange decides is carried out here.

use std::sync::Arc;

use dromon_core::config::model::Kind;
use dromon_core::exchange::{Arrival, End, Exchange, Input, Local, RequestView, Step};
use dromon_core::fault::Reason;
use dromon_core::h1::{Body, Form, PathPolicy, PortRules, Progress, Reject, RequestRef, Rule, request_id};
use dromon_core::h2::grpc;
use dromon_core::h2::grpc_web::Web;
use dromon_core::limits::{HEAD_BUFFER_BYTES, HEAD_BYTES_MAX, HEAD_DEADLINE_MS};
use dromon_core::time::Tick;

use super::account;
use super::attempt::{self, Tried};
use super::client::Client;
use super::fetch;
use super::framing::Framing;
use super::http::Next;
use super::local::{self, Answered};
use super::tunnel::Tunnel;
use super::work::{Request, Work};
use crate::io::Interrupted;
use crate::sys::clock;

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
    let deadline = clock::coarse().plus_millis(HEAD_DEADLINE_MS);
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
        match client.alarm.within(deadline, client.stream.read(buffer)).await {
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
    let Work { request, upload, flags, web, .. } = work;
    let bytes = request.buffer.filled();
    let normalized = request.head.normalized_path(bytes, PathPolicy::default(), &mut request.path)?;
    request.path_differs = normalized.is_some();
    if request.head.request_id().is_none() {
        request.id = Some(request_id::generate(&mut client.shard.rng.borrow_mut()));
    }
    let body = request.head.body();
    client.stream.ends_with_fin(body == Body::Empty);
    if body != Body::Empty {
        upload.framing = Framing::new(body, body, request.head.accepts_trailers());
        upload.buffer = client.shard.buffers.take(0);
        upload.buffer.extend(bytes.get(request.head_bytes..).unwrap_or_default());
        request.buffer.truncate(request.head_bytes);
        flags.invited.set(!request.head.expects_continue());
        flags.uploaded.set(false);
        if client.port.gateway {
            let view = request.view(client);
            *web = Web::of(view.header("content-type"), view.header("accept"));
        }
    }
    Ok(())
}

/// What a step asks for, with what is large put aside: this lives across every wait of an exchange.
enum Todo {
    Respond(Box<Local>),
    Wait(Tick),
    Fetch(Box<(Kind, Arc<str>, Tick)>),
    /// [`Work::attempt`] says where to.
    Attempt,
    Nothing,
}

impl Todo {
    fn of(step: Step, work: &mut Work) -> Todo {
        match step {
            Step::Respond(local) => Todo::Respond(Box::new(local)),
            Step::Wait(until) => Todo::Wait(until),
            Step::Fetch { kind, name, until } => Todo::Fetch(Box::new((kind, name, until))),
            Step::Attempt(attempt) => {
                work.attempt = Some(attempt);
                Todo::Attempt
            }
            Step::Discard(inner) => Todo::of(*inner, work),
            Step::Forward | Step::Done => Todo::Nothing,
        }
    }
}

/// Does what the exchange says, step by step.
async fn carry_out(client: &Client, work: &mut Work) -> Next {
    let shard = &client.shard;
    work.times.arrived = shard.now();
    let (mut exchange, mut todo) = begin(client, work, work.times.arrived);
    loop {
        todo = match todo {
            Todo::Respond(local) => return respond(client, work, exchange, local).await,
            Todo::Wait(until) => {
                match client.alarm.watch(until, &client.stream, std::future::pending::<()>()).await {
                    Err(Interrupted::Gone) => return gone(client, work, exchange),
                    _ => handle(client, work, &mut exchange, Input::Timer),
                }
            }
            Todo::Fetch(wanted) => {
                let (kind, name, until) = *wanted;
                match Box::pin(fetch::wait(client, kind, name, until)).await {
                    Input::Finished(End::DownstreamClosed) => return gone(client, work, exchange),
                    Input::Table => {
                        let (begun, first) = begin(client, work, shard.now());
                        exchange = begun;
                        first
                    }
                    other => handle(client, work, &mut exchange, other),
                }
            }
            Todo::Attempt => {
                let Some(under_way) = &mut exchange else { return Next::Close };
                match attempt::run(client, work, under_way).await {
                    Tried::Again(step) => Todo::of(*step, work),
                    Tried::Answered(answered) => {
                        account::finished(client, work, under_way);
                        return finish(client, work, answered).await;
                    }
                    Tried::Switched(switched) => {
                        let Some(exchange) = exchange else { return Next::Close };
                        return Next::Tunnel(Box::new(Tunnel { exchange, switched: *switched }));
                    }
                    Tried::BadBody(reject) => return bad_body(client, work, exchange, reject).await,
                    Tried::ClientGone => return gone(client, work, exchange),
                }
            }
            Todo::Nothing => return Next::Close,
        }
    }
}

/// Routes the request by the table in force.
fn begin(client: &Client, work: &mut Work, now: Tick) -> (Option<Exchange>, Todo) {
    let shard = &client.shard;
    let begun = shard.with_table(|table| {
        let request = &work.request;
        let arrival = Arrival {
            listener: client.listener.index(table)?,
            arrived: work.times.arrived,
            peer: client.peer,
            original_destination: client.original,
            absolute_form: request.head.form() == Form::Absolute,
            has_body: request.head.body() != Body::Empty,
            upgrade: request.head.wants_upgrade(),
            shard: shard.id.0,
            server_tls: client.server_tls(table),
        };
        let view = request.view(client);
        let whole = view.path_and_query();
        let path = whole.split(|byte| *byte == b'?').next().unwrap_or(whole);
        let deadline = work.web.map_or(Tick::NEVER, |_| call_deadline(&view, arrival.arrived));
        Some(Exchange::begin_within(table, &arrival, &view, path, deadline, now, &mut shard.rng.borrow_mut()))
    });
    match begun.flatten() {
        Some((exchange, step)) => (Some(exchange), Todo::of(step, work)),
        None => {
            let detail = "this proxy has no configuration for the listener";
            (None, Todo::Respond(Box::new(Local::new(Reason::ConfigPending, detail))))
        }
    }
}

/// When the caller of gRPC-Web gives up.
fn call_deadline(view: &RequestRef<'_>, arrived: Tick) -> Tick {
    let timeout = view.header(grpc::TIMEOUT).and_then(grpc::timeout);
    timeout.map_or(Tick::NEVER, |timeout| {
        arrived.plus_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
    })
}

fn handle(client: &Client, work: &mut Work, exchange: &mut Option<Exchange>, input: Input) -> Todo {
    let shard = &client.shard;
    match exchange {
        Some(exchange) => {
            let step = exchange.handle(input, shard.now(), &mut shard.rng.borrow_mut());
            Todo::of(step, work)
        }
        None => Todo::Nothing,
    }
}

/// Answers from here.
async fn respond(client: &Client, work: &mut Work, exchange: Option<Exchange>, local: Box<Local>) -> Next {
    let expose = exchange.as_ref().is_none_or(Exchange::expose_reason);
    let answered = local::respond(client, work, &local, expose).await;
    let reason = local.reason;
    drop(local);
    match exchange {
        Some(_) => over(client, work, exchange, answered.end()),
        None => account::unrouted(client, work, reason, None),
    }
    finish(client, work, answered).await
}

/// The client's body broke a rule before it had an answer.
async fn bad_body(client: &Client, work: &mut Work, exchange: Option<Exchange>, reject: Reject) -> Next {
    let next = local::refuse(client, work, &reject).await;
    over(client, work, exchange, End::Refused(reject.reason));
    next
}

fn gone(client: &Client, work: &Work, exchange: Option<Exchange>) -> Next {
    if work.answer.started {
        // An answer that ends with its connection must not look whole (R32).
        client.stream.reset_on_close();
    }
    over(client, work, exchange, End::DownstreamClosed);
    Next::Close
}

/// Tells the exchange that it is over, and accounts for it.
fn over(client: &Client, work: &Work, exchange: Option<Exchange>, end: End) {
    let shard = &client.shard;
    if let Some(mut exchange) = exchange {
        exchange.handle(Input::Finished(end), shard.now(), &mut shard.rng.borrow_mut());
        account::finished(client, work, &exchange);
    }
}

impl Request {
    /// The request as decisions see it.
    pub(super) fn view<'a>(&'a self, client: &'a Client) -> RequestRef<'a> {
        let path = self.path_differs.then_some(self.path.as_slice());
        let scheme = if client.secure() { "https" } else { "http" };
        RequestRef::new(&self.head, self.buffer.filled(), scheme).with_path(path).of(client.principal())
    }
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
            client.stream.reset_on_close();
            Next::Close
        }
    }
}

/// Leaves in the request's buffer what the client has sent beyond this request.
fn next_request(client: &Client, work: &mut Work) {
    let Work { request, upload, .. } = work;
    request.buffer.consume(request.head_bytes);
    if request.head.body() != Body::Empty {
        request.buffer.clear();
        request.buffer.extend(upload.buffer.filled());
        client.shard.buffers.give(std::mem::take(&mut upload.buffer));
    }
}
