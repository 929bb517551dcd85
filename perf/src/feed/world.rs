//! Objects of a made-up mesh: services with their endpoints and pods, and routes in both dialects.
//!
//! Services with an even number have one VirtualService with all their routes, the others an HTTPRoute for each. The first
//! route of a service answers by itself, with the generation of its rules.

use std::net::IpAddr;

use http::Method;
use serde_json::{Value, json};

use super::api::Write;

/// How large the mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Namespaces, over which services are spread.
    pub namespaces: usize,
    /// Services.
    pub services: usize,
    /// Endpoints of each.
    pub endpoints_each: usize,
    /// Routes of each.
    pub routes_each: usize,
    /// Connected proxies: the first pods of services.
    pub proxies: usize,
}

/// Services that a proxy's workload uses.
pub const USED: usize = 5;
/// Port of services.
pub const PORT: u16 = 80;
/// Port of pods.
const TARGET: u16 = 8080;
/// Account of all pods of a namespace.
pub const ACCOUNT: &str = "default";
/// Lists of the kinds that change.
pub const WATCHED: &[&str] = &[
    "/apis/networking.istio.io/v1/virtualservices",
    "/apis/gateway.networking.k8s.io/v1/httproutes",
    "/apis/discovery.k8s.io/v1/endpointslices",
];

impl Size {
    /// Endpoints of the whole mesh.
    pub fn endpoints(self) -> usize {
        self.services * self.endpoints_each
    }

    /// Routes of the whole mesh.
    pub fn routes(self) -> usize {
        self.services * self.routes_each
    }

    /// A service's namespace.
    pub fn namespace(self, service: usize) -> String {
        format!("team-{}", service % self.namespaces)
    }

    /// A service's host.
    pub fn host(self, service: usize) -> String {
        format!("service-{service}.{}.svc.cluster.local", self.namespace(service))
    }

    /// The service that a proxy's pod is of.
    pub fn service_of(self, proxy: usize) -> usize {
        proxy % self.services
    }

    /// A proxy's id.
    pub fn proxy_id(self, proxy: usize) -> String {
        let service = self.service_of(proxy);
        format!("sidecar~{}.{}", pod_name(service, proxy / self.services), self.namespace(service))
    }

    /// The services that a proxy's workload uses: spread evenly.
    pub fn used_by(self, proxy: usize) -> impl Iterator<Item = usize> {
        (0..USED.min(self.services)).map(move |turn| (proxy * USED + turn) % self.services)
    }

    /// All there is, in parts to be written one after another.
    pub fn objects(self) -> [Vec<Write>; 4] {
        let namespaces = (0..self.namespaces).map(|number| {
            let name = format!("team-{number}");
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            create("/api/v1/namespaces", body)
        });
        let accounts = (0..self.namespaces).map(|number| {
            let metadata = json!({"name": ACCOUNT, "namespace": format!("team-{number}")});
            let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
            create(&format!("/api/v1/namespaces/team-{number}/serviceaccounts"), body)
        });
        let first: Vec<Write> = namespaces.collect();
        let accounts: Vec<Write> = accounts.collect();
        let mut second = Vec::new();
        let mut third = Vec::new();
        for service in 0..self.services {
            let namespace = self.namespace(service);
            second.push(create(&format!("/api/v1/namespaces/{namespace}/services"), self.service(service)));
            second.push(create(&slices_path(&namespace), self.slice(service, &self.published(service))));
            second.extend(self.all_routes(service));
            for endpoint in 0..self.endpoints_each {
                let pods = format!("/api/v1/namespaces/{namespace}/pods");
                let pod = self.pod(service, endpoint);
                let path = format!("{pods}/{}/status", pod_name(service, endpoint));
                third.push(Write { method: Method::PUT, path, body: pod.clone() });
                second.push(create(&pods, pod));
            }
        }
        [first, accounts, second, third]
    }

    /// The endpoints that a service has while nothing is taken from it.
    pub fn published(self, service: usize) -> Vec<String> {
        (0..self.endpoints_each).map(|endpoint| address(service, endpoint)).collect()
    }

    /// Gives a service these endpoints.
    pub fn put_endpoints(self, service: usize, addresses: &[String]) -> Write {
        let path = format!("{}/service-{service}", slices_path(&self.namespace(service)));
        Write { method: Method::PUT, path, body: self.slice(service, addresses) }
    }

    /// Gives a service endpoints at ports of one address, one slice each; none: their number is all that is left of it.
    pub fn put_origin(self, service: usize, number: usize, at: Option<(IpAddr, u16)>, is_new: bool) -> Write {
        let namespace = self.namespace(service);
        let name = format!("service-{service}-origin-{number}");
        let addresses: Vec<String> = at.iter().map(|(ip, _)| ip.to_string()).collect();
        let mut body = self.slice(service, &addresses);
        body["metadata"]["name"] = name.clone().into();
        body["ports"][0]["port"] = at.map_or(TARGET, |(_, port)| port).into();
        match is_new {
            true => create(&slices_path(&namespace), body),
            false => Write { method: Method::PUT, path: format!("{}/{name}", slices_path(&namespace)), body },
        }
    }

