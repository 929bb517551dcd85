//! The core's hot path, run a number of times in a function of its own, for callgrind to count.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use dromon_core::config::compile::{self, Answers, Inputs};
use dromon_core::config::model::{Limit, LimitKey, LimitScope, RateLimit, Resource, StringMatch};
use dromon_core::config::snapshot::{Snapshot, Update};
use dromon_core::config::table::Table;
use dromon_core::exchange::{Arrival, End, Exchange, Input, RequestView, Step};
use dromon_core::h1::{
    self, Forwarded, PathPolicy, PortRules, Progress, RequestHead, RequestRef, RequestRewrite, ResponseHead,
    ResponseRewrite,
};
use dromon_core::rng::Rng;
use dromon_core::time::Tick;

use super::account::Account;
use super::http2::Http2;
use crate::lab::dromon;
use crate::lab::setup::{Hop, Setup};

/// A port of the table; nothing is opened.
const PORT: u16 = 8080;
/// What an origin answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: origin\r\n\
    Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nCache-Control: no-store\r\nContent-Length: 100\r\n\r\n";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Reading a request head.
    ParseRequest,
    /// Reading a response head.
    ParseResponse,
    /// Writing a request head for the upstream.
    EncodeRequest,
    /// Writing a response head for the client.
    EncodeResponse,
    /// Deciding: from the route to the accounting of the answer.
    Exchange,
    /// Counting a request that is over.
    Record,
    /// All of these but the last, as one request takes them.
    Whole,
    /// Looking at the frames of a request of HTTP/2.
    Http2Meter,
    /// Checking a request of HTTP/2.
    Http2Check,
    /// Making the fields that go on of a request of HTTP/2.
    Http2Fields,
    /// All that the core does for a request of HTTP/2.
    Http2Whole,
}

/// Which table it runs on; the request is always for its last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many hosts with one rule each.
    Hosts(usize),
    /// One host with so many rules on equal paths.
    Exact(usize),
    /// One host with so many rules on path prefixes.
    Prefix(usize),
    /// So many hosts with one rule each, behind rate limits that admit all: one for the gateway as a whole, and one for each client
    /// address and value of a header.
    Limited(usize),
}

