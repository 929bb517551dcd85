//! A request's head on its way up, whatever protocol it goes by.

use std::time::Duration;

use dromon_core::exchange::{Attempt, Exchange};
use dromon_core::h1::Forwarded;
use dromon_core::h2::{ATTEMPT_COUNT, CLIENT_CERT, Onward, fields, grpc};
use dromon_core::route::rule::Changes;
use dromon_core::time::Tick;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::call::Call;
use super::reply::Reply;
use crate::conn::client::Client;
use crate::sys::clock;

/// A head as it goes up.
pub(super) struct Outgoing<'a> {
    pub(super) fields: HeaderMap,
    /// Path and query.
    pub(super) path: &'a [u8],
    pub(super) authority: &'a [u8],
}

impl<'a> Outgoing<'a> {
    /// The head of one try.
    pub(super) fn new(call: &'a Call, exchange: &'a Exchange, attempt: &Attempt) -> Outgoing<'a> {
        let client = &call.conn().client;
        let changes: SmallVec<[&Changes; 2]> =
            exchange.request_changes().into_iter().rev().flatten().collect();
        let number = if attempt.number > 1 { attempt.number.to_string() } else { String::new() };
        let mut extra: SmallVec<[(HeaderName, &[u8]); 2]> = SmallVec::new();
        if attempt.number > 1 {
            extra.push((ATTEMPT_COUNT, number.as_bytes()));
        }
        extra.extend(client.forwarded_certificate().map(|told| (CLIENT_CERT, told.as_bytes())));
        let onward = Onward {
            changes: &changes,
            request_id: call.id.as_ref().map(|id| id.as_slice()),
            forwarded: match client.port.gateway {
                true => Forwarded::Append { client: client.peer.ip(), secure: client.secure() },
                false => Forwarded::Keep,
            },
            client: call.conn().address_value(),
            extra: &extra,
        };
        let mut fields = fields(&call.parts, &onward);
        if call.grpc {
            time_left(&mut fields, attempt.finish_by);
        }
        Outgoing {
            fields,
            path: exchange.upstream_path().unwrap_or(call.sent_path()),
            authority: exchange.upstream_authority().map_or(call.authority(), HeaderValue::as_bytes),
        }
    }
}

/// Tells the service how much time is left of the call, where that is less than its caller has said.
fn time_left(fields: &mut HeaderMap, finish_by: Tick) {
    if finish_by == Tick::NEVER {
        return;
    }
    let left = finish_by.since(clock::now()).max(Duration::from_millis(1));
    let asked = fields.get(grpc::TIMEOUT_FIELD).and_then(|value| grpc::timeout(value.as_bytes()));
    if asked.is_none_or(|asked| left < asked)
        && let Ok(value) = HeaderValue::try_from(grpc::timeout_value(left))
    {
        fields.insert(grpc::TIMEOUT_FIELD, value);
    }
}

/// Keeps the upstream's head where an access log may ask for it.
pub(super) fn log_head(reply: &mut Reply, client: &Client, fields: &HeaderMap) {
    if client.shard.telemetry.logs() {
        reply.log_head = Some(fields.clone());
    }
}
