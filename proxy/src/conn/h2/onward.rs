//! A request's head on its way up, whatever protocol it goes by.

use std::time::Duration;

use dromon_core::exchange::{Attempt, Exchange, RequestView};
use dromon_core::h1::Forwarded;
use dromon_core::h2::{Onward, fields, grpc};
use dromon_core::route::rule::Changes;
use dromon_core::time::Tick;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::call::Call;
use super::reply::Reply;
use crate::conn::attempt::CLIENT_CERT;
use crate::conn::client::Client;
use crate::sys::clock;

/// A head as it goes up.
pub(super) struct Outgoing {
    pub(super) fields: HeaderMap,
    /// Path and query.
    pub(super) path: Vec<u8>,
    pub(super) authority: Vec<u8>,
}

impl Outgoing {
    /// The head of one try.
    pub(super) fn new(call: &Call, exchange: &Exchange, attempt: &Attempt) -> Outgoing {
        let client = &call.conn().client;
        let changes: SmallVec<[&Changes; 2]> =
            exchange.request_changes().into_iter().rev().flatten().collect();
        let number = attempt.number.to_string();
        let mut extra: SmallVec<[(&'static str, &[u8]); 2]> = SmallVec::new();
        if attempt.number > 1 {
            extra.push(("x-envoy-attempt-count", number.as_bytes()));
        }
        extra.extend(client.forwarded_certificate().map(|told| (CLIENT_CERT, told.as_bytes())));
        let onward = Onward {
            changes: &changes,
            request_id: call.id.as_ref().map(|id| id.as_slice()),
            forwarded: match client.port.gateway {
                true => Forwarded::Append { client: client.peer.ip(), secure: client.secure() },
                false => Forwarded::Keep,
            },
            extra: &extra,
        };
        let mut fields = fields(&call.parts, &onward);
        if call.grpc {
            time_left(&mut fields, attempt.finish_by);
        }
        let view = call.view();
        let authority = exchange.upstream_authority().map_or(view.authority(), HeaderValue::as_bytes);
        Outgoing {
            fields,
            path: exchange.upstream_path().unwrap_or(view.sent_path()).to_vec(),
            authority: authority.to_vec(),
        }
    }
}

/// Tells the service how much time is left of the call, where that is less than its caller has said.
fn time_left(fields: &mut HeaderMap, finish_by: Tick) {
    const TIMEOUT: HeaderName = HeaderName::from_static(grpc::TIMEOUT);
    if finish_by == Tick::NEVER {
        return;
    }
    let left = finish_by.since(clock::now()).max(Duration::from_millis(1));
    let asked = fields.get(TIMEOUT).and_then(|value| grpc::timeout(value.as_bytes()));
    if asked.is_none_or(|asked| left < asked)
        && let Ok(value) = HeaderValue::try_from(grpc::timeout_value(left))
    {
        fields.insert(TIMEOUT, value);
    }
}

/// Keeps the upstream's head where an access log may ask for it.
pub(super) fn log_head(reply: &mut Reply, client: &Client, fields: &HeaderMap) {
    if client.shard.telemetry.logs() {
        reply.log_head = Some(fields.clone());
    }
}