/// A case: its name, what is counted, and on which table.
pub type Case = (&'static str, Part, Shape);

/// All cases.
pub const CASES: [Case; 17] = [
    ("parse-request", Part::ParseRequest, Shape::Hosts(10)),
    ("parse-response", Part::ParseResponse, Shape::Hosts(10)),
    ("encode-request", Part::EncodeRequest, Shape::Hosts(10)),
    ("encode-response", Part::EncodeResponse, Shape::Hosts(10)),
    ("exchange", Part::Exchange, Shape::Hosts(10)),
    ("exchange-limited", Part::Exchange, Shape::Limited(10)),
    ("record", Part::Record, Shape::Hosts(10)),
    ("http2-meter", Part::Http2Meter, Shape::Hosts(10)),
    ("http2-check", Part::Http2Check, Shape::Hosts(10)),
    ("http2-fields", Part::Http2Fields, Shape::Hosts(10)),
    ("http2-whole", Part::Http2Whole, Shape::Hosts(10)),
    ("whole/hosts-10", Part::Whole, Shape::Hosts(10)),
    ("whole/hosts-10000", Part::Whole, Shape::Hosts(10_000)),
    ("whole/exact-10", Part::Whole, Shape::Exact(10)),
    ("whole/exact-10000", Part::Whole, Shape::Exact(10_000)),
    ("whole/prefix-10", Part::Whole, Shape::Prefix(10)),
    ("whole/prefix-10000", Part::Whole, Shape::Prefix(10_000)),
];

/// Runs a case so many times, after runs that are not counted.
pub fn run(name: &str, times: u32) -> Result<()> {
    let &(_, part, shape) =
        CASES.iter().find(|case| case.0 == name).with_context(|| format!("no case {name}"))?;
    let mut path = HotPath::new(shape)?;
    if !path.step(Part::Whole) || !path.step(part) {
        bail!("{name}: the request does not reach its rule");
    }
    collected(&mut path, part, times);
    Ok(())
}

/// What callgrind counts: it collects inside this function only, so the name must stay, and no closure may be in it.
#[inline(never)]
fn collected(path: &mut HotPath, part: Part, times: u32) {
    for _ in 0..times {
        std::hint::black_box(path.step(part));
    }
}

/// The name by which callgrind knows [`collected`].
pub const COLLECTED: &str = "*instructions*hot*collected*";

struct HotPath {
    table: Arc<Table>,
    request: Vec<u8>,
    head: RequestHead,
    response: ResponseHead,
    scratch: Vec<u8>,
    out: Vec<u8>,
    arrival: Arrival,
    rng: Rng,
    http2: Http2,
    account: Account,
}

impl HotPath {
    fn new(shape: Shape) -> Result<HotPath> {
        let (hosts, routes) = match shape {
            Shape::Hosts(hosts) | Shape::Limited(hosts) => (hosts, 1),
            Shape::Exact(routes) | Shape::Prefix(routes) => (1, routes),
        };
        let setup = Setup { hosts, routes, ..Setup::default() };
        let table = table(&setup, shape)?;
        let host = Setup::host(hosts - 1);
        let target = format!("{}items?id=42", setup.prefix(routes - 1));
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n\
             Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, br\r\n\
             Cookie: session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\r\n"
        );
        let arrival = Arrival {
            listener: 0,
            arrived: Tick::from_millis(1_000),
            peer: ([127, 0, 0, 1], 40_000).into(),
            original_destination: None,
            absolute_form: false,
            has_body: false,
            upgrade: false,
            shard: 0,
            server_tls: None,
        };
        let request = request.into_bytes();
        let mut head = RequestHead::new();
        let account = Account::new(&answered(&table, &arrival, &mut head, &request)?)?;
        Ok(HotPath {
            table,
            request,
            head,
            response: ResponseHead::new(),
            scratch: Vec::with_capacity(1_024),
            out: Vec::with_capacity(4_096),
            http2: Http2::new(&host, &target, &arrival)?,
            arrival,
            rng: Rng::new(1),
            account,
        })
    }

    /// One request's share of a part; whether all went as it should. Parts that need heads find those of the first run.
    fn step(&mut self, part: Part) -> bool {
        match part {
            Part::ParseRequest => self.parse_request(),
            Part::ParseResponse => self.parse_response(),
            Part::EncodeRequest => self.encode_request(),
            Part::EncodeResponse => self.encode_response(),
            Part::Exchange => self.exchange(false),
            Part::Record => self.account.record(),
            Part::Whole => self.parse_request() && self.exchange(true),
            Part::Http2Meter => self.http2.meter(self.arrival.arrived),
            Part::Http2Check => self.http2.check(),
            Part::Http2Fields => self.http2.fields(&self.arrival),
            Part::Http2Whole => self.http2.whole(&self.table, &self.arrival, &mut self.rng),
        }
    }

    fn parse_request(&mut self) -> bool {
        matches!(self.head.parse(&self.request, PortRules::default()), Ok(Progress::Complete(_)))
    }

    fn parse_response(&mut self) -> bool {
        matches!(self.response.parse(ANSWER, false), Ok(Progress::Complete(_)))
    }

    fn encode_request(&mut self) -> bool {
        self.out.clear();
        let rewrite = RequestRewrite {
            request_id: Some(b"7b6d6bde-3a8e-4b55-9d34-6f0c2f2c9f10"),
            forwarded: Forwarded::Append { client: self.arrival.peer.ip(), secure: false },
            ..RequestRewrite::default()
        };
        h1::encode::request(&self.head, &self.request, &rewrite, &mut self.out);
        !self.out.is_empty()
    }

    fn encode_response(&mut self) -> bool {
        self.out.clear();
        let rewrite =
            ResponseRewrite { client: self.head.version(), keep_alive: true, ..ResponseRewrite::default() };
        h1::encode::response(&self.response, ANSWER, &rewrite, &mut self.out).keep_alive
    }

    /// From the request's head to the end of its exchange, with the codec's other parts in their places or without.
    fn exchange(&mut self, codec: bool) -> bool {
        let policy = PathPolicy::default();
        let Ok(path) = self.head.normalized_path(&self.request, policy, &mut self.scratch) else {
            return false;
        };
        let view = RequestRef::new(&self.head, &self.request, "http").with_path(path);
        let path = view.path_and_query();
        let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
        let now = self.arrival.arrived;
        let (mut exchange, step) =
            Exchange::begin(&self.table, &self.arrival, &view, path, now, &mut self.rng);
        if !matches!(step, Step::Attempt(_)) || (codec && !(self.encode_request() && self.parse_response())) {
            return false;
        }
        let head = Input::ResponseHead {
            status: self.response.status(),
            grpc_status: self.response.grpc_status(ANSWER),
            replayable: true,
        };
        if !matches!(exchange.handle(head, now, &mut self.rng), Step::Forward)
            || (codec && !self.encode_response())
        {
            return false;
        }
        matches!(exchange.handle(Input::Finished(End::Complete), now, &mut self.rng), Step::Done)
    }
}

