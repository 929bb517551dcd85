//! One stream, from its head to the end of its answer: what the core's exchange decides is carried out here.

use std::sync::Arc;

use bytes::Bytes;
use dromon_core::config::model::Kind;
use dromon_core::exchange::{Attempt, End, Exchange, Input, Local, Step};
use dromon_core::fault::Reason;
use dromon_core::h1::Reject;
use dromon_core::limits::EARLY_ANSWER_WAIT_MS;
use dromon_core::time::Tick;
use h2::RecvStream;
use h2::server::SendResponse;

use super::account;
use super::call::Call;
use super::reply::{Cut, Reply};
use super::server::Open;
use super::source::Source;
use super::{over_h1, over_h2};
use crate::conn::{attempt, fetch};
use crate::io::Interrupted;
use crate::pool::{H2Call, Offer, Opened, Upstream, Wanted};

/// What came of a try.
pub(super) enum Tried {
    /// The exchange goes on with this step.
    Again(Box<Step>),
    /// The client has its answer, as far as it goes; this is how it ended.
    Answered(End),
    /// The client is gone.
    ClientGone,
}

/// A stream under way.
pub(super) struct Work {
    pub(super) call: Call,
    pub(super) source: Source,
    pub(super) reply: Reply,
}

/// Serves one stream.
pub(super) async fn serve(work: &mut Work) {
    match work.call.prepare() {
        Ok(()) => carry_out(work).await,
        Err(reject) => refuse(work, &reject).await,
    }
    if !work.source.is_ended() {
        let until = work.call.conn().client.shard.now().plus_millis(EARLY_ANSWER_WAIT_MS);
        // Boxed: few streams are answered before their request has come.
        let _ = work.call.alarm.within(until, Box::pin(work.source.drain())).await;
    }
}

/// A request that could not be said by HTTP/1 is malformed and its stream an error (RFC 9113, 8.1.1); what is merely not
/// served is answered.
async fn refuse(work: &mut Work, reject: &Reject) {
    let Work { call, reply, .. } = work;
    if reject.reason == Reason::BadRequest {
        reply.reset(h2::Reason::PROTOCOL_ERROR);
        call.conn().stream_error();
    } else {
        let expose = call.conn().client.shard.with_table(|table| table.proxy.expose_reason);
        let local = Local::new(reject.reason, reject.detail);
        // Who does not take the answer does not need it.
        let _ = reply.local(call, &local, expose.unwrap_or_default()).await;
    }
    account::unrouted(work, reject.reason, Some(reject.rule));
}

/// What a step asks for.
enum Todo {
    Respond(Box<Local>),
    Wait(Tick),
    Fetch(Kind, Arc<str>, Tick),
    Attempt(Box<Attempt>),
    Nothing,
}

impl From<Step> for Todo {
    fn from(step: Step) -> Todo {
        match step {
            Step::Respond(local) => Todo::Respond(Box::new(local)),
            Step::Wait(until) => Todo::Wait(until),
            Step::Fetch { kind, name, until } => Todo::Fetch(kind, name, until),
            Step::Attempt(attempt) => Todo::Attempt(Box::new(attempt)),
            Step::Discard(inner) => Todo::from(*inner),
            Step::Forward | Step::Done => Todo::Nothing,
        }
    }
}

/// Does what the exchange says, step by step.
async fn carry_out(work: &mut Work) {
    let Some((mut exchange, first)) = work.call.begin(work.call.arrived) else {
        let local = Local::new(Reason::ConfigPending, "this proxy has no configuration for the listener");
        let _ = work.reply.local(&work.call, &local, true).await;
        return account::unrouted(work, local.reason, None);
    };
    let mut todo = Todo::from(first);
    let end = loop {
        todo = match todo {
            Todo::Respond(local) => {
                let Work { call, reply, .. } = &mut *work;
                break match reply.local(call, &local, exchange.expose_reason()).await {
                    Ok(()) => End::Complete,
                    Err(cut) => cut.end(),
                };
            }
            Todo::Wait(until) => {
                let Work { call, reply, .. } = &mut *work;
                match call.watch(until, reply, std::future::pending::<()>()).await {
                    Err(Interrupted::Gone) => break gone(work),
                    _ => handle(work, &mut exchange, Input::Timer),
                }
            }
            Todo::Fetch(kind, name, until) => match fetch(work, kind, name, until).await {
                Input::Finished(_) => break gone(work),
                Input::Table => match work.call.begin(work.call.conn().client.shard.now()) {
                    Some((begun, first)) => {
                        exchange = begun;
                        Todo::from(first)
                    }
                    None => Todo::Nothing,
                },
                other => handle(work, &mut exchange, other),
            },
            Todo::Attempt(attempt) => match attempt_once(work, &mut exchange, &attempt).await {
                Tried::Again(step) => Todo::from(*step),
                Tried::Answered(end) => break end,
                Tried::ClientGone => break gone(work),
            },
            Todo::Nothing => break End::Complete,
        }
    };
    let shard = &work.call.conn().client.shard;
    exchange.handle(Input::Finished(end), shard.now(), &mut shard.rng.borrow_mut());
    account::finished(work, &exchange);
}

