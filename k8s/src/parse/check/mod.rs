//! What can be said of one object by itself: errors that refuse it, and what of it is not carried out yet.

use std::net::IpAddr;

use dromon_core::route::matcher::whole_regex;

use crate::api::Object;
use crate::api::scalar::StringMatch;
use crate::diagnostic::Diagnostic;

mod destination_rule;
mod gateway;
mod gateway_api;
mod http_route;
mod mesh;
mod peer_authentication;
mod policy;
mod service;
mod service_entry;
#[cfg(test)]
mod tests;
mod virtual_service;

/// Where readers are sent for what is carried out.
const RULES_PAGE: &str = "docs/rules.md lists what is carried out";

/// Looks an object over.
pub fn object(object: &Object) -> Vec<Diagnostic> {
    let mut report = Report::default();
    match object {
        Object::VirtualService(it) => virtual_service::check(&mut report, &it.spec),
        Object::DestinationRule(it) => destination_rule::check(&mut report, &it.spec),
        Object::Gateway(it) => gateway::check(&mut report, &it.spec),
        Object::ServiceEntry(it) => service_entry::check(&mut report, &it.spec),
        Object::WorkloadEntry(it) => service_entry::workload(&mut report, "spec", &it.spec),
        Object::Sidecar(it) => gateway::sidecar(&mut report, &it.spec),
        Object::PeerAuthentication(it) => peer_authentication::check(&mut report, &it.spec),
        Object::Telemetry(it) => mesh::telemetry(&mut report, &it.spec),
        Object::RateLimit(it) => policy::rate_limit(&mut report, &it.spec),
        Object::Process(it) => policy::process(&mut report, &it.spec),
        Object::MeshConfig(it) => mesh::config(&mut report, &it.spec),
        Object::Service(it) => service::check(&mut report, it),
        Object::EndpointSlice(it) => service::slice(&mut report, it),
        other => gateway_api::check(&mut report, other),
    }
    report.findings
}

/// Findings in the making.
#[derive(Default)]
struct Report {
    findings: Vec<Diagnostic>,
}

impl Report {
    fn error(&mut self, field: impl Into<String>, message: impl Into<String>, hint: &str) {
        self.findings.push(Diagnostic::error(field, message).hint(hint));
    }

    fn warning(&mut self, field: impl Into<String>, message: impl Into<String>, hint: &str) {
        self.findings.push(Diagnostic::warning(field, message).hint(hint));
    }

    /// A field that is understood and has no effect yet.
    fn not_yet(&mut self, field: impl Into<String>) {
        let field = field.into();
        let name = field.rsplit('.').next().unwrap_or_default().to_owned();
        let name = name.split('[').next().unwrap_or_default();
        let message = format!("`{name}` is not carried out yet and has no effect");
        self.findings.push(Diagnostic::warning(field, message).hint(RULES_PAGE));
    }

    /// Several of them, each present or not.
    fn not_yet_if(&mut self, path: &str, fields: &[(&str, bool)]) {
        for (name, is_set) in fields {
            if *is_set {
                self.not_yet(format!("{path}.{name}"));
            }
        }
    }

    /// A condition that must say something, and whose expression must compile.
    fn string_match(&mut self, field: String, condition: &StringMatch) {
        match condition {
            StringMatch::Present => self.error(field, "says nothing", "give `exact`, `prefix` or `regex`"),
            StringMatch::Regex(text) => self.regex(format!("{field}.regex"), text),
            StringMatch::Exact(_) | StringMatch::Prefix(_) => {}
        }
    }

    /// As [`Report::string_match`], where nothing stands for mere presence.
    fn presence_or_match(&mut self, field: String, condition: &Option<StringMatch>) {
        if let Some(StringMatch::Regex(text)) = condition {
            self.regex(format!("{field}.regex"), text);
        }
    }

    /// An expression that the proxy will have to compile: asked of the code that does it there.
    fn regex(&mut self, field: String, text: &str) {
        if let Err(why) = whole_regex(text) {
            let reason = why.rsplit("error: ").next().unwrap_or_default().trim().to_owned();
            let message = format!("`{text}` is not a regular expression: {reason}");
            self.error(field, message, "RE2 syntax, without look-around and back-references");
        }
    }

    fn share(&mut self, field: String, value: f64) {
        if !(0.0..=100.0).contains(&value) {
            self.error(field, format!("{value} is not a percentage"), "0 to 100");
        }
    }

    fn port(&mut self, field: String, port: u16) {
        if port == 0 {
            self.error(field, "0 is not a port", "1 to 65535");
        }
    }

    fn subnet(&mut self, field: String, text: &str) {
        if !is_subnet(text) {
            self.error(
                field,
                format!("`{text}` is neither an address nor a CIDR"),
                "as in 10.0.0.0/8 or 10.1.2.3",
            );
        }
    }

    /// A host as rules name it: no scheme, no port, `*` only as the first label.
    fn host(&mut self, field: String, host: &str) {
        let name = host.strip_prefix("*.").unwrap_or(if host == "*" { "" } else { host });
        let is_label = |it: &str| {
            !it.is_empty()
                && it.len() <= 63
                && it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let is_name = host == "*" || name.trim_end_matches('.').split('.').all(is_label);
        if host.is_empty() {
            self.error(field, "the host is empty", "a name, or a wildcard such as `*.example.com`");
        } else if !is_name && host.parse::<IpAddr>().is_err() {
            let hint = match host {
                it if it.contains("://") => "without the scheme",
                it if it.contains(':') => "without the port; ports are named on their own",
                it if it.contains('*') => "`*` stands alone or for the first labels, as in `*.example.com`",
                it if it.contains('/') => "without the namespace or path",
                _ => "letters, digits, `-` and dots",
            };
            self.error(field, format!("`{host}` is not a host name"), hint);
        }
    }
}

/// Whether a text is an IP address or a CIDR.
fn is_subnet(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

/// Whether a text is a header's name (a token of RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
