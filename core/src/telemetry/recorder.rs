//! A shard's counters.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hdrhistogram::Histogram;

use super::interval::{HttpCounters, Interval, TcpCounters};
use super::labels::{self, Labels, Outcome};
use super::record::{Principals, Protocol, Record, Sides};
use crate::config::model;
use crate::exchange::Flags;
use crate::limits::{LATENCY_DESTINATIONS_MAX, SERIES_MAX};

/// Identity of a series by the addresses of what its labels come from, and the rest of its labels packed into a word:
/// nothing to hash but five words.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    destination: usize,
    endpoint: usize,
    peer: usize,
    principals: usize,
    rest: u64,
}

impl Identity {
    fn new(sides: &Sides<'_>, outcome: &Outcome) -> Identity {
        // Reasons and gRPC statuses are moved up by one, so that 0 is none; each part has bits of its own.
        let rest = u64::from(outcome.response_code)
            | outcome.reason.map_or(0, |reason| reason as u64 + 1) << 16
            | outcome.grpc_status.map_or(0, |status| u64::from(status) + 1) << 32
            | outcome.flags.marks() << 44
            | (sides.reporter as u64) << 48
            | (sides.security as u64) << 52
            | (outcome.protocol as u64) << 56;
        Identity {
            destination: sides.destination.map_or(0, |it| Arc::as_ptr(it) as usize),
            endpoint: sides.endpoint.map_or(0, |it| Arc::as_ptr(it) as usize),
            peer: sides.peer.map_or(0, |it| Arc::as_ptr(it) as usize),
            principals: sides.principals.map_or(0, |it| Arc::as_ptr(it) as usize),
            rest,
        }
    }
}

/// What an identity's addresses point to.
type Held = (
    Option<Arc<model::Destination>>,
    Option<Arc<model::Endpoint>>,
    Option<Arc<model::Workload>>,
    Option<Arc<Principals>>,
);

/// Where an identity's counters are. Holds what the addresses point to, so that none is used anew meanwhile.
struct Place {
    series: usize,
    /// [`NOWHERE`] for TCP and beyond the cap.
    latency: usize,
    _held: Held,
}

const NOWHERE: usize = usize::MAX;

/// Counters of one kind, by series. The first series takes what the cap turns away.
struct Table<C> {
    places: HashMap<Identity, Place, FixedState>,
    by_labels: HashMap<Labels, usize, FixedState>,
    series: Vec<(Labels, C)>,
    turned_away: u64,
}

impl<C: Default> Table<C> {
    fn new() -> Table<C> {
        Table {
            places: HashMap::default(),
            by_labels: HashMap::default(),
            series: vec![(labels::other(), C::default())],
            turned_away: 0,
        }
    }

    /// The series of these labels, a new one while there is room.
    fn intern(&mut self, labels: Labels) -> usize {
        if let Some(index) = self.by_labels.get(&labels) {
            return *index;
        }
        if self.series.len() > SERIES_MAX {
            return 0;
        }
        let index = self.series.len();
        self.series.push((Arc::clone(&labels), C::default()));
        self.by_labels.insert(labels, index);
        index
    }

    /// Remembers an identity's place; the memory is emptied when it is full, the series stay.
    fn remember(&mut self, identity: Identity, sides: &Sides<'_>, series: usize, latency: usize) {
        if self.places.len() >= SERIES_MAX {
            self.places.clear();
        }
        let held = (
            sides.destination.cloned(),
            sides.endpoint.cloned(),
            sides.peer.cloned(),
            sides.principals.cloned(),
        );
        self.places.insert(identity, Place { series, latency, _held: held });
    }

    fn counters(&mut self, series: usize) -> Option<&mut C> {
        self.turned_away += u64::from(series == 0);
        self.series.get_mut(series).map(|(_, counters)| counters)
    }

    fn take(&mut self, is_empty: impl Fn(&C) -> bool) -> Vec<(Labels, C)> {
        let used = self.series.iter_mut().filter(|(_, counters)| !is_empty(counters));
        used.map(|(labels, counters)| (Arc::clone(labels), std::mem::take(counters))).collect()
    }
}

/// All that one shard counts about exchanges. One writer; see the module's doc.
pub struct Recorder {
    own: Arc<model::Workload>,
    http: Table<HttpCounters>,
    tcp: Table<TcpCounters>,
    latency_by_name: HashMap<Arc<str>, usize, FixedState>,
    latency: Vec<(Arc<str>, Histogram<u32>)>,
}

impl Recorder {
    /// A recorder for the proxy of this workload.
    pub fn new(own: Arc<model::Workload>) -> Recorder {
        Recorder {
            own,
            http: Table::new(),
            tcp: Table::new(),
            latency_by_name: HashMap::default(),
            latency: Vec::new(),
        }
    }

    /// Lets go of configuration that a table swap replaced; counters stay. Call it after each swap.
    pub fn table_changed(&mut self, own: &Arc<model::Workload>) {
        if !Arc::ptr_eq(own, &self.own) {
            self.own = Arc::clone(own);
        }
        self.http.places.clear();
        self.tcp.places.clear();
    }

