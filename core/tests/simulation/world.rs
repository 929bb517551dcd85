//! The simulated proxy around the engine: it carries out steps, and lets happen what happens to proxies.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use dromon_core::balance::{ConnectionToken, DestinationState, EndpointState, PendingToken};
use dromon_core::config::table::{Destination, Table};
use dromon_core::exchange::{Arrival, Attempt, End, Exchange, Input, RequestView, Step, Target, TcpArrival};
use dromon_core::fault::Reason;
use dromon_core::rng::Rng;
use dromon_core::time::Tick;

use crate::config::{ADDRESSES, HOSTS, INBOUND, Mesh, OUTBOUND, TCP, host};
use crate::oracle::{Before, Cause, Known, may_repeat, tries_max};
use crate::tally::Tally;

mod upstream;

use upstream::Mood;

const ARRIVALS: u32 = 140;
const SHARDS: usize = 3;
const MS: u64 = 1_000_000;
/// How far a shard's idea of now may lag behind the others'.
const SKEW_NS: [u64; SHARDS] = [0, 300_000, 2_000_000];

#[derive(Clone)]
struct Request {
    method: &'static [u8],
    authority: String,
    path: &'static [u8],
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.method
    }
    fn path_and_query(&self) -> &[u8] {
        self.path
    }
    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }
    fn scheme(&self) -> &[u8] {
        b"http"
    }
    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
    fn header_all<'a>(&'a self, _: &'a str) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

/// What the proxy is doing for an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Answering,
    Waiting,
    Fetching,
    Trying(Attempt),
    Forwarding,
}

/// One exchange under way, with what the proxy knows of it by itself.
pub struct Flight {
    pub exchange: Exchange,
    pub tcp: bool,
    pub inbound: bool,
    pub idempotent: bool,
    pub holds_retry: bool,
    shard: usize,
    arrival: Arrival,
    request: Request,
    stage: Stage,
    cause: Option<Cause>,
    head_sent: bool,
    /// TCP, or an upgrade that the upstream has agreed to.
    relays: bool,
    tried: Vec<SocketAddr>,
    connection: Option<(SocketAddr, ConnectionToken)>,
    /// Counts up with every step: what was to happen to an earlier one no longer does.
    turn: u32,
}

impl Flight {
    fn busy(&self) -> bool {
        matches!(self.stage, Stage::Trying(_) | Stage::Forwarding)
    }

    pub fn holds_endpoint(&self, state: &Arc<EndpointState>) -> bool {
        let endpoint = self.exchange.endpoint().filter(|_| self.busy());
        endpoint.is_some_and(|endpoint| Arc::ptr_eq(&endpoint.state, state))
    }

    pub fn is_to(&self, state: &Arc<DestinationState>) -> bool {
        self.exchange.destination().is_some_and(|it| Arc::ptr_eq(&it.state, state))
    }

    pub fn holds_request(&self) -> bool {
        let cap = self.exchange.destination().and_then(|it| it.model.pool.http2_max_requests);
        self.busy() && cap.is_some() && !self.tcp
    }
}

#[derive(Clone, Debug)]
enum Event {
    Arrive,
    Swap,
    Mood,
    Jump,
    Flight(usize, u32, Happening),
}

#[derive(Clone, Debug)]
enum Happening {
    Timer,
    Fail { reason: Reason, sent: bool, reused: bool, replayable: bool },
    Head { status: u16, replayable: bool },
    Connected,
    NoRoom,
    Finish(End),
    Dropped,
}

