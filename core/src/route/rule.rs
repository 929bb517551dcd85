//! A rule as an exchange needs it: everything after routing, precompiled, behind one `Arc`, so that an exchange keeps the
//! rule it was routed by and never the table.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::config::model;
use crate::config::table::DestinationId;
use crate::limit::LimitState;
use crate::rng::Rng;
use crate::route::matcher::{Matcher, Subject};
use crate::route::rewrite::Rewrite;

/// One HTTP rule, compiled.
#[derive(Debug)]
pub struct CompiledRule {
    /// The route's name in logs; `default` for a host without rules.
    pub name: Box<str>,
    /// Where it came from, e.g. `VirtualService/default/reviews spec.http[0]`; empty for a host without rules.
    pub origin: Box<str>,
    /// What happens.
    pub action: Action,
    /// Changes to the path and authority sent upstream.
    pub rewrite: Option<Box<Rewrite>>,
    /// Time for the whole exchange, tries and waits included, in ms; none: no limit.
    pub timeout_ms: Option<u64>,
    /// Tries: the rule's own policy or else the proxy's default. `attempts` 0: one try only.
    pub retries: Arc<model::Retries>,
    /// The rule has a policy of its own; the proxy's default repeats only what is safe to (R40).
    pub retries_configured: bool,
    /// Faults to inject.
    pub fault: Option<Box<model::FaultRule>>,
    /// Header changes for whatever destination is chosen.
    pub headers: HeaderOps,
}

/// What a rule does with a request.
#[derive(Debug)]
pub enum Action {
    /// To one of these destinations, by weight.
    Forward(Targets),
    /// To the destination that the host's port stands for: [`crate::route::Route::choose`] knows it.
    HostDefault,
    /// Answer with a redirect; its `Location` is built by [`crate::route::rewrite::location`].
    Redirect(Box<model::Redirect>),
    /// Answer from here.
    DirectResponse {
        /// HTTP status.
        status: u16,
        /// Body, may be empty.
        body: Arc<str>,
    },
}

/// Weighted destinations.
#[derive(Debug, Default)]
pub struct Targets {
    /// In the rule's order.
    pub entries: Box<[Target]>,
    /// Sum of the weights.
    pub total: u32,
}

/// One of a rule's destinations.
#[derive(Debug)]
pub struct Target {
    /// Where to, by the port that the request came for.
    pub destination: PortedDestination,
    /// Share among its siblings.
    pub weight: u32,
    /// Header changes for this destination only, in addition to the rule's.
    pub headers: HeaderOps,
}

/// A destination that may depend on the port that the request came for.
#[derive(Debug)]
pub enum PortedDestination {
    /// The rule names the port.
    Fixed(DestinationId),
    /// The rule leaves it open: the destination of the same port, for each port that requests can come for.
    ByPort(SmallVec<[(u16, DestinationId); 2]>),
    /// It leads nowhere as it is written, and was checked to: the answer's status, and what is written there.
    Refused(u16, Arc<str>),
}

impl PortedDestination {
    /// The destination for requests that came for `port`.
    pub fn at(&self, port: u16) -> Option<DestinationId> {
        match self {
            PortedDestination::Fixed(id) => Some(*id),
            PortedDestination::ByPort(ports) => {
                ports.iter().find(|(number, _)| *number == port).map(|(_, id)| *id)
            }
            PortedDestination::Refused(..) => None,
        }
    }
}

impl Targets {
    /// Draws one by weight; one whose weight is 0 only if it is the only one.
    pub fn choose(&self, rng: &mut Rng) -> Option<&Target> {
        if let [only] = &*self.entries {
            return Some(only);
        }
        let mut drawn = rng.below(self.total);
        for target in &*self.entries {
            if drawn < target.weight {
                return Some(target);
            }
            drawn -= target.weight;
        }
        None
    }
}

/// Header changes in both directions.
#[derive(Clone, Debug, Default)]
pub struct HeaderOps {
    /// On the request, before it is sent upstream.
    pub request: HeaderChange,
    /// On the response, before it is sent downstream.
    pub response: HeaderChange,
}

/// Changes to one direction's headers, carried out in the order set, add, remove. Boxed: most rules have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChange(pub Option<Box<Changes>>);

/// The changes themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Replaces the authority (`set` of `host` or `:authority`); requests only.
    pub authority: Option<HeaderValue>,
    /// Replaced, or added where absent.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Appended, beside whatever is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Removed, all lines of that name.
    pub remove: Vec<HeaderName>,
}

impl HeaderChange {
    /// The changes, if there are any.
    pub fn get(&self) -> Option<&Changes> {
        self.0.as_deref()
    }
}

/// One limit of a rate-limit object, with its buckets.
#[derive(Debug)]
pub struct CompiledLimit {
    /// `NAMESPACE/NAME` of its object.
    pub object: Arc<str>,
    /// Its position in the object.
    pub index: usize,
    /// As configured.
    pub model: model::Limit,
    /// Buckets; outlive a swap while object and position stay.
    pub state: Arc<LimitState>,
    /// Only requests for which this holds.
    pub(crate) when: Option<Matcher>,
}

impl CompiledLimit {
    /// The limit counts this request.
    pub fn applies<R: crate::exchange::RequestView>(&self, request: &R, path: &[u8], port: u16) -> bool {
        self.when.as_ref().is_none_or(|when| when.matches(&Subject { request, path, port }))
    }
}

/// One TCP or TLS rule, compiled.
#[derive(Debug)]
pub struct CompiledTcpRule {
    /// Where it came from; empty for a host without rules.
    pub origin: Box<str>,
    /// Where to, by weight.
    pub targets: Targets,
    /// Alternatives; empty matches everything.
    pub(crate) matches: Box<[TcpMatcher]>,
}

/// One alternative of a TCP or TLS rule's condition; all parts present must hold.
#[derive(Debug)]
pub(crate) struct TcpMatcher {
    /// Server names of a ClientHello; none: any, and any connection.
    pub server_names: Option<crate::route::host::DomainMap>,
    pub port: Option<u16>,
    pub destinations: Box<[crate::route::host::Cidr]>,
    pub source: Option<crate::route::host::Cidr>,
}

impl TcpMatcher {
    /// All parts hold; a destination network does not where the address is not known.
    pub(crate) fn matches(
        &self,
        port: u16,
        destination: Option<std::net::IpAddr>,
        peer: std::net::IpAddr,
        server_name: Option<&[u8]>,
    ) -> bool {
        let named = |names: &crate::route::host::DomainMap| names.get(server_name.unwrap_or(b"?")).is_some();
        self.server_names.as_ref().is_none_or(named)
            && self.port.is_none_or(|wanted| wanted == port)
            && self.source.is_none_or(|net| net.contains(peer))
            && (self.destinations.is_empty()
                || destination
                    .is_some_and(|address| self.destinations.iter().any(|net| net.contains(address))))
    }
}
