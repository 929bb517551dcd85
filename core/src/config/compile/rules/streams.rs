//! Rules for whole connections: TCP, and TLS by server name.

use std::sync::Arc;

use super::targets;
use crate::config::compile::Build;
use crate::config::model;
use crate::limits::SERVER_NAMES_MAX;
use crate::route::host::{Cidr, DomainMap};
use crate::route::rule::{CompiledTcpRule, TcpMatcher};

pub(super) fn tcp_rules(
    build: &mut Build,
    rules: &model::VirtualHost,
    ports: &[u16],
) -> Result<Vec<Arc<CompiledTcpRule>>, String> {
    let rules = rules.tcp.iter().enumerate().map(|(index, rule)| {
        let named = |why: String| named(why, &rule.origin, "tcp", index);
        let matches = rule.matches.iter().map(|it| {
            matcher(it.port, &it.destination_subnets, it.source_subnet.as_deref(), &[]).map_err(named)
        });
        let matches = matches.collect::<Result<_, String>>()?;
        let targets = targets(build, &rule.destinations, ports).map_err(named)?;
        Ok(Arc::new(CompiledTcpRule { origin: rule.origin.as_str().into(), targets, matches }))
    });
    rules.collect()
}

pub(super) fn tls_rules(
    build: &mut Build,
    rules: &model::VirtualHost,
    ports: &[u16],
) -> Result<Vec<Arc<CompiledTcpRule>>, String> {
    let rules = rules.tls.iter().enumerate().map(|(index, rule)| {
        let named = |why: String| named(why, &rule.origin, "tls", index);
        let matches = rule.matches.iter().map(|it| {
            matcher(it.port, &it.destination_subnets, it.source_subnet.as_deref(), &it.sni_hosts)
                .map_err(named)
        });
        let matches = matches.collect::<Result<_, String>>()?;
        let targets = targets(build, &rule.destinations, ports).map_err(named)?;
        Ok(Arc::new(CompiledTcpRule { origin: rule.origin.as_str().into(), targets, matches }))
    });
    rules.collect()
}

fn named(why: String, origin: &str, kind: &str, index: usize) -> String {
    match origin {
        "" => format!("{kind}[{index}]: {why}"),
        origin => format!("{origin}: {why}"),
    }
}

fn matcher(
    port: Option<u16>,
    destination_subnets: &[String],
    source_subnet: Option<&str>,
    server_names: &[String],
) -> Result<TcpMatcher, String> {
    if server_names.len() > SERVER_NAMES_MAX {
        return Err(format!("sniHosts: {}; at most {SERVER_NAMES_MAX}", server_names.len()));
    }
    if server_names.iter().any(String::is_empty) {
        return Err("sniHosts: an empty name".into());
    }
    let destinations = destination_subnets.iter().map(|text| Cidr::parse(text));
    let source = source_subnet.map(Cidr::parse).transpose();
    Ok(TcpMatcher {
        port,
        destinations: destinations
            .collect::<Result<_, _>>()
            .map_err(|why| format!("destinationSubnets: {why}"))?,
        source: source.map_err(|why| format!("sourceSubnet: {why}"))?,
        server_names: (!server_names.is_empty())
            .then(|| DomainMap::build(server_names.iter().map(|name| (name.as_str(), 0)))),
    })
}