pub struct World {
    rng: Rng,
    shards: Vec<Rng>,
    mesh: Mesh,
    table: Arc<Table>,
    clock_ns: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    next_event: u64,
    flights: BTreeMap<usize, Flight>,
    arrived: usize,
    moods: HashMap<SocketAddr, Mood>,
    idle: HashMap<SocketAddr, Vec<ConnectionToken>>,
    known: Known,
    tally: Tally,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ 0xD20);
        let mesh = Mesh::new(&mut rng);
        let table = mesh.table();
        let mut known = Known::default();
        known.learn(&table);
        World {
            shards: (0..SHARDS).map(|_| Rng::new(rng.next_u64())).collect(),
            mesh,
            table,
            clock_ns: 1_000 * MS,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next_event: 0,
            flights: BTreeMap::new(),
            arrived: 0,
            moods: HashMap::new(),
            idle: HashMap::new(),
            known,
            tally: Tally::default(),
            rng,
        }
    }

    /// Runs until every exchange has ended, then checks that nothing is left counted.
    pub fn run(mut self) -> Tally {
        let mut at = 0;
        for _ in 0..ARRIVALS {
            let pause = [2, 40][self.rng.below(2) as usize];
            at += self.rng.below_u64(pause * MS);
            self.after(at, Event::Arrive);
        }
        for (event, times) in [(Event::Swap, 12), (Event::Mood, 60), (Event::Jump, 3)] {
            for _ in 0..times {
                let when = self.rng.below_u64(at + 1);
                self.after(when, event.clone());
            }
        }
        let mut steps = 0;
        while let Some(Reverse((when, number))) = self.queue.pop() {
            steps += 1;
            assert!(steps < 100_000, "exchanges do not end");
            self.clock_ns = self.clock_ns.max(when);
            let event = self.events.remove(&number).expect("queued once");
            self.happen(event);
            // All counters against all flights now and then: it costs more than the steps themselves.
            if steps % 16 == 0 {
                self.known.check_counters(&self.flights);
                self.flights.values().for_each(|flight| flight.exchange.check_invariants());
            }
        }
        assert!(self.flights.is_empty(), "an exchange waits for nothing");
        self.idle.clear();
        self.known.check_rest();
        self.tally.ejections = self.known.destinations.iter().map(|state| state.ejections_total()).sum();
        self.tally
    }

    fn after(&mut self, delay_ns: u64, event: Event) {
        self.at(self.clock_ns + delay_ns, event);
    }

    fn at(&mut self, when_ns: u64, event: Event) {
        self.queue.push(Reverse((when_ns, self.next_event)));
        self.events.insert(self.next_event, event);
        self.next_event += 1;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Jump => self.clock_ns += self.rng.below_u64(400_000 * MS),
            Event::Mood => self.change_moods(),
            Event::Swap => {
                self.tally.swaps += 1;
                self.table = self.mesh.change(&mut self.rng);
                self.known.learn(&self.table);
                let fetching =
                    |(id, flight): (&usize, &Flight)| (flight.stage == Stage::Fetching).then_some(*id);
                let fetching: Vec<usize> = self.flights.iter().filter_map(fetching).collect();
                fetching.into_iter().for_each(|id| self.begin_again(id));
            }
            Event::Flight(id, turn, happening) => {
                if self.flights.get(&id).is_some_and(|flight| flight.turn == turn) {
                    self.meet(id, happening);
                }
            }
        }
    }

    fn any_address(&mut self) -> SocketAddr {
        match self.rng.below(10) {
            0 => "127.78.0.1:9080".parse().unwrap(),
            _ => {
                let (host, last) = (self.rng.below(HOSTS as u32), 1 + self.rng.below(ADDRESSES));
                endpoint(host, last)
            }
        }
    }

    fn now(&self, shard: usize) -> Tick {
        Tick(self.clock_ns - SKEW_NS[shard])
    }

    fn arrive(&mut self) {
        let shard = self.rng.below(SHARDS as u32) as usize;
        let listener = [OUTBOUND, OUTBOUND, OUTBOUND, OUTBOUND, INBOUND, TCP][self.rng.below(6) as usize];
        let authority = match self.rng.below(12) {
            0 => "elsewhere.example".to_owned(),
            _ => host(self.rng.below(HOSTS as u32) as usize),
        };
        let request = Request {
            method: [&b"GET"[..], b"POST", b"PUT"][self.rng.below(3) as usize],
            authority,
            path: [&b"/a"[..], b"/a/x", b"/b", b"/b/y", b"/none"][self.rng.below(17) as usize / 4],
        };
        let arrival = Arrival {
            listener,
            arrived: self.now(shard),
            peer: "10.9.9.9:5555".parse().unwrap(),
            original_destination: None,
            absolute_form: listener == OUTBOUND,
            has_body: false,
            upgrade: self.rng.below(20) == 0,
            shard,
            server_tls: None,
        };
        let (exchange, step) = self.begin(&arrival, &request, shard);
        let id = self.arrived;
        self.arrived += 1;
        let flight = Flight {
            exchange,
            tcp: listener == TCP,
            inbound: listener == INBOUND,
            idempotent: request.method != b"POST",
            holds_retry: false,
            shard,
            arrival,
            request,
            stage: Stage::Waiting,
            cause: None,
            head_sent: false,
            relays: false,
            tried: Vec::new(),
            connection: None,
            turn: 0,
        };
        self.flights.insert(id, flight);
        self.carry_out(id, step);
        if self.rng.below(12) == 0 {
            let client_leaves = self.rng.below_u64(600 * MS);
            let happening = match self.rng.below(2) {
                0 => Happening::Finish(End::DownstreamClosed),
                _ => Happening::Dropped,
            };
            self.at_any_turn(id, client_leaves, happening);
        }
    }

    /// Lets something happen to whatever the flight will be doing then.
    fn at_any_turn(&mut self, id: usize, delay_ns: u64, happening: Happening) {
        for turn in 0..12 {
            self.after(delay_ns, Event::Flight(id, turn, happening.clone()));
        }
    }

    fn begin(&mut self, arrival: &Arrival, request: &Request, shard: usize) -> (Exchange, Step) {
        let (now, rng, table) = (self.now(shard), &mut self.shards[shard], &self.table);
        match arrival.listener {
            TCP => {
                let Arrival { peer, arrived, .. } = *arrival;
                let arrival =
                    TcpArrival { listener: TCP, original_destination: None, peer, hello: None, arrived };
                Exchange::begin_tcp(table, &arrival, now, rng)
            }
            _ => Exchange::begin(table, arrival, request, request.path, now, rng),
        }
    }

    fn begin_again(&mut self, id: usize) {
        let Some(mut flight) = self.flights.remove(&id) else { return };
        let (exchange, step) = self.begin(&flight.arrival, &flight.request, flight.shard);
        flight.exchange = exchange;
        self.flights.insert(id, flight);
        self.carry_out(id, step);
    }

    fn meet(&mut self, id: usize, happening: Happening) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let input = match happening {
            Happening::Dropped => {
                self.tally.dropped += 1;
                self.flights.remove(&id);
                return;
            }
            Happening::Timer => Input::Timer,
            Happening::NoRoom => Input::NoRoom,
            Happening::Connected => {
                flight.relays = true;
                flight.holds_retry = false;
                Input::Connected
            }
            Happening::Fail { reason, sent, reused, replayable } => {
                flight.cause = Some(Cause::Failure { reason, sent, reused, replayable });
                flight.connection = None;
                flight.holds_retry = false;
                Input::AttemptFailed {
                    reason,
                    request_bytes_sent: sent,
                    connection_reused: reused,
                    replayable,
                }
            }
            Happening::Head { status, replayable } => {
                flight.relays = status == 101;
                flight.cause = Some(Cause::Answer { status, replayable });
                flight.holds_retry = false;
                Input::ResponseHead { status, grpc_status: None, replayable }
            }
            Happening::Finish(end) => {
                flight.holds_retry = false;
                self.tally.idle_ends += u64::from(end == End::Idle);
                Input::Finished(end)
            }
        };
        let before = flight.exchange.destination().map(Before::of);
        let now = Tick(self.clock_ns - SKEW_NS[flight.shard]);
        let step = flight.exchange.handle(input, now, &mut self.shards[flight.shard]);
        flight.exchange.check_invariants();
        if let Some(before) = before {
            before.check();
        }
        self.carry_out(id, step);
    }

    fn carry_out(&mut self, id: usize, step: Step) {
        let Some(mut flight) = self.flights.remove(&id) else { return };
        flight.turn += 1;
        let turn = flight.turn;
        match step {
            Step::Respond(local) => {
                assert!(!flight.head_sent, "answered twice");
                *self.tally.answers.entry(local.reason.facts().label).or_default() += 1;
                flight.stage = Stage::Answering;
                flight.head_sent = true;
                flight.holds_retry = false;
                let soon = self.rng.below_u64(MS);
                self.after(soon, Event::Flight(id, turn, Happening::Finish(End::Complete)));
            }
            Step::Wait(until) => {
                assert!(until <= flight.exchange.finish_by(), "waits past its deadline");
                // Some timers fire early; the engine then asks for the rest of the wait.
                let early = if self.rng.below(8) == 0 { self.rng.below_u64(3 * MS) } else { 0 };
                let when = (until.0 + SKEW_NS[flight.shard]).saturating_sub(early).max(self.clock_ns + 1);
                flight.stage = Stage::Waiting;
                flight.holds_retry =
                    flight.exchange.attempts() > 0 && flight.exchange.destination().is_some();
                self.at(when, Event::Flight(id, turn, Happening::Timer));
            }
            Step::Fetch { until, .. } => {
                self.tally.fetches += 1;
                flight.stage = Stage::Fetching;
                if self.rng.below(10) == 0 {
                    self.tally.turned_away += 1;
                    self.after(0, Event::Flight(id, turn, Happening::NoRoom));
                }
                self.at(until.0 + SKEW_NS[flight.shard], Event::Flight(id, turn, Happening::Timer));
            }
            Step::Attempt(attempt) => self.start_try(id, &mut flight, attempt),
            Step::Forward => {
                assert!(!flight.head_sent);
                self.tally.forwards += 1;
                flight.stage = Stage::Forwarding;
                flight.head_sent = true;
                let end = match self.rng.below(10) {
                    0 => End::UpstreamAborted,
                    1 if flight.relays => End::Idle,
                    1 => End::TimedOut,
                    _ => End::Complete,
                };
                let length = self.rng.below_u64(200 * MS);
                self.after(length, Event::Flight(id, turn, Happening::Finish(end)));
            }
            Step::Discard(inner) => {
                self.tally.discards += 1;
                assert!(matches!(flight.stage, Stage::Trying(_)), "discards what it has not got");
                flight.connection = None;
                self.flights.insert(id, flight);
                return self.carry_out(id, *inner);
            }
            Step::Done => {
                if let Some((address, token)) = flight.connection.take() {
                    self.idle.entry(address).or_default().push(token);
                }
                assert!(flight.exchange.is_over());
                return;
            }
        }
        self.flights.insert(id, flight);
    }

    fn start_try(&mut self, id: usize, flight: &mut Flight, attempt: Attempt) {
        self.tally.attempts += 1;
        let now = self.now(flight.shard);
        assert!(!flight.head_sent, "a try after the response has begun");
        assert!(now < attempt.finish_by, "a try after the deadline");
        assert!(attempt.connect_by <= attempt.finish_by && attempt.head_by <= attempt.finish_by);
        assert!(attempt.number <= tries_max(flight), "try {} of {}", attempt.number, tries_max(flight));
        if attempt.number > 1 {
            self.tally.retries += 1;
            let cause = flight.cause.expect("a retry has a cause");
            assert!(may_repeat(flight, cause), "{:?} repeated after {cause:?}", flight.request.method);
            flight.holds_retry = flight.exchange.destination().is_some();
        }
        if let Target::Endpoint(address) = attempt.target {
            let destination = flight.exchange.destination().expect("an endpoint has a destination");
            check_choice(flight, destination, address);
            flight.tried.push(address);
        }
        flight.stage = Stage::Trying(attempt.clone());
        let (delay, happening) = self.outcome(flight, &attempt, now);
        self.after(delay, Event::Flight(id, flight.turn, happening));
    }
}

