//! What is counted and logged when a stream is over.

use dromon_core::exchange::Exchange;
use dromon_core::fault::Reason;
use dromon_core::h1::Rule;
use dromon_core::telemetry::{Details, NoMessage, Protocol, Record};
use dromon_core::time::Tick;

use super::stream::Work;
use crate::conn::account::{forwarded_for, nowhere, own_fields, sides, upstream_failure};

/// An exchange is over, however it went.
pub(super) fn finished(work: &Work, exchange: &Exchange) {
    let Work { call, source, reply } = work;
    let client = &call.conn().client;
    let shard = &client.shard;
    if shard.telemetry.is_silent() {
        return;
    }
    let upstream = call.principals.borrow();
    let record = Record {
        sides: sides(client, exchange, upstream.as_ref()),
        protocol: if call.grpc { Protocol::Grpc } else { Protocol::Http },
        response_code: reply.status,
        reason: exchange.reason(),
        flags: exchange.flags(),
        grpc_status: reply.grpc_status,
        request_bytes: call.head_bytes() + source.bytes,
        response_bytes: reply.head_bytes + reply.sent_bytes,
        duration_ns: shard.now().0.saturating_sub(call.arrived.0),
    };
    shard.telemetry.record(&record);
    if shard.telemetry.logs() {
        log(work, Some(exchange), None, &record);
    }
}

/// A request was answered without an exchange; `rule` is the one it broke.
pub(super) fn unrouted(work: &Work, reason: Reason, rule: Option<Rule>) {
    let Work { call, reply, .. } = work;
    let client = &call.conn().client;
    let record = Record {
        sides: nowhere(client),
        response_code: reply.status,
        reason: Some(reason),
        request_bytes: call.head_bytes(),
        response_bytes: reply.head_bytes + reply.sent_bytes,
        ..Record::default()
    };
    client.shard.telemetry.record(&record);
    if client.shard.telemetry.logs() {
        log(work, None, rule, &record);
    }
}

/// Writes the exchange's line. A refused head is not shown: nothing in it can be trusted to be what it seems.
fn log(work: &Work, exchange: Option<&Exchange>, rule: Option<Rule>, record: &Record<'_>) {
    let Work { call, source, reply } = work;
    let client = &call.conn().client;
    let since = |tick: Tick| (tick != Tick::ZERO).then(|| tick.0.saturating_sub(call.arrived.0));
    let sent = call.sent.get();
    let addresses = forwarded_for(client, &call.view());
    let fields = own_fields(call.id.as_ref().map(|id| id.as_slice()), addresses.as_deref());
    let destination = exchange.and_then(Exchange::destination);
    let upstream_failure = upstream_failure(&call.transport_failure, exchange);
    let details = Details {
        protocol: "HTTP/2",
        rule,
        request_fields: &fields,
        bytes_received: source.bytes,
        bytes_sent: reply.sent_bytes,
        response_duration_ns: since(reply.answered),
        upstream_service_ns: since(reply.answered)
            .map(|_| reply.answered.0.saturating_sub(sent.0))
            .filter(|_| sent != Tick::ZERO),
        upstream_host: exchange.and_then(Exchange::upstream_address),
        upstream_local: call.upstream_local.get(),
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
    match (rule, &reply.log_head) {
        (Some(_), _) => telemetry.log(&client.shard, record, &NoMessage, &NoMessage, details),
        (None, None) => telemetry.log(&client.shard, record, &call.view(), &NoMessage, details),
        (None, Some(head)) => telemetry.log(&client.shard, record, &call.view(), head, details),
    }
}
