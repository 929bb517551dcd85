//! Responses made here, with a text that tells an operator what happened, to whom, and what to try.

use crate::config::table::Destination;
use crate::fault::Reason;
use crate::limit::Refused;
use crate::route::rule::HeaderChange;
use crate::time::Tick;

use super::{Exchange, Local, Target};

impl Local {
    /// A response for a reason, with that reason's status.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Local {
        Local {
            status: reason.facts().status,
            reason,
            detail: detail.into(),
            location: None,
            retry_after_s: None,
            body: None,
            changes: HeaderChange::default(),
        }
    }

    pub(super) fn no_route(host: &str, path: &[u8]) -> Local {
        let path = String::from_utf8_lossy(path);
        Local::new(Reason::NoRoute, format!("no rule of {host} matches {path:?}; see \"dromonctl routes\""))
    }

    pub(super) fn no_domain(authority: &[u8]) -> Local {
        let host = String::from_utf8_lossy(authority);
        let detail =
            format!("no host of this gateway's listener answers to {host:?}; see \"dromonctl routes\"");
        Local::new(Reason::NoRoute, detail)
    }

    pub(super) fn misdirected(authority: &[u8]) -> Local {
        let host = String::from_utf8_lossy(authority);
        let detail = format!(
            "{host:?} has TLS settings other than those of the server name that the connection came by; connect anew"
        );
        Local::new(Reason::Misdirected, detail)
    }

    pub(super) fn unknown_host(authority: &[u8]) -> Local {
        let host = String::from_utf8_lossy(authority);
        let detail = format!(
            "{host:?} is not a host and port of the mesh, and the outbound policy lets nothing else out"
        );
        Local::new(Reason::UnknownHost, detail)
    }

    pub(super) fn no_destination(name: &str, origin: &str) -> Local {
        let by = if origin.is_empty() { String::new() } else { format!(", which {origin} names") };
        Local::new(
            Reason::NoDestination,
            format!("there is no destination {name}{by}; see \"dromonctl analyze\""),
        )
    }

    pub(super) fn config_pending(name: &str) -> Local {
        let detail =
            format!("the controller has not sent the rules of {name} in time; see \"dromonctl status\"");
        Local::new(Reason::ConfigPending, detail)
    }

    pub(super) fn rate_limited(object: &str, position: usize, refused: Refused) -> Local {
        let detail = format!("limit {position} of RateLimit {object} is used up");
        Local { retry_after_s: Some(refused.retry_after_s), ..Local::new(Reason::RateLimited, detail) }
    }

    pub(super) fn fault(status: u16, origin: &str) -> Local {
        Local { status, ..Local::new(Reason::FaultAbort, format!("fault injected by {origin}")) }
    }

    pub(super) fn no_endpoint(destination: &Destination) -> Local {
        let known = destination.endpoints.len();
        let ejected = destination.endpoints.iter().filter(|endpoint| endpoint.state.ejected()).count();
        let whom = label(destination);
        let detail = format!(
            "no healthy endpoint for {whom} ({known} known, {ejected} ejected; see \"dromonctl explain\")"
        );
        Local::new(Reason::NoHealthyUpstream, detail)
    }
}

impl Exchange {
    /// The answer after the last try failed.
    pub(super) fn failure(&self, reason: Reason, now: Tick) -> Local {
        let destination = self.destination.as_deref();
        let whom = destination.map_or_else(|| "a host outside the mesh".to_owned(), label);
        let endpoint =
            self.endpoint().map(|endpoint| format!(" at {}", endpoint.address)).unwrap_or_default();
        let tries = match self.attempts {
            0 | 1 => String::new(),
            tries => format!(", try {tries} of {}", self.policy().tries_max()),
        };
        let waited = now.since(self.arrived).as_millis();
        let detail = match reason {
            Reason::ConnectFailed => format!("no connection to {whom}{endpoint}{tries}"),
            Reason::ConnectTimeout => format!("no connection in time to {whom}{endpoint}{tries}"),
            Reason::NameUnresolved => self.unresolved(),
            Reason::TlsFailed => format!("no TLS session with {whom}{endpoint}{tries}"),
            Reason::UpstreamReset => {
                format!("{whom}{endpoint} closed the connection before its answer{tries}")
            }
            Reason::UpstreamRefused => format!("{whom}{endpoint} refused the request{tries}"),
            Reason::UpstreamProtocol => format!("the answer of {whom}{endpoint} broke the protocol{tries}"),
            Reason::RequestTimeout => {
                format!("no answer of {whom}{endpoint} in {waited} ms, the rule's timeout{tries}")
            }
            Reason::PerTryTimeout => format!("no answer of {whom}{endpoint} in the time of one try{tries}"),
            Reason::UpstreamOverflow => format!("{whom} is at a cap of its connectionPool"),
            _ => format!("{}: {whom}{endpoint}{tries}", reason.facts().label),
        };
        Local::new(reason, detail)
    }

    fn unresolved(&self) -> String {
        let name = match &self.onward {
            Some(Target::Name { host, .. }) => host,
            _ => "the host",
        };
        format!(
            "DNS has told no address of {name}; is it spelled so, and can the proxy reach its name servers?"
        )
    }
}

/// A destination as people name it: `reviews.default:9080`, with its subset where it has one.
fn label(destination: &Destination) -> String {
    let service = &destination.model.service;
    let mut parts = destination.model.name.split('|').skip(1);
    let (port, subset, host) = (parts.next(), parts.next(), parts.next());
    let name = match (service.name.is_empty(), host) {
        (false, _) if !service.namespace.is_empty() => format!("{}.{}", service.name, service.namespace),
        (false, _) => service.name.clone(),
        (true, Some(host)) => host.to_owned(),
        (true, None) => destination.model.name.clone(),
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let subset =
        subset.filter(|subset| !subset.is_empty()).map(|it| format!(" subset {it}")).unwrap_or_default();
    format!("{name}{port}{subset}")
}