/// What a try goes by.
enum Reached {
    Connection(Box<Upstream>),
    Stream(H2Call),
}

/// Makes a try: finds a connection, then goes by what it speaks.
async fn attempt_once(work: &mut Work, exchange: &mut Exchange, attempt: &Attempt) -> Tried {
    let Work { call, reply, .. } = &mut *work;
    let conn = call.conn().clone();
    let (client, shard) = (&conn.client, &conn.client.shard);
    let reached = {
        let reach = async {
            let address = attempt::address(client, attempt).await?;
            let wanted = Wanted {
                offer: exchange.speak(true, false, client.port.gateway).into(),
                failure: Some(&call.transport_failure),
                ..attempt::wanted(client, exchange, attempt, address)
            };
            if wanted.offer != Offer::Http1
                && let Opened::Stream(stream) = shard.pools.open_stream(shard, wanted).await?
            {
                return Ok(Reached::Stream(stream));
            }
            let wanted = Wanted { offer: Offer::Http1, ..wanted };
            shard.pools.checkout(shard, &wanted).await.map(Reached::Connection)
        };
        // Who stands in line or connects for a client that is gone would hold a place that others wait for.
        call.watch(Tick::NEVER, reply, reach).await
    };
    match reached {
        Ok(Ok(Reached::Connection(upstream))) => over_h1::run(work, exchange, attempt, upstream).await,
        Ok(Ok(Reached::Stream(stream))) => over_h2::run(work, exchange, attempt, stream).await,
        Ok(Err(reason)) => {
            // What an earlier try had does not tell of this one.
            call.upstream_local.set(None);
            work.failed(exchange, reason, false, false)
        }
        Err(_) => Tried::ClientGone,
    }
}

fn handle(work: &Work, exchange: &mut Exchange, input: Input) -> Todo {
    let shard = &work.call.conn().client.shard;
    exchange.handle(input, shard.now(), &mut shard.rng.borrow_mut()).into()
}

fn gone(work: &Work) -> End {
    if work.reply.status == 0 {
        work.call.conn().reset_unanswered();
    }
    End::DownstreamClosed
}

/// Asks for an object and waits for the next table, until then at the longest.
async fn fetch(work: &mut Work, kind: Kind, name: Arc<str>, until: Tick) -> Input {
    let Work { call, reply, .. } = work;
    let shard = &call.conn().client.shard;
    let Some((_waiting, changed)) = fetch::ask(shard, kind, name) else { return Input::NoRoom };
    fetch::outcome(call.watch(until, reply, changed).await)
}

impl Work {
    /// A stream that has begun.
    pub(super) fn new(open: Open, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) -> Work {
        let (parts, recv) = request.into_parts();
        let source = Source::new(recv);
        let reply = Reply::new(open.0.clone(), respond);
        let call = Call::new(open, parts, source.is_ended());
        Work { call, source, reply }
    }

    /// The try has failed before its answer; the exchange says how to go on.
    pub(super) fn failed(
        &self,
        exchange: &mut Exchange,
        reason: Reason,
        request_bytes_sent: bool,
        connection_reused: bool,
    ) -> Tried {
        let shard = &self.call.conn().client.shard;
        let input = Input::AttemptFailed {
            reason,
            request_bytes_sent,
            connection_reused,
            replayable: self.is_replayable(),
        };
        Tried::Again(Box::new(exchange.handle(input, shard.now(), &mut shard.rng.borrow_mut())))
    }

    /// The request can be sent again from its start.
    pub(super) fn is_replayable(&self) -> bool {
        self.source.is_replayable() && !self.reply.started
    }

    /// The answer broke off on its way: so it must look to the client.
    pub(super) fn broken(&mut self, end: End, code: h2::Reason) -> Tried {
        self.reply.reset(code);
        Tried::Answered(end)
    }

    /// The client takes no more of the answer.
    pub(super) fn cut(&mut self, cut: Cut) -> Tried {
        match cut {
            Cut::Gone => Tried::Answered(End::DownstreamClosed),
            Cut::Stalled => self.broken(End::DownstreamClosed, h2::Reason::CANCEL),
            Cut::Late => self.broken(End::TimedOut, h2::Reason::CANCEL),
        }
    }
}
