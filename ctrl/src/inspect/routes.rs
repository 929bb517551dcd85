//! `dromonctl routes`: the rules in force at a proxy.

use std::fmt::Write;

use clap::Args;
use dromon_core::config::describe::security_of;
use dromon_core::config::model::{
    HttpAction, HttpMatch, HttpRule, Listener, StringMatch, VirtualHost, WeightedDestination,
};
use serde_json::Value;

use super::{Which, admin_of, list, page, text};
use crate::run::options::Output;

/// Print the rules in force at a proxy of a running local mesh: hosts, rules in order, where they lead
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// gateway, or a process as NAME or NAME.NAMESPACE
    #[arg(value_name = "PROXY", default_value = "gateway")]
    pub proxy: String,
    /// Which run
    #[command(flatten)]
    pub which: Which,
    /// How to print; json is the proxy's whole configuration
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Prints the rules.
///
/// # Errors
/// No run or proxy is found, or it does not answer.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let run = options.which.find()?;
    let config = page(admin_of(&run, &options.proxy)?, "/config").await?;
    match options.output {
        Output::Json => println!("{config:#}"),
        Output::Text => print!("{}", describe(&config)),
    }
    Ok(true)
}

/// A proxy's configuration as text.
pub(super) fn describe(config: &Value) -> String {
    let mut out = String::new();
    for (name, listener) in config["listeners"].as_object().into_iter().flatten() {
        let (address, error) = (text(listener, "/address"), text(listener, "/error"));
        let state = if error.is_empty() { String::new() } else { format!(" is not open: {error}") };
        out.push_str(&format!("listener {name} {address}{state}\n"));
    }
    let credentials = list(config, "/credentials");
    for listener in list(config, "/proxy/listeners") {
        let Ok(listener) = serde_json::from_value::<Listener>(listener.clone()) else { continue };
        for line in security_of(&listener) {
            out.push_str(&format!("listener {}: {line}\n", listener.name));
        }
    }
    for credential in credentials {
        let name = text(credential, "/name");
        let state = match (credential["notAfter"].as_u64(), text(credential, "/error")) {
            (Some(until), _) => format!("until {}", super::certs::date(until)),
            (None, "") => "holds CAs".to_owned(),
            (None, error) => error.to_owned(),
        };
        out.push_str(&format!("credential {name}: {state}\n"));
    }
    for host in list(config, "/virtualHosts") {
        // What a newer proxy says in other words is left out rather than guessed at.
        if let Ok(host) = serde_json::from_value::<VirtualHost>(host.clone()) {
            out.push_str(&virtual_host(&host));
        }
    }
    let unrouted = list(config, "/hosts").iter().filter(|host| host["routed"] != true);
    let names: Vec<&str> = unrouted.map(|host| text(host, "/name")).collect();
    if !names.is_empty() {
        out.push_str(&format!("without rules: {}\n", names.join(", ")));
    }
    out
}

fn virtual_host(host: &VirtualHost) -> String {
    let mut out = format!("host {}\n", host.name);
    for (at, rule) in host.http.iter().enumerate() {
        out.push_str(&format!("  {at}: {} → {}\n", conditions(rule), action(&rule.action)));
        let details = details(rule);
        if !details.is_empty() {
            out.push_str(&format!("     {details}\n"));
        }
    }
    for (at, rule) in host.tls.iter().enumerate() {
        let names = rule.matches.iter().flat_map(|it| &it.sni_hosts).map(String::as_str);
        let names = names.collect::<Vec<_>>().join(", ");
        out.push_str(&format!("  {at}: tls {names} → {}\n", shares(&rule.destinations)));
    }
    for (at, rule) in host.tcp.iter().enumerate() {
        out.push_str(&format!("  {at}: tcp → {}\n", shares(&rule.destinations)));
    }
    out
}

fn conditions(rule: &HttpRule) -> String {
    if rule.matches.is_empty() {
        return "everything".into();
    }
    rule.matches.iter().map(condition).collect::<Vec<_>>().join(" or ")
}

fn condition(it: &HttpMatch) -> String {
    let mut parts = Vec::new();
    for (name, value) in
        [("method", &it.method), ("uri", &it.uri), ("scheme", &it.scheme), ("authority", &it.authority)]
    {
        parts.extend(value.as_ref().map(|value| format!("{name} {}", string(value))));
    }
    let named = |sign: &str, what: &str, name: &str, value: &Option<StringMatch>| {
        let value = value.as_ref().map_or_else(|| "present".into(), string);
        format!("{sign}{what} {name} {value}")
    };
    parts.extend(it.headers.iter().map(|(name, value)| named("", "header", name, value)));
    parts.extend(it.without_headers.iter().map(|(name, value)| named("not ", "header", name, value)));
    parts.extend(it.query_params.iter().map(|(name, value)| named("", "query", name, value)));
    parts.extend(it.port.map(|port| format!("port {port}")));
    if parts.is_empty() { "everything".into() } else { parts.join(", ") }
}

fn string(it: &StringMatch) -> String {
    match it {
        StringMatch::Exact(value) => format!("= {value}"),
        StringMatch::Prefix(value) => format!("{value}*"),
        StringMatch::Regex(value) => format!("~ {value}"),
        StringMatch::PathPrefix(value) => format!("{value}/*"),
    }
}

fn action(it: &HttpAction) -> String {
    match it {
        HttpAction::Route { destinations } => shares(destinations),
        HttpAction::Redirect(redirect) => format!("redirect {}", redirect.code),
        HttpAction::DirectResponse { status, .. } => format!("{status} from here"),
    }
}

fn shares(destinations: &[WeightedDestination]) -> String {
    let total: u64 = destinations.iter().map(|it| u64::from(it.weight)).sum();
    let share = |it: &WeightedDestination| {
        let mut out = it.host.clone();
        if let Some(status) = it.refuse {
            out = format!("{status} from here ({out})");
        }
        // Writing to a string cannot fail.
        if let Some(port) = it.port {
            let _ = write!(out, ":{port}");
        }
        if !it.subset.is_empty() {
            let _ = write!(out, " subset {}", it.subset);
        }
        if destinations.len() > 1 && total > 0 {
            let _ = write!(out, " {:.0} %", 100.0 * f64::from(it.weight) / total as f64);
        }
        out
    };
    destinations.iter().map(share).collect::<Vec<_>>().join(", ")
}

fn details(rule: &HttpRule) -> String {
    let mut parts = Vec::new();
    parts.extend((!rule.origin.is_empty()).then(|| rule.origin.clone()));
    parts.extend(rule.timeout_ms.map(|ms| format!("timeout {ms} ms")));
    parts.extend(rule.retries.as_ref().map(|retries| format!("{} retries", retries.attempts)));
    if let Some(fault) = rule.fault {
        let percent = |per_million: u32| f64::from(per_million) / 10_000.0;
        let delay = |it: dromon_core::config::model::FaultDelay| {
            format!("delays {} % by {} ms", percent(it.per_million), it.delay_ms)
        };
        let abort = |it: dromon_core::config::model::FaultAbort| {
            format!("aborts {} % with {}", percent(it.per_million), it.status)
        };
        parts.extend(fault.delay.map(delay));
        parts.extend(fault.abort.map(abort));
    }
    parts.extend(rule.rewrite.is_some().then(|| "rewritten".to_owned()));
    parts.join("; ")
}
