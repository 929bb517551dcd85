//! The peers' configurations: templates of `perf/peers/` filled in, and their tables. All lead to one origin.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use dromon_core::config::model::Protocol;
use serde_json::json;

use super::setup::{Hop, Place, Setup};

/// The file of a run that holds Envoy's table.
pub const ENVOY_ROUTES: &str = "routes.json";

/// Addresses and places of one run.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// A folder of the run's own.
    pub directory: &'a Path,
    /// Where the proxy listens.
    pub port: u16,
    /// Where its statistics are.
    pub admin_port: u16,
    /// Where the origin listens, or the next proxy.
    pub origin_port: u16,
    /// Folder of the proxy's identity.
    pub certs: &'a Path,
}

fn fill(template: &str, setup: &Setup, places: &Places<'_>, more: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    let fixed = [
        ("directory", places.directory.display().to_string()),
        ("port", places.port.to_string()),
        ("admin_port", places.admin_port.to_string()),
        ("origin_port", places.origin_port.to_string()),
        ("workers", setup.workers.to_string()),
        ("certs", places.certs.display().to_string()),
        ("codec", if setup.is_http2() { "HTTP2" } else { "HTTP1" }.to_owned()),
        (
            "upstream_protocol",
            if setup.is_http2() { "http2_protocol_options" } else { "http_protocol_options" }.to_owned(),
        ),
    ];
    // What is put in may have values of its own, so it goes first.
    for (name, value) in more {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    for (name, value) in &fixed {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    text
}

fn put(places: &Places<'_>, name: &str, text: &str) -> Result<()> {
    let path = places.directory.join(name);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// Puts a file in the place of another in one step, so that no reader sees half of it.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let next = path.with_extension("next");
    std::fs::write(&next, bytes).with_context(|| format!("writing {}", next.display()))?;
    std::fs::rename(&next, path).with_context(|| format!("renaming to {}", path.display()))
}

/// Writes `envoy.yaml` and, at the edge, the first table.
pub fn envoy(setup: &Setup, hop: Hop, places: &Places<'_>) -> Result<()> {
    if hop.place != Place::Gateway {
        return envoy_sidecar(setup, hop, places);
    }
    put(places, "envoy.yaml", &fill(include_str!("../../peers/envoy.yaml"), setup, places, &[]))?;
    replace(&places.directory.join(ENVOY_ROUTES), envoy_routes(setup, 0).as_bytes())
}

fn envoy_sidecar(setup: &Setup, hop: Hop, places: &Places<'_>) -> Result<()> {
    let filter = match setup.protocol {
        Protocol::Tcp => include_str!("../../peers/envoy-tcp.json"),
        _ => include_str!("../../peers/envoy-http.json"),
    };
    // The names that Istio's sidecars use among themselves.
    let alpn = match setup.protocol {
        Protocol::Tcp => r#""istio""#,
        _ if setup.is_http2() => r#""istio-h2", "h2""#,
        _ => r#""istio-http/1.1", "http/1.1""#,
    };
    let secured = |wanted: bool, template: &str| {
        if wanted { template.replace("{{alpn}}", alpn) } else { "null".to_owned() }
    };
    let listener = secured(hop.tls_down, include_str!("../../peers/envoy-tls-down.json"));
    let cluster = secured(hop.tls_up, include_str!("../../peers/envoy-tls-up.json"));
    let more = [("listener_tls", &*listener), ("cluster_tls", &*cluster), ("filter", filter)];
    put(places, "envoy.yaml", &fill(include_str!("../../peers/envoy-sidecar.yaml"), setup, places, &more))
}

/// Writes `nghttpx.conf`.
pub fn nghttpx(setup: &Setup, places: &Places<'_>) -> Result<()> {
    put(places, "nghttpx.conf", &fill(include_str!("../../peers/nghttpx.conf"), setup, places, &[]))
}

/// Envoy's table, as a discovery response.
pub fn envoy_routes(setup: &Setup, generation: u64) -> String {
    let hosts: Vec<_> = (0..setup.hosts)
        .map(|number| {
            let routes: Vec<_> = (0..setup.routes)
                .map(|route| {
                    json!({
                        "name": format!("route-{route}-{generation}"),
                        "match": {"prefix": setup.prefix(route)},
                        "route": {"cluster": "origin"},
                    })
                })
                .collect();
            let name = Setup::host(number);
            json!({"name": name, "domains": [name], "routes": routes})
        })
        .collect();
    let response = json!({
        "version_info": generation.to_string(),
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "lab",
            "virtual_hosts": hosts,
        }],
    });
    response.to_string()
}

/// Writes `nginx.conf` and its table.
pub fn nginx(setup: &Setup, places: &Places<'_>, descriptors: u64) -> Result<()> {
    let more = [("descriptors", descriptors.to_string())];
    let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
    put(places, "nginx.conf", &fill(include_str!("../../peers/nginx.conf"), setup, places, &more))?;
    let mut table = String::new();
    for number in 0..setup.hosts {
        let name = Setup::host(number);
        writeln!(table, "server {{ listen 127.0.0.1:{}; server_name {name};", places.port)?;
        for route in 0..setup.routes {
            writeln!(table, "  location {} {{ proxy_pass http://origin; }}", setup.prefix(route))?;
        }
        writeln!(table, "}}")?;
    }
    put(places, "routes.conf", &table)
}

/// Writes `haproxy.cfg` and its map.
pub fn haproxy(setup: &Setup, places: &Places<'_>, splice: bool) -> Result<()> {
    let map = places.directory.join("routes.map");
    // A table of one host is told apart by path, any other by host: each the lookup that HAProxy does fastest.
    let lookup = if setup.hosts == 1 {
        format!("path,map_beg({})", map.display())
    } else {
        format!("req.hdr(host),field(1,:),lower,map_str({})", map.display())
    };
    let splice = if splice { "option splice-response" } else { "" };
    let more = [("lookup", lookup.as_str()), ("splice", splice)];
    put(places, "haproxy.cfg", &fill(include_str!("../../peers/haproxy.cfg"), setup, places, &more))?;
    let mut table = String::new();
    if setup.hosts == 1 {
        for route in 0..setup.routes {
            writeln!(table, "{} origin", setup.prefix(route))?;
        }
    } else {
        for number in 0..setup.hosts {
            writeln!(table, "{} origin", Setup::host(number))?;
        }
    }
    put(places, "routes.map", &table)
}
