//! Rules: from the model to what an exchange needs. Compiling is also how a snapshot checks them.

mod streams;

use std::sync::Arc;

use crate::config::compile::{Build, headers};
use crate::config::model::{self, HttpAction, StringMatch};
use crate::config::table::{DestinationId, VirtualHost};
use crate::limits::{DESTINATIONS_PER_RULE_MAX, DIRECT_BODY_BYTES_MAX, RULE_MS_MAX};
use crate::route::matcher::Matcher;
use crate::route::rank::RuleSet;
use crate::route::rewrite::{Rewrite, is_target};
use crate::route::rule::{Action, CompiledRule, PortedDestination, Target, Targets};

/// Checks rules without keeping what they compile to.
///
/// # Errors
/// The reason for the operator, with the rule's origin and the field's name.
pub(crate) fn check(rules: &model::VirtualHost) -> Result<(), String> {
    let mut build = Build { names: Arc::default(), retries: Arc::default() };
    http_rules(&mut build, rules, &[])?;
    streams::tls_rules(&mut build, rules, &[])?;
    streams::tcp_rules(&mut build, rules, &[])?;
    Ok(())
}

/// Compiles the rules of a virtual host. `ports` are those that requests can come for. None for rules that a snapshot would
/// have refused.
pub(super) fn compile_virtual_host(
    build: &mut Build,
    name: &Arc<str>,
    model: &Arc<model::VirtualHost>,
    ports: Vec<u16>,
) -> Option<VirtualHost> {
    let rules = RuleSet::build(http_rules(build, model, &ports).ok()?);
    let tls = streams::tls_rules(build, model, &ports).ok()?.into();
    let tcp = streams::tcp_rules(build, model, &ports).ok()?.into();
    Some(VirtualHost { name: Arc::clone(name), model: Arc::clone(model), rules, tls, tcp, ports })
}

/// A rule with its alternatives.
type Conditioned = (Arc<CompiledRule>, Vec<Matcher>);

fn http_rules(
    build: &mut Build,
    rules: &model::VirtualHost,
    ports: &[u16],
) -> Result<Vec<Conditioned>, String> {
    let rules = rules.http.iter().enumerate().map(|(index, rule)| {
        let named = |why: String| match rule.origin.as_str() {
            "" => format!("http[{index}]: {why}"),
            origin => format!("{origin}: {why}"),
        };
        let matchers = rule
            .matches
            .iter()
            .enumerate()
            .map(|(at, it)| compile_match(it).map_err(|why| format!("match[{at}].{why}")));
        let matchers = matchers.collect::<Result<Vec<_>, _>>().map_err(named)?;
        Ok((Arc::new(http_rule(build, rule, ports).map_err(named)?), matchers))
    });
    rules.collect()
}

/// Compiles one alternative of a condition.
///
/// # Errors
/// The reason for the operator, with the field's name.
pub(crate) fn compile_match(from: &model::HttpMatch) -> Result<Matcher, String> {
    for (field, names) in [("headers", &from.headers), ("withoutHeaders", &from.without_headers)] {
        for name in names.keys() {
            let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
            if !lower || http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(format!("{field}: {name:?} is not a header name in lower case"));
            }
        }
    }
    let strings = [&from.scheme, &from.method, &from.authority];
    let named = [&from.headers, &from.without_headers, &from.query_params];
    let other = strings.into_iter().flatten().chain(named.into_iter().flat_map(|map| map.values().flatten()));
    if { other }.any(|it| matches!(it, StringMatch::PathPrefix(_))) {
        return Err("pathPrefix stands anywhere but in uri".into());
    }
    match &from.uri {
        Some(StringMatch::PathPrefix(prefix)) if !prefix.starts_with('/') => {
            return Err(format!("uri.pathPrefix: {prefix:?} does not start with a slash"));
        }
        _ => {}
    }
    Matcher::compile(from)
}

fn http_rule(build: &mut Build, rule: &model::HttpRule, ports: &[u16]) -> Result<CompiledRule, String> {
    let timeout_ms = rule.timeout_ms.filter(|timeout| *timeout > 0);
    if timeout_ms.is_some_and(|timeout| timeout > RULE_MS_MAX) {
        return Err(format!("timeout: over {RULE_MS_MAX} ms"));
    }
    let retries = match &rule.retries {
        Some(retries) => {
            check_retries(retries).map_err(|why| format!("retries.{why}"))?;
            Arc::new(retries.clone())
        }
        None => Arc::clone(&build.retries),
    };
    if let Some(fault) = &rule.fault {
        check_fault(fault).map_err(|why| format!("fault.{why}"))?;
    }
    let rewrite = rule.rewrite.as_ref().map(Rewrite::compile).transpose()?;
    Ok(CompiledRule {
        name: rule.name.as_str().into(),
        origin: rule.origin.as_str().into(),
        action: action(build, &rule.action, ports)?,
        rewrite: rewrite.map(Box::new),
        timeout_ms,
        retries,
        retries_configured: rule.retries.is_some(),
        fault: rule.fault.map(Box::new),
        headers: headers::compile(&rule.headers)?,
    })
}

