//! Explaining decisions to people: which rule would take a request and why each earlier one did not, and what the table in
//! force holds. Explanations ask the same code that routes, so they cannot tell another story than it.

mod dump;
mod security;
mod text;

use serde::{Deserialize, Serialize};

use crate::config::table::{Table, VirtualHost};
use crate::exchange::{Arrival, RequestView};
use crate::route::host::split_authority;
use crate::route::matcher::{Matcher, Subject};
use crate::route::rewrite::location;
use crate::route::rule::{Action, CompiledRule};
use crate::route::{Lookup, Passthrough, Route, Routed};

pub use dump::dump;
pub use security::lines as security_of;

/// A request to explain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Sample {
    pub method: String,
    pub scheme: String,
    /// Host, possibly with a port.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Name → value; names in any case, lines of one name in order.
    pub headers: Vec<(String, String)>,
}

impl Default for Sample {
    fn default() -> Sample {
        Sample {
            method: "GET".into(),
            scheme: "http".into(),
            authority: String::new(),
            path: "/".into(),
            headers: Vec::new(),
        }
    }
}

impl RequestView for Sample {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn path_and_query(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }

    fn scheme(&self) -> &[u8] {
        self.scheme.as_bytes()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let line = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        line.map(|(_, value)| value.as_bytes())
    }

    fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.headers.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_bytes())
    }
}

/// What would happen to a request, and why. Its text is for terminals.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Name of the listener.
    pub listener: String,
    /// The host, or the gateway's virtual host, whose rules were asked.
    pub host: Option<String>,
    /// The port that the request came for, where it is known.
    pub port: Option<u16>,
    /// The rules of the host, in order, up to the one that takes the request.
    pub rules: Vec<RuleVerdict>,
    /// What the listener takes: mutual TLS, a gateway's TLS.
    pub security: Option<String>,
    /// What happens.
    pub outcome: Outcome,
    /// Rate limits that count the request, as `OBJECT limits[INDEX]`.
    pub limits: Vec<String>,
}

/// One rule's say.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleVerdict {
    /// Its position.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Where it came from.
    pub origin: String,
    /// It takes the request.
    pub takes: bool,
    /// Why each of its alternatives does not hold; empty for the rule that takes the request.
    pub reasons: Vec<String>,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Outcome {
    /// It is sent to one of these.
    Forward {
        /// Destinations with their shares.
        destinations: Vec<Share>,
    },
    /// It is answered with a redirect.
    Redirect {
        /// HTTP status.
        status: u16,
        /// `Location`.
        location: String,
    },
    /// It is answered from here.
    DirectResponse {
        /// HTTP status.
        status: u16,
    },
    /// It waits for the host's rules.
    NotLoaded,
    /// No rule takes it: 404.
    NoRoute,
    /// Nothing is known of the host or port, and the outbound policy is REGISTRY_ONLY: 502.
    UnknownHost,
    /// Nothing is known of the host or port: it goes where it was going.
    Passthrough {
        /// Address or name, with port.
        to: String,
    },
}

/// One destination of an outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// `outbound|PORT|SUBSET|HOST`.
    pub destination: String,
    /// Its share in percent.
    pub percent: f64,
    /// Endpoints that may be used; none where the destination is not here.
    pub endpoints: Option<usize>,
    /// Endpoints that outlier detection keeps away.
    pub ejected: usize,
    /// What is missing, where something is.
    pub note: Option<String>,
    /// How it is spoken to, and who has to prove what; none: plaintext.
    pub security: Option<String>,
}

/// Explains what the table would do with a request.
pub fn explain(table: &Table, arrival: &Arrival, sample: &Sample) -> Explanation {
    let path = sample.path.split('?').next().unwrap_or_default().as_bytes();
    let listener = table.listeners.get(arrival.listener);
    let routed = table.route(arrival, sample, path);
    let (host, port) = match &routed {
        Routed::Rule(route) => (Some(route.host.to_owned()), Some(route.port)),
        Routed::NotLoaded { host } => (Some(host.to_string()), None),
        Routed::NoRoute { host } => (host.map(|host| host.to_string()), None),
        Routed::UnknownHost | Routed::Passthrough(_) => (None, None),
    };
    let port_asked = port.unwrap_or_else(|| asked_port(table, arrival, sample));
    let rules = host.as_deref().and_then(|host| table.virtual_host_named(host));
    let taken = match &routed {
        Routed::Rule(route) => Some(route.rule),
        _ => None,
    };
    let subject = Subject { request: sample, path, port: port_asked };
    Explanation {
        listener: listener.map(|it| it.model.name.clone()).unwrap_or_default(),
        security: listener.and_then(|it| security::of_listener(it, sample.authority.as_bytes())),
        rules: rules.map(|rules| verdicts(rules, taken.map(|rule| &**rule), &subject)).unwrap_or_default(),
        limits: match &routed {
            Routed::Rule(route) => limits(route, sample, path),
            _ => Vec::new(),
        },
        outcome: outcome(table, &routed, sample),
        host,
        port,
    }
}

