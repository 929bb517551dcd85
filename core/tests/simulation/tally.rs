//! What a sweep has seen.

use std::collections::BTreeMap;

use dromon_core::fault::Reason;

/// How often what happened, so that a sweep in which something never happens is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub answers: BTreeMap<&'static str, u64>,
    pub attempts: u64,
    pub retries: u64,
    pub discards: u64,
    pub forwards: u64,
    pub swaps: u64,
    pub fetches: u64,
    pub turned_away: u64,
    pub idle_ends: u64,
    pub ejections: u64,
    pub dropped: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        for (label, count) in &other.answers {
            *self.answers.entry(label).or_default() += count;
        }
        self.attempts += other.attempts;
        self.retries += other.retries;
        self.discards += other.discards;
        self.forwards += other.forwards;
        self.swaps += other.swaps;
        self.fetches += other.fetches;
        self.turned_away += other.turned_away;
        self.idle_ends += other.idle_ends;
        self.ejections += other.ejections;
        self.dropped += other.dropped;
    }

    pub fn assert_everything_happened(&self) {
        let counts = [self.attempts, self.retries, self.discards, self.forwards, self.swaps, self.fetches];
        assert!(counts.iter().all(|count| *count > 100), "{self:#?}");
        assert!(self.ejections > 100 && self.dropped > 100, "{self:#?}");
        assert!(self.turned_away > 10 && self.idle_ends > 10, "{self:#?}");
        for reason in [
            Reason::NoRoute,
            Reason::UnknownHost,
            Reason::ConfigPending,
            Reason::NoHealthyUpstream,
            Reason::ConnectFailed,
            Reason::ConnectTimeout,
            Reason::TlsFailed,
            Reason::UpstreamRefused,
            Reason::UpstreamOverflow,
            Reason::UpstreamReset,
            Reason::RequestTimeout,
            Reason::PerTryTimeout,
            Reason::FaultAbort,
            Reason::RateLimited,
        ] {
            let label = reason.facts().label;
            assert!(self.answers.get(label).is_some_and(|count| *count > 10), "{label} is rare: {self:#?}");
        }
    }
}
