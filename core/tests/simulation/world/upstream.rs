//! The endpoints: how they behave, and what comes of a try at one.

use super::*;

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mood {
    Good,
    Slow,
    Hangs,
    Refuses,
    Unreachable,
    /// Shows a certificate that is not the one expected.
    Untrusted,
    Resets,
    RefusesStreams,
    /// Says GOAWAY with streams under way that it has not taken.
    GoesAway,
    Garbage,
    Errors(u16),
}

impl World {
    /// One endpoint changes, or all of a service at once.
    pub(super) fn change_moods(&mut self) {
        let mood = self.any_mood();
        if self.rng.below(3) > 0 {
            let address = self.any_address();
            self.moods.insert(address, mood);
            return;
        }
        let host = self.rng.below(HOSTS as u32);
        self.moods.extend((1..=ADDRESSES).map(|last| (endpoint(host, last), mood)));
    }

    fn any_mood(&mut self) -> Mood {
        match self.rng.below(14) {
            0 => Mood::Slow,
            1 => Mood::Hangs,
            2 => Mood::Refuses,
            3 => Mood::Unreachable,
            4 => Mood::Resets,
            5 => Mood::RefusesStreams,
            6 => Mood::Garbage,
            7 => Mood::Errors(500),
            8 => Mood::Errors(503),
            9 => Mood::Errors([409, 418, 502][self.rng.below(3) as usize]),
            10 => Mood::Untrusted,
            11 => Mood::GoesAway,
            _ => Mood::Good,
        }
    }

    /// What will come of a try, and when, as the proxy would report it.
    pub(super) fn outcome(&mut self, flight: &mut Flight, attempt: &Attempt, now: Tick) -> (u64, Happening) {
        let address = match &attempt.target {
            Target::Endpoint(address) | Target::Address(address) => *address,
            Target::Name { .. } => "192.0.2.1:80".parse().unwrap(),
        };
        let replayable = self.rng.below(4) > 0;
        let fail = |reason, sent, reused| Happening::Fail { reason, sent, reused, replayable };
        let mood = self.moods.get(&address).copied().unwrap_or(Mood::Good);
        let reused = match self.idle.get_mut(&address).and_then(Vec::pop) {
            Some(token) => {
                flight.connection = Some((address, token));
                true
            }
            None => match make(flight, address, mood, attempt, now) {
                Ok(()) => false,
                Err((delay, reason)) => return (delay, fail(reason, false, false)),
            },
        };
        if flight.tcp {
            return (MS, Happening::Connected);
        }
        if reused && self.rng.below(5) == 0 {
            let sent = self.rng.below(2) == 0;
            return (self.rng.below_u64(MS), fail(Reason::UpstreamReset, sent, true));
        }
        let (delay, happening) = match mood {
            Mood::Resets => (5 * MS, fail(Reason::UpstreamReset, true, reused)),
            Mood::RefusesStreams => (MS, fail(Reason::UpstreamRefused, true, reused)),
            // The stream had been open for a while, on a connection that serves others.
            Mood::GoesAway => (self.rng.below_u64(20 * MS), fail(Reason::UpstreamRefused, true, true)),
            Mood::Garbage => (MS, fail(Reason::UpstreamProtocol, true, reused)),
            Mood::Errors(status) => (3 * MS, Happening::Head { status, replayable }),
            Mood::Hangs => (u64::MAX / 4, Happening::Head { status: 200, replayable }),
            Mood::Slow => (self.rng.below_u64(2_000 * MS), Happening::Head { status: 200, replayable }),
            Mood::Good | Mood::Refuses | Mood::Unreachable | Mood::Untrusted => {
                let status = if flight.arrival.upgrade && self.rng.below(2) == 0 { 101 } else { 200 };
                (self.rng.below_u64(30 * MS), Happening::Head { status, replayable })
            }
        };
        let limit = attempt.head_by.since(now).as_nanos().min(u128::from(u64::MAX)) as u64;
        if delay >= limit {
            let whole = attempt.head_by == attempt.finish_by;
            let reason = if whole { Reason::RequestTimeout } else { Reason::PerTryTimeout };
            return (limit, fail(reason, true, reused));
        }
        // An endpoint that hangs where no rule sets a limit is given up by its client at last.
        match mood {
            Mood::Hangs => (60_000 * MS, Happening::Finish(End::DownstreamClosed)),
            _ => (delay, happening),
        }
    }
}

/// Makes a new connection, or says when and why there is none.
fn make(
    flight: &mut Flight,
    address: SocketAddr,
    mood: Mood,
    attempt: &Attempt,
    now: Tick,
) -> Result<(), (u64, Reason)> {
    let token = connect(flight.exchange.destination()).ok_or((0, Reason::UpstreamOverflow))?;
    flight.connection = Some((address, token));
    match mood {
        Mood::Refuses => Err((MS, Reason::ConnectFailed)),
        Mood::Untrusted => Err((2 * MS, Reason::TlsFailed)),
        Mood::Unreachable => {
            let whole = attempt.connect_by == attempt.finish_by;
            let reason = if whole { Reason::RequestTimeout } else { Reason::ConnectTimeout };
            Err((attempt.connect_by.since(now).as_nanos() as u64, reason))
        }
        _ => Ok(()),
    }
}

/// A connection's token; none where a cap is reached, with the caps checked.
fn connect(destination: Option<&Arc<Destination>>) -> Option<ConnectionToken> {
    let Some(destination) = destination else {
        return ConnectionToken::acquire(&Destination::new(Arc::default(), Vec::new(), Arc::default())).ok();
    };
    let pool = &destination.model.pool;
    let pending = PendingToken::acquire(destination).ok()?;
    assert!(pool.http1_max_pending_requests.is_none_or(|cap| destination.state.pending() <= cap));
    let before = destination.state.connections();
    let token = ConnectionToken::acquire(destination).ok()?;
    let after = destination.state.connections();
    assert!(pool.max_connections.is_none_or(|cap| after == before + 1 && after <= cap));
    drop(pending);
    Some(token)
}
