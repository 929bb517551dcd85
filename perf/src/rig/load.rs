//! The load generator: one thread, many keep-alive connections, one request at a time on each. Open loop by a
//! [`Schedule`], or saturating, where every connection sends again as soon as it has its answer.
//!
//! It does as little as it can for each request, since it shares its processor with the origin: request bytes are
//! built once, a large body of known length is thrown away inside the kernel (`MSG_TRUNC`), one wait serves many events.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rustls::ClientConfig;

use super::poll::{Interest, Poller};
use super::response::{Complete, Response};
use super::schedule::{Arrivals, Schedule};
use super::wire::Wire;

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 256 * 1024;
/// How long requests under way at the end may still take.
const GRACE: Duration = Duration::from_secs(5);
/// Longest latency that the histogram tells apart, in nanoseconds; a longer one counts as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Connection attempts that may fail one after the other before the run is given up.
const CONNECT_FAILURES_MAX: u32 = 200;

/// What decides when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as a connection is free: shows the highest throughput; its latencies mean little.
    Saturate,
    /// By plan, whatever the answers do.
    Open {
        /// Spread of arrivals.
        arrivals: Arrivals,
        /// Mean rate in requests a second.
        per_second: f64,
    },
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to connect.
    pub target: SocketAddr,
    /// Complete requests, sent in turn.
    pub requests: Vec<Vec<u8>>,
    /// Connections kept.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// Time before the measured window.
    pub warm_up: Duration,
    /// Length of the measured window.
    pub window: Duration,
    /// Every request on a connection of its own.
    pub connection_each: bool,
    /// Mutual TLS on every connection.
    pub tls: Option<Arc<ClientConfig>>,
    /// Seed of Poisson arrivals.
    pub seed: u64,
}

/// The two moments at which a caller looks at the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The measured window opens.
    Start,
    /// The measured window closes.
    End,
}

/// What a run saw.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Length of the window, in seconds.
    pub seconds: f64,
    /// Answers that came inside the window.
    pub completed: u64,
    /// Bytes of answers that came inside the window, heads included.
    pub bytes: u64,
    /// Latency in nanoseconds from the planned moment, of every request planned inside the window.
    pub latency: Histogram<u64>,
    /// Answers by status, warm-up included.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer by cause, warm-up included.
    pub errors: BTreeMap<&'static str, u64>,
    /// Keep-alive connections that the other side closed, warm-up included.
    pub closed: u64,
}

impl Outcome {
    fn new() -> Outcome {
        // Three digits up to a minute fit in a fixed table; the bounds are constants, so building it cannot fail.
        let latency = Histogram::new_with_max(LATENCY_NS_MAX, 3).unwrap_or_else(|_| unreachable!());
        Outcome {
            seconds: 0.0,
            completed: 0,
            bytes: 0,
            latency,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            closed: 0,
        }
    }

    /// Requests without an answer.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Answers that were not 2xx.
    pub fn refused(&self) -> u64 {
        self.statuses.iter().filter(|(status, _)| **status / 100 != 2).map(|(_, count)| count).sum()
    }

    /// Answers a second inside the window.
    pub fn per_second(&self) -> f64 {
        self.completed as f64 / self.seconds.max(1e-9)
    }

    /// A percentile of the latency, in microseconds.
    pub fn percentile_us(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e3
    }
}

/// Carries out a run; `probe` is called when the measured window opens and closes.
pub fn run(plan: &Plan, probe: &mut dyn FnMut(Edge)) -> Result<Outcome> {
    if plan.requests.is_empty() || plan.connections == 0 {
        bail!("a load run needs at least one request and one connection");
    }
    let mut generator = Generator::new(plan)?;
    generator.connect_all()?;
    generator.start = Instant::now();
    generator.run(probe)?;
    Ok(generator.outcome)
}

#[derive(Debug, Default)]
struct Link {
    wire: Option<Wire>,
    response: Response,
    /// The planned moment of the request under way.
    planned: Option<u64>,
    served: u64,
}

struct Generator<'a> {
    plan: &'a Plan,
    poller: Poller,
    links: Vec<Link>,
    free: VecDeque<usize>,
    backlog: VecDeque<u64>,
    schedule: Option<Schedule>,
    next_request: usize,
    buffer: Vec<u8>,
    start: Instant,
    window: Option<(u64, u64)>,
    connect_failures: u32,
    outcome: Outcome,
}

