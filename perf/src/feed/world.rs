//! Objects of a made-up mesh: services with their endpoints, rules for each, and pods whose proxies are played.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// How large the mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Services.
    pub services: usize,
    /// Endpoints of each.
    pub endpoints_each: usize,
    /// Routes of each.
    pub routes_each: usize,
    /// Connected proxies.
    pub proxies: usize,
}

/// Services that a proxy's workload uses.
pub const USED: usize = 5;

/// A mesh as a folder of files, one for each object that changes.
pub struct World {
    folder: PathBuf,
    size: Size,
}

impl World {
    /// Writes all objects.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(folder: &Path, size: Size) -> io::Result<World> {
        fs::create_dir_all(folder)?;
        let world = World { folder: folder.to_owned(), size };
        for service in 0..size.services {
            world.put(&format!("service-{service}"), &service_object(service))?;
            world.endpoints(service, 0)?;
            world.routes(service, 0)?;
        }
        for proxy in 0..size.proxies {
            world.put(&format!("pod-{proxy}"), &pod(proxy))?;
        }
        Ok(world)
    }

    /// Gives the rules of a service another generation, which its first route answers with.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn routes(&self, service: usize, generation: u64) -> io::Result<()> {
        self.put(&format!("routes-{service}"), &routes(service, self.size.routes_each, generation))
    }

    /// Takes the first `gone` endpoints of a service away.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn endpoints(&self, service: usize, gone: usize) -> io::Result<()> {
        self.put(&format!("endpoints-{service}"), &slice(service, gone..self.size.endpoints_each))
    }

    /// Puts a file at once, as `mv` does.
    fn put(&self, name: &str, object: &Value) -> io::Result<()> {
        let hidden = self.folder.join(format!(".{name}.new"));
        fs::write(&hidden, object.to_string())?;
        fs::rename(hidden, self.folder.join(format!("{name}.yaml")))
    }
}

/// The services that a proxy's workload uses: spread evenly.
pub fn used_by(proxy: usize, size: Size) -> impl Iterator<Item = usize> {
    (0..USED).map(move |turn| (proxy * USED + turn) % size.services)
}

/// A service's host.
pub fn host(service: usize) -> String {
    format!("service-{service}.simulated.svc.cluster.local")
}

/// A proxy's id.
pub fn proxy_id(proxy: usize) -> String {
    format!("sidecar~pod-{proxy}.simulated")
}

/// What the rules of a generation contain and no others.
pub fn generation_mark(generation: u64) -> String {
    format!("generation {generation}.")
}

/// Address of an endpoint, of its own in the whole mesh.
pub fn address(service: usize, endpoint: usize) -> String {
    format!("10.{}.{}.{}", 100 + endpoint, service / 250, 1 + service % 250)
}

fn service_object(service: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("service-{service}"), "namespace": "simulated"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], "selector": {"app": format!("service-{service}")}},
    })
}

fn slice(service: usize, endpoints: std::ops::Range<usize>) -> Value {
    let endpoint = |it| json!({"addresses": [address(service, it)], "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("service-{service}-1"), "namespace": "simulated",
            "labels": {"kubernetes.io/service-name": format!("service-{service}")},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.map(endpoint).collect::<Vec<_>>(),
    })
}

fn routes(service: usize, count: usize, generation: u64) -> Value {
    let marked = json!({
        "match": [{"uri": {"exact": "/generation"}}],
        "directResponse": {"status": 200, "body": {"string": generation_mark(generation)}},
    });
    let route = |it: usize| {
        json!({
            "match": [{"uri": {"prefix": format!("/route-{it}/")}}],
            "route": [{"destination": {"host": host(service), "port": {"number": 80}}}],
            "timeout": "5s",
        })
    };
    let http: Vec<Value> = std::iter::once(marked).chain((1..count).map(route)).collect();
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": format!("service-{service}"), "namespace": "simulated"},
        "spec": {"hosts": [host(service)], "http": http},
    })
}

fn pod(proxy: usize) -> Value {
    let ip = format!("10.99.{}.{}", proxy / 250, 1 + proxy % 250);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{proxy}"), "namespace": "simulated", "labels": {"app": "client"}},
        "spec": {"serviceAccountName": "client", "containers": [{"name": "app", "image": "app"}]},
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}
