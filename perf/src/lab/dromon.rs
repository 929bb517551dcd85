//! Dromon's configuration for a run, made from core's own model, and its build.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use dromon_core::config::model::{
    Destination, Discovery, Endpoint, Endpoints, Host, HostPort, HttpAction, HttpMatch, HttpRule, Limit,
    LimitScope, Listener, ListenerKind, Protocol, Proxy, RateLimit, Resource, Role, ServiceRef, StringMatch,
    VirtualHost, WeightedDestination, Workload, destination_name,
};

use super::setup::Setup;

/// The id that the lab's proxy has.
pub const PROXY_ID: &str = "gateway~lab.default";
/// The file of a run that holds its resources.
pub const FILE: &str = "config.json";
/// The service that the origin stands for.
const ORIGIN_HOST: &str = "origin.default.svc.cluster.local";

/// The resources of a gateway with the setup's table, all of it leading to one origin. `generation` changes a rule
/// without changing where any request goes.
pub fn resources(setup: &Setup, port: u16, origin_port: u16, generation: u64) -> Vec<Resource> {
    let name = destination_name(origin_port, "", ORIGIN_HOST);
    let service = ServiceRef { host: ORIGIN_HOST.into(), name: "origin".into(), namespace: "default".into() };
    let workload = Workload { name: "lab".into(), namespace: "default".into(), ..Workload::default() };
    let address = ([127, 0, 0, 1], port).into();
    let listener = Listener::new(listener_name(port), address, 80, ListenerKind::GatewayHttp);
    let proxy = Proxy {
        name: PROXY_ID.into(),
        role: Role::Gateway,
        workload,
        listeners: vec![listener],
        ..Proxy::default()
    };
    let endpoint = Endpoint { address: "127.0.0.1".into(), port: origin_port, ..Endpoint::default() };
    let host = Host {
        name: ORIGIN_HOST.into(),
        domains: vec![ORIGIN_HOST.into()],
        ports: vec![HostPort { number: origin_port, protocol: Protocol::Http }],
        ..Host::default()
    };
    let destination = Destination {
        name: name.clone(),
        service,
        protocol: Protocol::Http,
        discovery: Discovery::Static,
        ..Destination::default()
    };
    let mut all = vec![
        Resource::Proxy(proxy),
        Resource::Endpoints(Endpoints { name, endpoints: vec![endpoint] }),
        Resource::Destination(destination),
        Resource::Host(host),
    ];
    all.extend(limit(setup, port).map(Resource::RateLimit));
    all.extend(
        (0..setup.hosts)
            .map(|number| Resource::VirtualHost(virtual_host(setup, port, origin_port, number, generation))),
    );
    all
}

fn listener_name(port: u16) -> String {
    format!("gateway/{port}")
}

fn virtual_host(setup: &Setup, port: u16, origin_port: u16, number: usize, generation: u64) -> VirtualHost {
    let domain = Setup::host(number);
    let rule = |route: usize| {
        let destination = WeightedDestination {
            host: ORIGIN_HOST.into(),
            port: Some(origin_port),
            weight: 1,
            ..WeightedDestination::default()
        };
        let uri = Some(StringMatch::Prefix(setup.prefix(route)));
        HttpRule {
            name: format!("route-{route}"),
            origin: format!("VirtualService/default/lab spec.http[{route}] generation {generation}"),
            matches: vec![HttpMatch { uri, ..HttpMatch::default() }],
            action: HttpAction::Route { destinations: vec![destination] },
            ..HttpRule::default()
        }
    };
    VirtualHost {
        name: format!("{}/{domain}", listener_name(port)),
        listener: Some(listener_name(port)),
        domains: vec![domain],
        http: (0..setup.routes).map(rule).collect(),
        ..VirtualHost::default()
    }
}

fn limit(setup: &Setup, port: u16) -> Option<RateLimit> {
    let limit = setup.limit?;
    Some(RateLimit {
        name: "default/lab".into(),
        scope: LimitScope::Gateway { listeners: vec![listener_name(port)] },
        limits: vec![Limit {
            requests: limit.per_second,
            unit_ms: 1_000,
            burst: limit.burst,
            ..Limit::default()
        }],
    })
}

/// Builds `dromon-proxy` with the lab's profile (fat LTO) in this workspace, and returns where it is.
pub fn build() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = manifest.parent().context("the workspace's folder")?;
    eprintln!("building dromon-proxy (profile lab: fat LTO, one codegen unit)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--profile", "lab", "--package", "dromon-proxy"])
        .current_dir(workspace)
        .status()
        .context("running cargo")?;
    if !status.success() {
        bail!("dromon-proxy does not build; see cargo's output above");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(target.join("lab/dromon-proxy"))
}
