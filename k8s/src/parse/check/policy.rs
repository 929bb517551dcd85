//! This project's own kinds: RateLimit and Process.

use std::collections::HashSet;

use dromon_core::limits::LIMIT_KEY_PARTS_MAX;

use crate::api::process::Process;
use crate::api::rate_limit::{Direction, Limit, RateLimit};
use crate::diagnostic::Diagnostic;
use crate::translate::rate_limit_direction;

use super::http_route::header_condition;
use super::{Report, is_token};

/// Looks a RateLimit over.
pub fn rate_limit(report: &mut Report, spec: &RateLimit) {
    if spec.limits.is_empty() {
        report.error("spec.limits", "no limit is given", "as in `{requests: 100, unit: Second}`");
    }
    let direction = rate_limit_direction(spec);
    for (at, target) in spec.target_refs.iter().enumerate() {
        let path = format!("spec.targetRefs[{at}]");
        let fits = match target.kind.as_str() {
            "Service" | "ServiceEntry" => direction != Direction::Gateway,
            "Gateway" => direction == Direction::Gateway,
            other => {
                let message = format!("`{other}` cannot be a target");
                report.error(format!("{path}.kind"), message, "Service, ServiceEntry or Gateway");
                true
            }
        };
        if !fits {
            let message = format!("a {} is no target of direction {direction:?}", target.kind);
            report.error(
                format!("{path}.kind"),
                message,
                "Gateways go with Gateway, Services with Inbound or Outbound",
            );
        }
        if target.name.is_empty() {
            report.error(format!("{path}.name"), "the name is missing", "the object's name");
        }
    }
    if direction == Direction::Outbound && spec.target_refs.is_empty() {
        report.error("spec.targetRefs", "it says not to what the workloads send", "name the Services");
    }
    for (at, it) in spec.limits.iter().enumerate() {
        limit(report, &format!("spec.limits[{at}]"), it);
    }
}

fn limit(report: &mut Report, path: &str, limit: &Limit) {
    if limit.requests == 0 {
        report.warning(
            format!("{path}.requests"),
            "0 refuses every request",
            "meant for a fault? use a VirtualService's `fault`",
        );
    }
    burst(report, format!("{path}.burst"), limit);
    if limit.per.len() > LIMIT_KEY_PARTS_MAX {
        let message = format!("{} keys; at most {LIMIT_KEY_PARTS_MAX} make up a bucket's", limit.per.len());
        report.error(format!("{path}.per"), message, "split the limit, or leave some out");
    }
    for (at, key) in limit.per.iter().enumerate() {
        let path = format!("{path}.per[{at}]");
        let given = [
            key.header.is_some(),
            key.source_address.is_some(),
            key.source_principal.is_some(),
            key.path.is_some(),
            key.method.is_some(),
        ];
        if given.iter().filter(|it| **it).count() != 1 {
            let hint =
                "`header: NAME`, `sourceAddress: {}`, `path: {}`, `method: {}` or `sourcePrincipal: {}`";
            report.error(path.clone(), "exactly one key is needed", hint);
        }
        if let Some(name) = key.header.as_deref().filter(|it| !is_token(it)) {
            report.error(
                format!("{path}.header"),
                format!("`{name}` is not a header name"),
                "letters, digits and `-`",
            );
        }
        if key.source_principal.is_some() {
            let message = "without mutual TLS, which is not carried out yet, all clients are one";
            report.warning(format!("{path}.sourcePrincipal"), message, "use `sourceAddress` or a header");
        }
    }
    let Some(when) = &limit.when else { return };
    let path = format!("{path}.when");
    for (name, it) in [("path", &when.path), ("method", &when.method), ("authority", &when.authority)] {
        if let Some(it) = it {
            report.string_match(format!("{path}.{name}"), it);
        }
    }
    let maps = [
        ("headers", &when.headers),
        ("withoutHeaders", &when.without_headers),
        ("queryParams", &when.query_params),
    ];
    for (field, map) in maps {
        for (name, it) in map {
            let path = format!("{path}.{field}.{name}");
            if field != "queryParams" {
                header_condition(report, &path, name);
            }
            report.presence_or_match(path, it);
        }
    }
}

/// The model has no word for a bucket that admits nothing, and nobody needs one: `requests: 0` says that.
fn burst(report: &mut Report, field: String, limit: &Limit) {
    match limit.burst {
        Some(0) => {
            let message = "0 would admit nothing: it is how many may come at once";
            report.error(
                field,
                message,
                "1 for an even pace; leave it out to admit a whole unit's share at once",
            );
        }
        Some(burst) if burst > limit.requests && limit.requests > 0 => {
            let message =
                format!("{burst} may come at once, more than the {} of a {:?}", limit.requests, limit.unit);
            let hint = "leave it out to admit a whole unit's share at once";
            report.findings.push(Diagnostic::info(field, message).hint(hint));
        }
        _ => {}
    }
}

/// Looks a Process over.
pub fn process(report: &mut Report, spec: &Process) {
    if spec.command.iter().all(|it| it.is_empty()) {
        report.error(
            "spec.command",
            "there is nothing to run",
            "program and arguments, as in `[server, --port, \"80\"]`",
        );
    }
    let mut numbers = HashSet::new();
    for (at, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        report.port(format!("{path}.containerPort"), port.container_port);
        if !numbers.insert(port.container_port) {
            let message = format!("{} is given twice", port.container_port);
            report.error(format!("{path}.containerPort"), message, "one entry a port");
        }
        if matches!(port.container_port, 15000 | 15001 | 15006 | 15020 | 15021 | 15090) {
            let message = format!("{} is a port of the sidecar itself", port.container_port);
            report.error(format!("{path}.containerPort"), message, "choose another");
        }
        if port.protocol.as_deref().is_some_and(|it| it != "TCP") {
            report.not_yet(format!("{path}.protocol"));
        }
    }
    let Some(probe) = &spec.readiness else { return };
    if probe.http_get.is_some() == probe.tcp_socket.is_some() {
        report.error("spec.readiness", "exactly one way to probe is needed", "`httpGet` or `tcpSocket`");
    }
    if let Some(get) = &probe.http_get {
        report.port("spec.readiness.httpGet.port".to_owned(), get.port);
    }
    if let Some(socket) = probe.tcp_socket {
        report.port("spec.readiness.tcpSocket.port".to_owned(), socket.port);
    }
}
