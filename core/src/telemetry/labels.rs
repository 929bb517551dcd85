//! Istio's standard labels, rendered once per series.

use std::fmt::Write as _;
use std::sync::Arc;

use super::record::{Principals, Protocol, Reporter, Security, Sides};
use crate::config::model::{ServiceRef, Workload};
use crate::exchange::Flags;
use crate::fault::Reason;

/// The labels of a series as Prometheus text, without braces; equal text is the same series.
pub(super) type Labels = Arc<str>;

/// What tells one series of the same two sides from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) protocol: Protocol,
    pub(super) response_code: u16,
    pub(super) reason: Option<Reason>,
    pub(super) flags: Flags,
    pub(super) grpc_status: Option<u8>,
}

/// Labels of an HTTP series.
pub(super) fn http(own: &Workload, sides: &Sides<'_>, outcome: &Outcome) -> Labels {
    let mut text = between(own, sides, outcome);
    let protocol = if outcome.protocol == Protocol::Grpc { "grpc" } else { "http" };
    let grpc = outcome.grpc_status.map(|status| status.to_string()).unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "request_protocol=\"{protocol}\",response_code=\"{}\",grpc_response_status=\"{grpc}\",response_flags=\"{}\",\
         connection_security_policy=\"{}\"",
        outcome.response_code,
        outcome.flags.label(),
        security(sides.security),
    );
    text.into()
}

/// Labels of a TCP series.
pub(super) fn tcp(own: &Workload, sides: &Sides<'_>, outcome: &Outcome) -> Labels {
    let mut text = between(own, sides, outcome);
    let _ = write!(
        text,
        "request_protocol=\"tcp\",response_flags=\"{}\",connection_security_policy=\"{}\"",
        outcome.flags.label(),
        security(sides.security),
    );
    text.into()
}

/// Labels of the series that takes what the cap on series turns away.
pub(super) fn other() -> Labels {
    "reporter=\"other\",destination_service=\"other\",response_code=\"other\"".into()
}

/// Name of the destination for statistics and `%UPSTREAM_CLUSTER%`-like uses.
pub(super) fn destination_name(sides: &Sides<'_>, reason: Option<Reason>) -> &'static str {
    match (sides.reporter, reason) {
        (_, Some(Reason::UnknownHost)) => "BlackHoleCluster",
        (Reporter::Source, None) => "PassthroughCluster",
        (Reporter::Destination, None) => "InboundPassthroughCluster",
        (_, Some(_)) => "unknown",
    }
}

fn between(own: &Workload, sides: &Sides<'_>, outcome: &Outcome) -> String {
    let (source, destination) = match sides.reporter {
        Reporter::Source => (Some(own), sides.endpoint.map(|endpoint| &endpoint.workload)),
        Reporter::Destination => (sides.peer.map(|peer| &**peer), Some(own)),
    };
    let nothing = ServiceRef::default();
    let service = sides.destination.map_or(&nothing, |destination| &destination.service);
    let service_name = match sides.destination {
        None => destination_name(sides, outcome.reason),
        Some(_) => &service.name,
    };
    let mut text = String::with_capacity(768);
    label(&mut text, "reporter", reporter(sides.reporter));
    let principal = |of: fn(&Principals) -> &str| sides.principals.map_or("", |it| of(it));
    workload(&mut text, "source", source, principal(|it| &it.source));
    workload(&mut text, "destination", destination, principal(|it| &it.destination));
    label(&mut text, "destination_service", &service.host);
    label(&mut text, "destination_service_name", service_name);
    label(&mut text, "destination_service_namespace", &service.namespace);
    text
}

fn workload(text: &mut String, side: &str, workload: Option<&Workload>, principal: &str) {
    let nothing = Workload::default();
    let it = workload.unwrap_or(&nothing);
    let parts: [(&str, &str); 8] = [
        ("workload", &it.name),
        ("workload_namespace", &it.namespace),
        ("principal", principal),
        ("app", &it.app),
        ("version", &it.version),
        ("canonical_service", &it.canonical_service),
        ("canonical_revision", &it.canonical_revision),
        ("cluster", &it.cluster),
    ];
    for (name, value) in parts {
        text.push_str(side);
        text.push('_');
        label(text, name, value);
    }
}

/// Istio writes `unknown` for what it does not know.
fn label(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    escape(if value.is_empty() { "unknown" } else { value }, text);
    text.push_str("\",");
}

/// Escapes a label's value as the text exposition format asks.
pub(super) fn escape(value: &str, text: &mut String) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(char),
        }
    }
}

fn reporter(reporter: Reporter) -> &'static str {
    match reporter {
        Reporter::Source => "source",
        Reporter::Destination => "destination",
    }
}

fn security(security: Security) -> &'static str {
    match security {
        Security::Unknown => "unknown",
        Security::None => "none",
        Security::MutualTls => "mutual_tls",
    }
}
