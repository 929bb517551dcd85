//! What is counted and logged when an exchange is over.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use dromon_core::exchange::{Exchange, Flags, RequestView};
use dromon_core::fault::Reason;
use dromon_core::h1::{Reject, ResponseRef, Rule, Version};
use dromon_core::telemetry::{Details, NoMessage, Principals, Protocol, Record, Reporter, Security, Sides};
use dromon_core::time::Tick;
use smallvec::SmallVec;

use super::client::Client;
use super::work::Work;
use crate::shard::flows::Flow;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Names and values.
type OwnFields<'a> = SmallVec<[(&'static str, &'a [u8]); 2]>;

/// An exchange is over, however it went.
pub(super) fn finished(client: &Client, work: &Work, exchange: &Exchange) {
    let shard = &client.shard;
    if shard.telemetry.is_silent() {
        return;
    }
    let times = &work.times;
    let duration_ns = shard.now().0.saturating_sub(times.arrived.0);
    let record = Record {
        sides: sides(client, exchange, work.principals.as_ref()),
        protocol: if work.web.is_some() { Protocol::Grpc } else { Protocol::Http },
        response_code: work.answer.status,
        reason: exchange.reason(),
        flags: exchange.flags(),
        grpc_status: work.answer.grpc_status,
        request_bytes: work.request.head_bytes as u64 + work.upload.sent_bytes,
        response_bytes: work.answer.head_bytes + work.answer.sent_bytes,
        duration_ns,
    };
    shard.telemetry.record(&record);
    if shard.telemetry.logs() {
        log(client, work, Some(exchange), None, &record);
    }
}

/// A request was refused before it was routed.
pub(super) fn refused(client: &Client, work: &Work, reject: &Reject) {
    unrouted(client, work, reject.reason, Some(reject.rule));
}

/// A request was answered without an exchange; `rule` is the one it broke.
pub(super) fn unrouted(client: &Client, work: &Work, reason: Reason, rule: Option<Rule>) {
    let shard = &client.shard;
    let record = Record {
        sides: nowhere(client),
        response_code: work.answer.status,
        reason: Some(reason),
        request_bytes: work.request.buffer.len() as u64,
        response_bytes: work.answer.head_bytes + work.answer.sent_bytes,
        ..Record::default()
    };
    shard.telemetry.record(&record);
    if shard.telemetry.logs() {
        log(client, work, None, rule, &record);
    }
}

/// A TCP connection was relayed to its end; `local` is our address towards the upstream.
pub(super) fn tcp_finished(client: &Client, exchange: &Exchange, local: Option<SocketAddr>, flow: &Rc<Flow>) {
    client.shard.telemetry.tcp_closed(flow, exchange.flags());
    log_tcp(client, Some(exchange), local, flow.carried.bytes());
}

/// A TCP connection led nowhere; without an exchange because its listener has no configuration.
pub(super) fn tcp_failed(client: &Client, exchange: Option<&Exchange>) {
    let sides = exchange.map_or_else(|| nowhere(client), |exchange| sides(client, exchange, None));
    client.shard.telemetry.tcp_failed(&sides, tcp_flags(exchange));
    log_tcp(client, exchange, None, (0, 0));
}

fn tcp_flags(exchange: Option<&Exchange>) -> Flags {
    exchange.map_or(Reason::ConfigPending.into(), Exchange::flags)
}

/// A TCP connection's line: what it has of an HTTP exchange's.
fn log_tcp(
    client: &Client,
    exchange: Option<&Exchange>,
    local: Option<SocketAddr>,
    (up_bytes, down_bytes): (u64, u64),
) {
    let shard = &client.shard;
    if !shard.telemetry.logs() {
        return;
    }
    let flags = tcp_flags(exchange);
    let record = Record {
        protocol: Protocol::Tcp,
        reason: flags.reason(),
        flags,
        duration_ns: shard.now().0.saturating_sub(client.opened.0),
        ..Record::default()
    };
    let destination = exchange.and_then(Exchange::destination);
    let upstream_failure = upstream_failure(&client.transport_failure, exchange);
    let opening = client.opening.borrow();
    let asked_for = opening.as_deref().and_then(|opening| opening.hello.server_name.as_deref());
    let details = Details {
        upstream_failure: &upstream_failure,
        server_name: asked_for.or(client.stream.sni()).unwrap_or_default(),
        bytes_received: up_bytes,
        bytes_sent: down_bytes,
        connection_termination: flags.reason().map_or("", |reason| reason.facts().label),
        upstream_host: exchange.and_then(Exchange::upstream_address),
        upstream_local: local,
        upstream_cluster: destination.map_or("", |destination| destination.model.name.as_str()),
        downstream_local: client.original.or_else(|| client.stream.socket().local_address().ok()),
        downstream_remote: Some(client.peer),
        route_name: exchange.map_or("", Exchange::route_name),
        attempts: exchange.map_or(0, Exchange::attempts),
        ..Details::default()
    };
    shard.telemetry.log(shard, &record, &NoMessage, &NoMessage, details);
}