fn endpoint(host: u32, last: u32) -> SocketAddr {
    format!("10.0.{host}.{last}:9080").parse().unwrap()
}

/// The endpoint is one that may be chosen, and a tried one only where there is no other.
fn check_choice(flight: &Flight, destination: &Destination, address: SocketAddr) {
    let outlier = destination.model.outlier.unwrap_or_default();
    let usable = |state: &EndpointState| !state.ejected();
    let healthy = destination.endpoints.iter().filter(|endpoint| usable(&endpoint.state)).count();
    let panics = healthy * 100 < outlier.min_health_percent as usize * destination.endpoints.len();
    let chosen = destination.endpoints.iter().find(|endpoint| endpoint.address == address);
    let chosen = chosen.expect("an endpoint of its destination");
    assert!(panics || usable(&chosen.state), "{address} is ejected, {healthy} are healthy");
    let rule = flight.exchange.rule().filter(|_| !flight.inbound && !flight.tcp);
    let keeps_hosts = rule.is_some_and(|rule| rule.retries.allow_previous_hosts);
    // Not those that only the panic threshold would set free: a sweep by an exchange of an older table, which did not know
    // who is ejected, can leave that unnoticed for one pick.
    let free = |endpoint: &dromon_core::config::table::Endpoint| {
        usable(&endpoint.state) && !flight.tried.contains(&endpoint.address)
    };
    if !keeps_hosts && flight.tried.contains(&address) {
        assert!(!destination.endpoints.iter().any(free), "{address} was tried already, others were not");
    }
    if let Some(cap) = destination.model.pool.http2_max_requests.filter(|_| !flight.tcp) {
        assert!(destination.state.requests() <= cap, "{} of {cap} requests", destination.state.requests());
    }
}