fn asked_port(table: &Table, arrival: &Arrival, sample: &Sample) -> u16 {
    use crate::config::model::ListenerKind;
    let listener = table.listeners.get(arrival.listener).map(|it| &it.model);
    match listener.map(|listener| (&listener.kind, listener.logical_port)) {
        Some((ListenerKind::Service { port, .. }, _)) => *port,
        Some((ListenerKind::Outbound, _)) => {
            let captured = arrival.original_destination.filter(|_| !arrival.absolute_form);
            let named = split_authority(sample.authority.as_bytes()).and_then(|(_, port)| port);
            captured.map(|address| address.port()).or(named).unwrap_or(80)
        }
        Some((_, port)) => port,
        None => 0,
    }
}

fn limits(route: &Route<'_>, sample: &Sample, path: &[u8]) -> Vec<String> {
    let applying = route.limits.iter().filter(|limit| limit.applies(sample, path, route.port));
    applying.map(|limit| format!("{} limits[{}]", limit.object, limit.index)).collect()
}

/// What each rule says of the request, up to the one that takes it.
fn verdicts(
    rules: &VirtualHost,
    taken: Option<&CompiledRule>,
    subject: &Subject<'_, Sample>,
) -> Vec<RuleVerdict> {
    let mut verdicts: Vec<RuleVerdict> = Vec::new();
    for (index, matcher) in rules.rules.alternatives() {
        if verdicts.last().is_some_and(|last| last.takes && last.index != index) {
            break;
        }
        let Some(rule) = rules.http_rules().get(index) else { break };
        if verdicts.last().is_none_or(|last| last.index != index) {
            let takes = taken.is_some_and(|taken| std::ptr::eq(taken, &**rule));
            let (name, origin) = (rule.name.to_string(), rule.origin.to_string());
            verdicts.push(RuleVerdict { index, name, origin, takes, reasons: Vec::new() });
        }
        let why_not = matcher.and_then(|matcher: &Matcher| matcher.why_not(subject));
        if let (Some(verdict), Some(why)) = (verdicts.last_mut().filter(|it| !it.takes), why_not) {
            verdict.reasons.push(why);
        }
    }
    verdicts
}

fn outcome(table: &Table, routed: &Routed<'_>, sample: &Sample) -> Outcome {
    match routed {
        Routed::NotLoaded { .. } => Outcome::NotLoaded,
        Routed::NoRoute { .. } => Outcome::NoRoute,
        Routed::UnknownHost => Outcome::UnknownHost,
        Routed::Passthrough(Passthrough::Address(address)) => {
            Outcome::Passthrough { to: address.to_string() }
        }
        Routed::Passthrough(Passthrough::Name { host, port }) => {
            Outcome::Passthrough { to: format!("{host}:{port}") }
        }
        Routed::Rule(route) => match &route.rule.action {
            Action::Redirect(redirect) => Outcome::Redirect {
                status: redirect.code,
                location: location(
                    redirect,
                    sample.scheme(),
                    sample.authority(),
                    route.port,
                    sample.path_and_query(),
                    route.matched,
                ),
            },
            Action::DirectResponse { status, .. } => Outcome::DirectResponse { status: *status },
            Action::Forward(targets) => {
                let total = f64::from(targets.total.max(1));
                let destinations = targets.entries.iter().map(|target| {
                    let percent = if targets.entries.len() == 1 {
                        100.0
                    } else {
                        f64::from(target.weight) * 100.0 / total
                    };
                    share(table.lookup_of(&target.destination, route.port), percent)
                });
                Outcome::Forward { destinations: destinations.collect() }
            }
            Action::HostDefault => {
                // A default has one destination, so that nothing is drawn.
                let only = route.choose(table, &mut crate::rng::Rng::new(0)).map(|(lookup, _)| lookup);
                Outcome::Forward { destinations: vec![share(only, 100.0)] }
            }
        },
    }
}

fn share(lookup: Option<Lookup<'_>>, percent: f64) -> Share {
    let missing = |destination: String, note: &str| Share {
        destination,
        percent,
        endpoints: None,
        ejected: 0,
        note: Some(note.into()),
        security: None,
    };
    match lookup {
        Some(Lookup::Here(it)) => Share {
            destination: it.model.name.clone(),
            percent,
            endpoints: Some(it.endpoints.len()),
            ejected: it.endpoints.iter().filter(|endpoint| endpoint.state.ejected()).count(),
            note: it.endpoints.is_empty().then(|| "no endpoint: answers 503".into()),
            security: security::of_destination(it),
        },
        Some(Lookup::NotLoaded(name)) => missing(name.to_string(), "not loaded: fetched on first use"),
        Some(Lookup::Absent(name)) => missing(name.to_string(), "does not exist: answers 503"),
        Some(Lookup::Refused(status, what)) => {
            missing(what.to_string(), &format!("can lead nowhere as it is written: answers {status}"))
        }
        None => missing(String::new(), "the rule names no destination for this port: answers 503"),
    }
}

#[cfg(test)]
mod tests;