    /// Gives the first route of a service another generation.
    pub fn patch_routes(self, service: usize, generation: u64) -> Write {
        let namespace = self.namespace(service);
        let (path, body) = match service % 2 {
            0 => (virtual_services_path(&namespace), self.virtual_service(service, generation)),
            _ => (http_routes_path(&namespace), self.http_route(service, 0, generation)),
        };
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{path}/{name}");
        Write { method: Method::PATCH, path, body: json!({"spec": body["spec"]}) }
    }

    /// A pod of its own in the first namespace.
    pub fn put_pod(self, name: &str, ip: &str) -> [Write; 2] {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace(0));
        let pod = pod(name, &self.namespace(0), "outside", ip);
        let path = format!("{pods}/{name}/status");
        [create(&pods, pod.clone()), Write { method: Method::PUT, path, body: pod }]
    }

    fn all_routes(self, service: usize) -> Vec<Write> {
        let namespace = self.namespace(service);
        match service % 2 {
            0 => vec![create(&virtual_services_path(&namespace), self.virtual_service(service, 0))],
            _ => (0..self.routes_each)
                .map(|route| create(&http_routes_path(&namespace), self.http_route(service, route, 0)))
                .collect(),
        }
    }

    fn service(self, service: usize) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": format!("service-{service}"), "namespace": self.namespace(service)},
            "spec": {
                "ports": [{"name": "http", "port": PORT, "targetPort": TARGET}],
                "selector": {"app": format!("service-{service}")},
            },
        })
    }

    fn slice(self, service: usize, addresses: &[String]) -> Value {
        let endpoint = |it: &String| json!({"addresses": [it], "conditions": {"ready": true}});
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("service-{service}"), "namespace": self.namespace(service),
                "labels": {"kubernetes.io/service-name": format!("service-{service}")},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": TARGET, "protocol": "TCP"}],
            "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        })
    }

    fn virtual_service(self, service: usize, generation: u64) -> Value {
        let host = self.host(service);
        let marked = json!({
            "match": [{"uri": {"exact": "/generation"}}],
            "redirect": {"uri": mark(generation)},
        });
        let route = |it: usize| {
            json!({
                "match": [{"uri": {"prefix": format!("/route-{it}/")}}],
                "route": [{"destination": {"host": host, "port": {"number": PORT}}}],
                "timeout": "5s",
            })
        };
        let http: Vec<Value> = std::iter::once(marked).chain((1..self.routes_each).map(route)).collect();
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": format!("service-{service}"), "namespace": self.namespace(service)},
            "spec": {"hosts": [host], "http": http},
        })
    }

    fn http_route(self, service: usize, route: usize, generation: u64) -> Value {
        let name = format!("service-{service}");
        let rule = match route {
            0 => json!({
                "matches": [{"path": {"type": "Exact", "value": "/generation"}}],
                "filters": [{
                    "type": "RequestRedirect",
                    "requestRedirect": {
                        "path": {"type": "ReplaceFullPath", "replaceFullPath": mark(generation)}, "statusCode": 301,
                    },
                }],
            }),
            _ => json!({
                "matches": [{"path": {"type": "PathPrefix", "value": format!("/route-{route}/")}}],
                "backendRefs": [{"name": name, "port": PORT}],
                "timeouts": {"request": "5s"},
            }),
        };
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": format!("{name}-{route}"), "namespace": self.namespace(service)},
            "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "name": name, "port": PORT}],
                "rules": [rule],
            },
        })
    }

    fn pod(self, service: usize, endpoint: usize) -> Value {
        let app = format!("service-{service}");
        pod(&pod_name(service, endpoint), &self.namespace(service), &app, &address(service, endpoint))
    }
}

/// Where the redirect of a generation leads, which no other's does.
pub fn mark(generation: u64) -> String {
    format!("/generation-{generation}.")
}

/// Address of an endpoint, of its own in the whole mesh.
pub fn address(service: usize, endpoint: usize) -> String {
    format!("10.{}.{}.{}", 100 + endpoint, service / 250, 1 + service % 250)
}

fn pod_name(service: usize, endpoint: usize) -> String {
    format!("service-{service}-{endpoint}")
}

fn create(path: &str, body: Value) -> Write {
    Write { method: Method::POST, path: path.to_owned(), body }
}

fn slices_path(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

fn virtual_services_path(namespace: &str) -> String {
    format!("/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices")
}

fn http_routes_path(namespace: &str) -> String {
    format!("/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes")
}

fn pod(name: &str, namespace: &str, app: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"app": app, "version": "v1"}, "annotations": {"dromon.io/status": "{}"},
        },
        "spec": {
            "serviceAccountName": ACCOUNT, "automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": "app", "ports": [{"containerPort": TARGET}]}],
            "volumes": [{"name": "certs", "secret": {"secretName": format!("dromon.{ACCOUNT}")}}],
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}