    /// Counts a finished HTTP exchange.
    pub fn record(&mut self, record: &Record<'_>) {
        let outcome = Outcome {
            protocol: record.protocol,
            response_code: record.response_code,
            reason: record.reason,
            flags: record.flags.with(record.reason),
            grpc_status: record.grpc_status,
        };
        let identity = Identity::new(&record.sides, &outcome);
        let (series, latency) = match self.http.places.get(&identity) {
            Some(place) => (place.series, place.latency),
            None => self.place_http(identity, &record.sides, &outcome),
        };
        let micros = record.duration_ns / 1_000;
        if let Some(counters) = self.http.counters(series) {
            counters.requests += 1;
            counters.duration_ms.record(micros);
            counters.request_bytes.record(record.request_bytes.saturating_mul(1_000));
            counters.response_bytes.record(record.response_bytes.saturating_mul(1_000));
        }
        if let Some((_, histogram)) = self.latency.get_mut(latency) {
            // Fails only beyond what a 64-bit value can say.
            let _ = histogram.record(micros);
        }
    }

    /// Counts a TCP connection that was made.
    pub fn tcp_opened(&mut self, sides: &Sides<'_>) {
        if let Some(counters) = self.tcp_counters(sides, Flags::default()) {
            counters.opened += 1;
        }
    }

    /// Counts a TCP connection that led nowhere: opened and ended with the same flags, as Istio counts it.
    pub fn tcp_failed(&mut self, sides: &Sides<'_>, flags: Flags) {
        if let Some(counters) = self.tcp_counters(sides, flags) {
            counters.opened += 1;
            counters.closed += 1;
        }
    }

    /// Counts bytes relayed so far and not yet counted: from the client (`received`) and to it (`sent`).
    pub fn tcp_bytes(&mut self, sides: &Sides<'_>, received: u64, sent: u64) {
        if let Some(counters) = self.tcp_counters(sides, Flags::default()) {
            counters.received_bytes += received;
            counters.sent_bytes += sent;
        }
    }

    /// Counts a TCP connection that ended, with its bytes not yet counted.
    pub fn tcp_closed(&mut self, sides: &Sides<'_>, flags: Flags, received: u64, sent: u64) {
        if let Some(counters) = self.tcp_counters(sides, flags) {
            counters.closed += 1;
            counters.received_bytes += received;
            counters.sent_bytes += sent;
        }
    }

    /// Hands over everything counted since the last time.
    pub fn take(&mut self) -> Interval {
        let latency = self.latency.iter_mut().filter(|(_, histogram)| !histogram.is_empty());
        Interval {
            latency: latency
                .map(|(name, histogram)| {
                    let copy = histogram.clone();
                    histogram.reset();
                    (Arc::clone(name), copy)
                })
                .collect(),
            http: self.http.take(|counters| counters.requests == 0),
            tcp: self.tcp.take(TcpCounters::is_empty),
            turned_away: std::mem::take(&mut self.http.turned_away)
                + std::mem::take(&mut self.tcp.turned_away),
        }
    }

    fn tcp_counters(&mut self, sides: &Sides<'_>, flags: Flags) -> Option<&mut TcpCounters> {
        let outcome = Outcome {
            protocol: Protocol::Tcp,
            response_code: 0,
            reason: flags.reason,
            flags,
            grpc_status: None,
        };
        let identity = Identity::new(sides, &outcome);
        let series = match self.tcp.places.get(&identity) {
            Some(place) => place.series,
            None => {
                let series = self.tcp.intern(labels::tcp(&self.own, sides, &outcome));
                self.tcp.remember(identity, sides, series, NOWHERE);
                series
            }
        };
        self.tcp.counters(series)
    }

    #[cold]
    fn place_http(&mut self, identity: Identity, sides: &Sides<'_>, outcome: &Outcome) -> (usize, usize) {
        let series = self.http.intern(labels::http(&self.own, sides, outcome));
        let name = match sides.destination {
            Some(destination) => destination.name.as_str(),
            None => labels::destination_name(sides, outcome.reason),
        };
        let latency = self.latency_of(name);
        self.http.remember(identity, sides, series, latency);
        (series, latency)
    }

    fn latency_of(&mut self, name: &str) -> usize {
        if let Some(index) = self.latency_by_name.get(name) {
            return *index;
        }
        if self.latency.len() >= LATENCY_DESTINATIONS_MAX {
            return NOWHERE;
        }
        // Two digits are always a legal precision; without a histogram there are only no percentiles.
        let Ok(histogram) = Histogram::new(2) else { return NOWHERE };
        let (index, name) = (self.latency.len(), Arc::<str>::from(name));
        self.latency.push((Arc::clone(&name), histogram));
        self.latency_by_name.insert(name, index);
        index
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("http_series", &self.http.series.len())
            .field("tcp_series", &self.tcp.series.len())
            .finish_non_exhaustive()
    }
}
