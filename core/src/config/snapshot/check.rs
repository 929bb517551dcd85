//! What makes an object one that can be carried out. Rules are checked by compiling them, so that what is accepted here
//! cannot fail later.

mod tls;

use std::net::IpAddr;

use crate::config::compile::{compile_limit, rules};
use crate::config::model::{self, Resource};
use crate::limits::{
    ENDPOINTS_MAX, HOST_BYTES_MAX, LIMITS_PER_OBJECT_MAX, LISTENERS_MAX, MATCHES_PER_HOST_MAX, RULE_MS_MAX,
    RULES_PER_HOST_MAX,
};
use crate::route::host::Cidr;

/// Refuses what could not be carried out.
///
/// # Errors
/// The reason for the operator, with the field's name.
pub(super) fn check(resource: &Resource) -> Result<(), String> {
    if resource.name().is_empty() {
        return Err("name: empty".into());
    }
    match resource {
        Resource::Proxy(it) => proxy(it),
        Resource::Endpoints(it) => endpoints(it),
        Resource::Destination(it) => destination(it),
        Resource::RateLimit(it) => rate_limit(it),
        Resource::VirtualHost(it) => virtual_host(it),
        Resource::Host(it) => host(it),
        Resource::Credential(it) => tls::credential(it),
    }
}

fn proxy(proxy: &model::Proxy) -> Result<(), String> {
    at_most(proxy.listeners.len(), LISTENERS_MAX, "listeners")?;
    let mut names = std::collections::BTreeSet::new();
    for listener in &proxy.listeners {
        if !names.insert(listener.name.as_str()) {
            return Err(format!("listeners: two are named {:?}", listener.name));
        }
        if let model::ListenerKind::Inbound { pool, .. } = &listener.kind {
            connection_pool(pool).map_err(|why| format!("listener {}: {why}", listener.name))?;
        }
        tls::listener(listener).map_err(|why| format!("listener {}: {why}", listener.name))?;
    }
    let domains = proxy.trust_domain_aliases.iter().chain(Some(&proxy.trust_domain));
    for domain in domains.filter(|it| !it.is_empty()) {
        tls::trust_domain(domain)?;
    }
    proxy.default_retries.as_ref().map_or(Ok(()), |retries| {
        rules::check_retries(retries).map_err(|why| format!("defaultRetries: {why}"))
    })
}

fn virtual_host(rules: &model::VirtualHost) -> Result<(), String> {
    at_most(rules.http.len(), RULES_PER_HOST_MAX, "http rules")?;
    at_most(rules.tls.len(), RULES_PER_HOST_MAX, "tls rules")?;
    at_most(rules.tcp.len(), RULES_PER_HOST_MAX, "tcp rules")?;
    let matches = rules.http.iter().map(|rule| rule.matches.len()).sum();
    at_most(matches, MATCHES_PER_HOST_MAX, "matches of all http rules")?;
    rules.domains.iter().try_for_each(|domain| domain_name(domain, "domains"))?;
    rules::check(rules)
}

fn host(host: &model::Host) -> Result<(), String> {
    domain_name(&host.name, "name")?;
    host.domains.iter().try_for_each(|domain| domain_name(domain, "domains"))?;
    for address in &host.addresses {
        Cidr::parse(address).map_err(|why| format!("addresses: {why}"))?;
    }
    let mut numbers = std::collections::BTreeSet::new();
    for port in &host.ports {
        if port.number == 0 {
            return Err("ports: 0 is not a port".into());
        }
        if !numbers.insert(port.number) {
            return Err(format!("ports: {} stands twice", port.number));
        }
    }
    Ok(())
}

fn destination(destination: &model::Destination) -> Result<(), String> {
    connection_pool(&destination.pool)?;
    destination.tls.as_ref().map_or(Ok(()), tls::client)?;
    if destination.retry_budget.percent > 100 {
        return Err(format!("retryBudget.percent: {} is over 100", destination.retry_budget.percent));
    }
    let Some(outlier) = &destination.outlier else { return Ok(()) };
    for (field, percent) in [
        ("maxEjectionPercent", outlier.max_ejection_percent),
        ("minHealthPercent", outlier.min_health_percent),
    ] {
        if percent > 100 {
            return Err(format!("outlierDetection.{field}: {percent} is over 100"));
        }
    }
    if outlier.interval_ms == 0 {
        return Err("outlierDetection.interval: must be at least 1ms".into());
    }
    millis(Some(outlier.interval_ms), "outlierDetection.interval")?;
    millis(Some(outlier.base_ejection_ms), "outlierDetection.baseEjectionTime")
}

fn connection_pool(pool: &model::ConnectionPool) -> Result<(), String> {
    if pool.connect_timeout_ms == Some(0) {
        return Err("connectionPool.tcp.connectTimeout: must be at least 1ms".into());
    }
    millis(pool.connect_timeout_ms, "connectionPool.tcp.connectTimeout")?;
    millis(pool.idle_timeout_ms, "connectionPool.idleTimeout")?;
    millis(pool.max_connection_duration_ms, "connectionPool.tcp.maxConnectionDuration")
}

fn endpoints(endpoints: &model::Endpoints) -> Result<(), String> {
    at_most(endpoints.endpoints.len(), ENDPOINTS_MAX, "endpoints")?;
    for endpoint in &endpoints.endpoints {
        if endpoint.port == 0 {
            return Err(format!("endpoint {}: port 0 is not a port", endpoint.address));
        }
        if endpoint.address.parse::<IpAddr>().is_err() {
            domain_name(&endpoint.address, "endpoint")?;
            if endpoint.address.contains('*') {
                return Err(format!("endpoint {:?} is neither an address nor a DNS name", endpoint.address));
            }
        }
    }
    Ok(())
}

fn rate_limit(object: &model::RateLimit) -> Result<(), String> {
    at_most(object.limits.len(), LIMITS_PER_OBJECT_MAX, "limits")?;
    for (index, limit) in object.limits.iter().enumerate() {
        compile_limit(limit).map_err(|why| format!("limits[{index}].{why}"))?;
        if limit.unit_ms == 0 || limit.unit_ms > RULE_MS_MAX {
            return Err(format!("limits[{index}].unit: {} ms is not in 1..={RULE_MS_MAX}", limit.unit_ms));
        }
    }
    Ok(())
}

/// A name in lower case, without port: exact, `*.suffix` or `*`.
fn domain_name(domain: &str, field: &str) -> Result<(), String> {
    let rest = domain.strip_prefix('*').unwrap_or(domain);
    let byte_allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b':')
    };
    if domain.is_empty() || domain.len() > HOST_BYTES_MAX {
        return Err(format!("{field}: {domain:?} is empty or longer than {HOST_BYTES_MAX} bytes"));
    }
    // A colon stands in IPv6 addresses only.
    if !rest.bytes().all(byte_allowed) || (rest.contains(':') && rest.parse::<IpAddr>().is_err()) {
        return Err(format!("{field}: {domain:?} is not a host name in lower case, without port"));
    }
    Ok(())
}

fn at_most(count: usize, max: usize, what: &str) -> Result<(), String> {
    if count > max { Err(format!("{what}: {count}; at most {max}")) } else { Ok(()) }
}

fn millis(value: Option<u64>, field: &str) -> Result<(), String> {
    match value {
        Some(value) if value > RULE_MS_MAX => Err(format!("{field}: {value} ms is over {RULE_MS_MAX}")),
        _ => Ok(()),
    }
}
