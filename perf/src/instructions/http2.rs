//! What the core does for a request of HTTP/2, beside what the `h2` crate does for it.

use anyhow::Result;
use dromon_core::config::table::Table;
use dromon_core::exchange::{Arrival, End, Exchange, Input, RequestView, Step};
use dromon_core::h1::Forwarded;
use dromon_core::h2::{Meter, Onward, PartsRef, check, client_value, edit, end_here, fields, grpc};
use dromon_core::rng::Rng;
use dromon_core::time::Tick;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};

/// HEADERS and DATA of a request as the meter sees them: heads of frames (RFC 9113, 4.1), the payloads' bytes do not matter.
const FRAMES: [(u8, u8, u8); 2] = [(60, 0x1, 0x4), (100, 0x0, 0x1)];

/// A request, and the answer to it.
pub(super) struct Http2 {
    parts: Parts,
    answer: HeaderMap,
    frames: Vec<u8>,
    meter: Meter,
    client: Option<HeaderValue>,
}

impl Http2 {
    /// A request to a host, of the fields that browsers send.
    pub(super) fn new(host: &str, path: &str, arrival: &Arrival) -> Result<Http2> {
        let request = Request::get(format!("http://{host}{path}"))
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101")
            .header("accept", "text/html,application/xhtml+xml")
            .header("accept-language", "en-US,en;q=0.5")
            .header("accept-encoding", "gzip, br")
            .header("cookie", "session=0123456789abcdef0123456789abcdef")
            .body(())?;
        let answer = Response::builder()
            .header("content-type", "application/json")
            .header("server", "origin")
            .header("date", "Sun, 22 Nov 2026 12:00:00 GMT")
            .header("cache-control", "no-store")
            .header("content-length", "100")
            .body(())?;
        let mut frames = Vec::new();
        for (length, kind, flags) in FRAMES {
            frames.extend([0, 0, length, kind, flags, 0, 0, 0, 1]);
            frames.resize(frames.len() + usize::from(length), 0);
        }
        Ok(Http2 {
            parts: request.into_parts().0,
            answer: answer.into_parts().0.headers,
            frames,
            meter: Meter::of_upstream(),
            client: client_value(arrival.peer.ip()),
        })
    }

    /// Looks at the bytes of a request.
    pub(super) fn meter(&mut self, now: Tick) -> bool {
        matches!(self.meter.inspect(&self.frames, now), (count, Ok(())) if count == self.frames.len())
    }

    /// Checks the request.
    pub(super) fn check(&self) -> bool {
        check(&self.parts, None).is_ok_and(|checked| checked.plain_path)
    }

    /// Makes the fields that go on.
    pub(super) fn fields(&self, arrival: &Arrival) -> bool {
        let onward = Onward {
            request_id: Some(b"7b6d6bde-3a8e-4b55-9d34-6f0c2f2c9f10"),
            forwarded: Forwarded::Append { client: arrival.peer.ip(), secure: false },
            client: self.client.as_ref(),
            ..Onward::default()
        };
        fields(&self.parts, &onward).len() == self.parts.headers.len() + 3
    }

    /// All of it, from the bytes to the accounting of the answer.
    pub(super) fn whole(&mut self, table: &Table, arrival: &Arrival, rng: &mut Rng) -> bool {
        let now = arrival.arrived;
        if !self.meter(now) || !self.check() {
            return false;
        }
        let view = PartsRef::new(&self.parts, "http");
        let path = view.path_and_query();
        let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
        let (mut exchange, step) = Exchange::begin(table, arrival, &view, path, now, rng);
        if !matches!(step, Step::Attempt(_)) || !self.fields(arrival) {
            return false;
        }
        let grpc_status = grpc::status(&self.answer);
        let head = Input::ResponseHead { status: 200, grpc_status, replayable: true };
        if !matches!(exchange.handle(head, now, rng), Step::Forward) {
            return false;
        }
        end_here(&mut self.answer);
        edit(&mut self.answer, &[]);
        matches!(exchange.handle(Input::Finished(End::Complete), now, rng), Step::Done)
    }
}