impl<'a> Generator<'a> {
    fn new(plan: &'a Plan) -> Result<Generator<'a>> {
        let schedule = match plan.pace {
            Pace::Saturate => None,
            Pace::Open { arrivals, per_second } => Some(Schedule::new(arrivals, per_second, plan.seed)),
        };
        Ok(Generator {
            plan,
            poller: Poller::new().context("creating the generator's poller")?,
            links: (0..plan.connections).map(|_| Link::default()).collect(),
            free: (0..plan.connections).collect(),
            backlog: VecDeque::new(),
            schedule,
            next_request: 0,
            buffer: vec![0; READ_BYTES],
            start: Instant::now(),
            window: None,
            connect_failures: 0,
            outcome: Outcome::new(),
        })
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn connect_all(&mut self) -> Result<()> {
        if self.plan.connection_each {
            return Ok(());
        }
        for number in 0..self.links.len() {
            if !self.connect(number)? {
                bail!("no connection to {}", self.plan.target);
            }
        }
        Ok(())
    }

    /// Gives a link a fresh connection; false when there was none to be had.
    fn connect(&mut self, number: usize) -> Result<bool> {
        let wire = match Wire::connect(self.plan.target, self.plan.tls.as_ref()) {
            Ok(wire) => wire,
            Err(error) => {
                self.fail("connect");
                self.connect_failures += 1;
                if self.connect_failures >= CONNECT_FAILURES_MAX {
                    return Err(error).with_context(|| format!("connecting to {}", self.plan.target));
                }
                return Ok(false);
            }
        };
        self.connect_failures = 0;
        self.poller.add(&wire, number, Interest::Read)?;
        if let Some(link) = self.links.get_mut(number) {
            *link = Link { wire: Some(wire), ..Link::default() };
        }
        Ok(true)
    }

    fn fail(&mut self, cause: &'static str) {
        *self.outcome.errors.entry(cause).or_default() += 1;
    }

    fn run(&mut self, probe: &mut dyn FnMut(Edge)) -> Result<()> {
        let warm_up = self.plan.warm_up.as_nanos() as u64;
        let length = self.plan.window.as_nanos() as u64;
        let mut ready = Vec::new();
        let mut end = u64::MAX;
        loop {
            let now = self.now();
            if self.window.is_none() && now >= warm_up {
                probe(Edge::Start);
                let opened = self.now();
                end = opened + length;
                self.window = Some((opened, end));
                self.outcome.completed = 0;
                self.outcome.bytes = 0;
            }
            if now >= end {
                let opened = end - length;
                let closed = self.now();
                probe(Edge::End);
                self.outcome.seconds = (closed - opened) as f64 / 1e9;
                break;
            }
            self.send_due(now)?;
            let until = if self.window.is_none() { warm_up } else { end };
            self.poller.wait(Some(self.patience(until)), &mut ready)?;
            for &number in &ready {
                self.receive(number)?;
            }
        }
        self.settle(&mut ready)
    }

    /// How long to wait for answers before something else is due.
    fn patience(&self, until: u64) -> Duration {
        let due = self.schedule.as_ref().map_or(until, |schedule| schedule.peek().min(until));
        Duration::from_nanos(due.saturating_sub(self.now()))
    }

    /// Sends what is due, as far as connections are free.
    fn send_due(&mut self, now: u64) -> Result<()> {
        match &mut self.schedule {
            Some(schedule) => {
                while let Some(planned) = schedule.due(now) {
                    self.backlog.push_back(planned);
                }
                while !self.backlog.is_empty() {
                    let Some(number) = self.free.pop_front() else { break };
                    let Some(planned) = self.backlog.pop_front() else { break };
                    self.send(number, planned)?;
                }
            }
            None => {
                for _ in 0..self.free.len() {
                    let Some(number) = self.free.pop_front() else { break };
                    self.send(number, now)?;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, number: usize, planned: u64) -> Result<()> {
        let connected = self.links.get(number).is_some_and(|link| link.wire.is_some());
        if !connected && !self.connect(number)? {
            self.free.push_back(number);
            return Ok(());
        }
        let turn = self.next_request;
        self.next_request = (turn + 1) % self.plan.requests.len();
        let Some(link) = self.links.get_mut(number) else { return Ok(()) };
        let (Some(wire), Some(request)) = (link.wire.as_mut(), self.plan.requests.get(turn)) else {
            return Ok(());
        };
        match wire.write(request) {
            Ok(written) if written == request.len() => link.planned = Some(planned),
            // A request of a few hundred bytes on an empty connection goes out whole, or the connection is gone.
            _ => self.give_up(number, "write"),
        }
        Ok(())
    }

    /// Ends a connection that failed; the link gets a new one with its next request.
    fn give_up(&mut self, number: usize, cause: &'static str) {
        let Some(link) = self.links.get_mut(number) else { return };
        let served = link.served;
        let planned = link.planned.take();
        *link = Link::default();
        if planned.is_some() || cause == "write" {
            self.free.push_back(number);
            self.fail(cause);
        }
        if served > 0 {
            self.outcome.closed += 1;
        }
    }

    fn receive(&mut self, number: usize) -> Result<()> {
        let Some(link) = self.links.get_mut(number) else { return Ok(()) };
        let Some(wire) = link.wire.as_mut() else { return Ok(()) };
        let left = link.response.body_left();
        let taken = if left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
            wire.skip(self.buffer.get_mut(..wanted).unwrap_or_default())
        } else {
            wire.read(&mut self.buffer)
        };
        if self.outcome.seconds == 0.0 {
            self.outcome.bytes += *taken.as_ref().unwrap_or(&0) as u64;
        }
        let complete = match taken {
            Ok(0) => return self.lost(number, "closed"),
            Ok(taken) if left > 0 => Ok(link.response.skip(taken as u64)),
            Ok(taken) => link.response.feed(self.buffer.get(..taken).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(_) => return self.lost(number, "reset"),
        };
        match complete {
            Ok(Some(complete)) => self.complete(number, complete),
            Ok(None) => Ok(()),
            Err(_) => self.lost(number, "malformed"),
        }
    }

    /// The connection ended, while a request was under way or between two.
    fn lost(&mut self, number: usize, cause: &'static str) -> Result<()> {
        self.give_up(number, cause);
        Ok(())
    }

    fn complete(&mut self, number: usize, complete: Complete) -> Result<()> {
        let now = self.now();
        let Some(link) = self.links.get_mut(number) else { return Ok(()) };
        let Some(planned) = link.planned.take() else { return self.lost(number, "unasked") };
        link.served += 1;
        if self.plan.connection_each {
            link.wire = None;
        } else if complete.close {
            link.wire = None;
            self.outcome.closed += 1;
        }
        *self.outcome.statuses.entry(complete.status).or_default() += 1;
        if let Some((opened, closed)) = self.window {
            if now < closed {
                self.outcome.completed += 1;
            }
            if planned >= opened && planned < closed {
                self.outcome.latency.saturating_record(now.saturating_sub(planned));
            }
        }
        if self.schedule.is_none() && self.outcome.seconds == 0.0 {
            return self.send(number, now);
        }
        self.free.push_back(number);
        Ok(())
    }

    /// Lets requests that were planned inside the window come to their end, and counts what never does.
    fn settle(&mut self, ready: &mut Vec<usize>) -> Result<()> {
        let limit = self.now() + GRACE.as_nanos() as u64;
        self.schedule = None;
        loop {
            let now = self.now();
            while !self.backlog.is_empty() {
                let Some(number) = self.free.pop_front() else { break };
                let Some(planned) = self.backlog.pop_front() else { break };
                self.send(number, planned)?;
            }
            let waiting = self.links.iter().filter(|link| link.planned.is_some()).count();
            if (waiting == 0 && self.backlog.is_empty()) || now >= limit {
                let lost = waiting as u64 + self.backlog.len() as u64;
                if lost > 0 {
                    *self.outcome.errors.entry("unfinished").or_default() += lost;
                }
                return Ok(());
            }
            self.poller.wait(Some(Duration::from_nanos(limit - now)), ready)?;
            for &number in ready.iter() {
                self.receive(number)?;
            }
        }
    }
}

/// The bytes of a GET request as a browser-like client might send it.
pub fn request(host: &str, path: &str, close: bool) -> Vec<u8> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: dromon-perf\r\nAccept: */*\r\n\
         Accept-Encoding: identity\r\n{connection}\r\n"
    )
    .into_bytes()
}