/// Why the upstream connection failed in TLS, if that is why there is no answer; `told` is what its tries have left.
pub(super) fn upstream_failure(told: &RefCell<Box<str>>, exchange: Option<&Exchange>) -> Box<str> {
    match exchange.and_then(Exchange::reason) {
        Some(Reason::TlsFailed) => told.borrow().clone(),
        _ => Box::default(),
    }
}

/// The sides of what was not routed.
pub(super) fn nowhere(client: &Client) -> Sides<'static> {
    Sides { reporter: reporter(client), ..Sides::default() }
}

/// Between whom an exchange is; `upstream` is who is at either end of the connection that it went up by.
pub(super) fn sides<'a>(
    client: &'a Client,
    exchange: &'a Exchange,
    upstream: Option<&'a Arc<Principals>>,
) -> Sides<'a> {
    Sides {
        reporter: reporter(client),
        destination: exchange.destination().map(|destination| &destination.model),
        endpoint: exchange.endpoint().map(|endpoint| &endpoint.model),
        peer: None,
        security: match client.port.inbound {
            true if client.stream.peer_identity().is_some() => Security::MutualTls,
            true => Security::None,
            false => Security::Unknown,
        },
        // Each side reports of the connection between the two.
        principals: match client.port.inbound {
            true => client.ends.as_ref().map(|ends| &ends.principals),
            false => upstream,
        },
    }
}

/// The addresses that the upstream is told: at a gateway, those that came and the client's; none where they pass as they came.
pub(super) fn forwarded_for(client: &Client, request: &impl RequestView) -> Option<Vec<u8>> {
    let own = client.port.gateway.then(|| client.peer.ip().to_string().into_bytes())?;
    let came = request.header_all(FORWARDED_FOR);
    Some(came.chain([own.as_slice()]).collect::<Vec<_>>().join(b", ".as_slice()))
}

/// The fields that this proxy has set on a request.
pub(super) fn own_fields<'a>(id: Option<&'a [u8]>, addresses: Option<&'a [u8]>) -> OwnFields<'a> {
    let id = id.map(|id| ("x-request-id", id));
    id.into_iter().chain(addresses.map(|addresses| (FORWARDED_FOR, addresses))).collect()
}

fn reporter(client: &Client) -> Reporter {
    if client.port.inbound { Reporter::Destination } else { Reporter::Source }
}

/// Writes the exchange's line. A refused head is not shown: nothing in it can be trusted to be what it seems.
fn log(client: &Client, work: &Work, exchange: Option<&Exchange>, rule: Option<Rule>, record: &Record<'_>) {
    let times = &work.times;
    let since = |tick: Tick| (tick != Tick::ZERO).then(|| tick.0.saturating_sub(times.arrived.0));
    let view = work.request.view(client);
    let addresses = forwarded_for(client, &view);
    let fields = own_fields(work.request.id.as_ref().map(|id| id.as_slice()), addresses.as_deref());
    let destination = exchange.and_then(Exchange::destination);
    let upstream_failure = upstream_failure(&client.transport_failure, exchange);
    let details = Details {
        protocol: match (rule, work.request.head.version()) {
            (Some(_), _) => "",
            (_, Version::Http10) => "HTTP/1.0",
            (_, Version::Http11) => "HTTP/1.1",
        },
        rule,
        request_fields: &fields,
        bytes_received: work.upload.sent_bytes,
        bytes_sent: work.answer.sent_bytes,
        response_duration_ns: since(work.answer.answered),
        upstream_service_ns: since(work.answer.answered)
            .map(|_| work.answer.answered.0.saturating_sub(times.sent.0))
            .filter(|_| times.sent != Tick::ZERO),
        upstream_host: exchange.and_then(Exchange::upstream_address),
        upstream_local: work.upstream_local,
        upstream_cluster: destination.map_or("", |destination| destination.model.name.as_str()),
        upstream_failure: &upstream_failure,
        server_name: client.stream.sni().unwrap_or_default(),
        downstream_local: client.original.or_else(|| client.stream.socket().local_address().ok()),
        downstream_remote: Some(client.peer),
        route_name: exchange.map_or("", Exchange::route_name),
        attempts: exchange.map_or(0, Exchange::attempts),
        ..Details::default()
    };
    let telemetry = &client.shard.telemetry;
    match (rule.is_none(), work.answer.log_head.is_empty()) {
        (false, _) => telemetry.log(&client.shard, record, &NoMessage, &NoMessage, details),
        (true, true) => telemetry.log(&client.shard, record, &view, &NoMessage, details),
        (true, false) => {
            let answer = ResponseRef { head: &work.answer.head, bytes: &work.answer.log_head };
            telemetry.log(&client.shard, record, &view, &answer, details);
        }
    }
}