/// The exchange of a request that went to an endpoint.
fn answered(
    table: &Arc<Table>,
    arrival: &Arrival,
    head: &mut RequestHead,
    request: &[u8],
) -> Result<Exchange> {
    head.parse(request, PortRules::default()).ok().context("the request cannot be read")?;
    let mut scratch = Vec::new();
    let path = head.normalized_path(request, PathPolicy::default(), &mut scratch).ok();
    let path = path.context("the request has no path")?;
    let view = RequestRef::new(head, request, "http").with_path(path);
    let whole = view.path_and_query();
    let path = whole.split(|&byte| byte == b'?').next().unwrap_or_default();
    let now = arrival.arrived;
    Ok(Exchange::begin(table, arrival, &view, path, now, &mut Rng::new(1)).0)
}

/// The compiled table of a setup, its rules on equal paths or on prefixes, with limits or without.
fn table(setup: &Setup, shape: Shape) -> Result<Arc<Table>> {
    let mut snapshot = Snapshot::new();
    snapshot.set_whole(true);
    let mut resources = dromon::resources(setup, Hop::GATEWAY, PORT, 9080, 0);
    match shape {
        Shape::Exact(_) => equal_paths(&mut resources),
        Shape::Limited(_) => resources.push(Resource::RateLimit(limits())),
        Shape::Hosts(_) | Shape::Prefix(_) => {}
    }
    let updates = resources.into_iter().map(|resource| Update { version: "1".into(), resource });
    let applied = snapshot.apply(updates, []);
    if let Some(rejection) = applied.rejected.first() {
        bail!("the lab's own table was refused: {rejection}");
    }
    let answers = Answers::new();
    Ok(compile::compile(&Inputs {
        version: 1,
        snapshot: &snapshot,
        answers: &answers,
        previous: None,
        seed: 1,
    }))
}

/// Turns every prefix rule into one on the path of the request that is sent.
fn equal_paths(resources: &mut [Resource]) {
    let hosts = resources.iter_mut().filter_map(|resource| match resource {
        Resource::VirtualHost(host) => Some(host),
        _ => None,
    });
    for one in hosts.flat_map(|host| &mut host.http).flat_map(|rule| &mut rule.matches) {
        if let Some(StringMatch::Prefix(prefix)) = &one.uri {
            one.uri = Some(StringMatch::Exact(format!("{prefix}items")));
        }
    }
}

/// Limits that no count of requests uses up.
fn limits() -> RateLimit {
    let limit = Limit { requests: 50_000, unit_ms: 1_000, burst: 1_000_000, ..Limit::default() };
    let per = vec![LimitKey::SourceAddress, LimitKey::Header("user-agent".into())];
    RateLimit {
        name: "default/lab".into(),
        scope: LimitScope::Gateway { listeners: vec![dromon::listener_name(PORT)] },
        limits: vec![limit.clone(), Limit { per, ..limit }],
    }
}