fn action(build: &mut Build, action: &HttpAction, ports: &[u16]) -> Result<Action, String> {
    Ok(match action {
        HttpAction::Route { destinations } => Action::Forward(targets(build, destinations, ports)?),
        HttpAction::Redirect(redirect) => {
            check_redirect(redirect).map_err(|why| format!("redirect.{why}"))?;
            let code = if redirect.code == 0 { 301 } else { redirect.code };
            Action::Redirect(Box::new(model::Redirect { code, ..redirect.clone() }))
        }
        HttpAction::DirectResponse { status, body } => {
            if !(200..=599).contains(status) {
                return Err(format!("directResponse.status: {status} is not in 200..=599"));
            }
            let body = body.as_deref().unwrap_or_default();
            if body.len() > DIRECT_BODY_BYTES_MAX {
                return Err(format!(
                    "directResponse.body: {} bytes; at most {DIRECT_BODY_BYTES_MAX}",
                    body.len()
                ));
            }
            Action::DirectResponse { status: *status, body: body.into() }
        }
    })
}

fn targets(build: &mut Build, from: &[model::WeightedDestination], ports: &[u16]) -> Result<Targets, String> {
    if from.is_empty() {
        return Err("route: no destination".into());
    }
    if from.len() > DESTINATIONS_PER_RULE_MAX {
        return Err(format!("route: {} destinations; at most {DESTINATIONS_PER_RULE_MAX}", from.len()));
    }
    let total: u64 = from.iter().map(|it| u64::from(it.weight)).sum();
    let total =
        u32::try_from(total).map_err(|_| format!("route: weights sum to {total}, over {}", u32::MAX))?;
    if total == 0 && from.len() > 1 {
        return Err("route: the weights sum to 0".into());
    }
    let entries = from.iter().enumerate().map(|(index, it)| {
        if it.host.is_empty() {
            return Err(format!("route[{index}].destination.host: empty"));
        }
        let at = |build: &mut Build, port| -> DestinationId {
            build.destination(&model::destination_name(port, &it.subset, &it.host))
        };
        if it.refuse.is_some_and(|status| !(400..=599).contains(&status)) {
            return Err(format!("route[{index}].refuse: not an error's status"));
        }
        let destination = match (it.refuse, it.port) {
            (Some(status), _) => PortedDestination::Refused(status, it.host.as_str().into()),
            (None, Some(port)) => PortedDestination::Fixed(at(build, port)),
            (None, None) => {
                PortedDestination::ByPort(ports.iter().map(|port| (*port, at(build, *port))).collect())
            }
        };
        let headers = headers::compile(&it.headers).map_err(|why| format!("route[{index}].{why}"))?;
        Ok(Target { destination, weight: it.weight, headers })
    });
    Ok(Targets { entries: entries.collect::<Result<_, String>>()?, total })
}

fn check_redirect(redirect: &model::Redirect) -> Result<(), String> {
    if !matches!(redirect.code, 0 | 301 | 302 | 303 | 307 | 308) {
        return Err(format!("redirectCode: {} is none of 301, 302, 303, 307, 308", redirect.code));
    }
    if redirect.scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err("scheme: neither http nor https".into());
    }
    for (field, text) in
        [("uri", &redirect.uri), ("prefix", &redirect.prefix), ("authority", &redirect.authority)]
    {
        if let Some(text) = text.as_deref().filter(|text| !is_target(text)) {
            return Err(format!("{field}: {text:?} has a byte that may not stand in a URL"));
        }
    }
    Ok(())
}

/// Checks a retry policy.
///
/// # Errors
/// The reason for the operator, with the field's name.
pub(crate) fn check_retries(retries: &model::Retries) -> Result<(), String> {
    for (field, millis) in [("perTryTimeout", retries.per_try_timeout_ms), ("backoff", retries.backoff_ms)] {
        if millis.is_some_and(|millis| millis > RULE_MS_MAX) {
            return Err(format!("{field}: over {RULE_MS_MAX} ms"));
        }
    }
    match retries.on.statuses.iter().find(|status| !(100..=599).contains(*status)) {
        Some(status) => Err(format!("retryOn: {status} is not a status")),
        None => Ok(()),
    }
}

fn check_fault(fault: &model::FaultRule) -> Result<(), String> {
    const MILLION: u32 = 1_000_000;
    if let Some(delay) = &fault.delay {
        if delay.delay_ms > RULE_MS_MAX {
            return Err(format!("delay.fixedDelay: over {RULE_MS_MAX} ms"));
        }
        if delay.per_million > MILLION {
            return Err("delay.percentage: over 100 %".into());
        }
    }
    if let Some(abort) = &fault.abort {
        if !(200..=599).contains(&abort.status) {
            return Err(format!("abort.httpStatus: {} is not in 200..=599", abort.status));
        }
        if abort.per_million > MILLION {
            return Err("abort.percentage: over 100 %".into());
        }
    }
    Ok(())
}
