//! Every protocol through every place under every mode of TLS on both drivers: {HTTP/1.1, HTTP/2, gRPC, TCP} × {plaintext, mTLS
//! STRICT, PERMISSIVE} × {io_uring, epoll} × {outbound, inbound, gateway}, with the same driver at both ends and with one at
//! each. One mesh of three proxies serves all cells of a mode and two drivers; a cell that fails is named, and the others are
//! looked at all the same.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use dromon_core::config::model::{
    HttpAction, HttpRule, Listener, ListenerKind, MtlsMode, Protocol, Resource, Role, ServiceRef, TcpRule,
    VirtualHost,
};
use dromon_tests::certs::{MeshCa, run};
use dromon_tests::http::get;
use dromon_tests::origin::Origin;
use dromon_tests::pair::{free_address, metric, service, sidecar};
use dromon_tests::process::Process;
use dromon_tests::proxy::{DRIVERS, Proxy, listener, proxy, to};
use dromon_tests::{eventually, python, root, skip};
use tempfile::TempDir;

/// What is spoken from end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    Http2,
    Grpc,
    Tcp,
}

const SPOKEN: [Spoken; 4] = [Spoken::Http1, Spoken::Http2, Spoken::Grpc, Spoken::Tcp];

impl Spoken {
    fn host(self) -> String {
        format!("{self:?}.default.svc.cluster.local").to_ascii_lowercase()
    }

    fn declared(self) -> Protocol {
        match self {
            Spoken::Http1 => Protocol::Http,
            Spoken::Http2 => Protocol::Http2,
            Spoken::Grpc => Protocol::Grpc,
            Spoken::Tcp => Protocol::Tcp,
        }
    }

    /// A whole exchange with whatever listens there.
    fn works(self, at: SocketAddr) -> Result<(), String> {
        match self {
            Spoken::Http1 => {
                let answer = get(at, "/", &[("Host", &self.host())]).map_err(|error| error.to_string())?;
                is((answer.status, answer.text()), (200, "application".to_owned()))
            }
            Spoken::Http2 => {
                let (host, url) = (format!("Host: {}", self.host()), format!("http://{at}/file"));
                is(curl(&["--http2-prior-knowledge", "-H", &host, &url]), "from a file 2".to_owned())
            }
            Spoken::Grpc => {
                let Some(python) = python("grpc") else {
                    skip("matrix: gRPC", "grpcio is missing");
                    return Ok(());
                };
                let mut command = Command::new(python);
                command.arg(root().join("tests/suites/http2/grpc_calls.py")).args([&at.to_string(), "echo"]);
                let output = command.output().map_err(|error| error.to_string())?;
                match output.status.success() {
                    true => Ok(()),
                    false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                }
            }
            Spoken::Tcp => echoes(at).map_err(|error| error.to_string()),
        }
    }

    /// Exchanges at the server's sidecar of this kind whose callers proved themselves, or did not.
    fn counted(self, server: &Proxy, mutual: bool) -> f64 {
        let name = match self {
            Spoken::Tcp => "istio_tcp_connections_opened_total",
            _ => "istio_requests_total",
        };
        let policy = format!("connection_security_policy=\"{}\"", if mutual { "mutual_tls" } else { "none" });
        metric(server, &[name, &self.host(), &policy])
    }
}

/// What curl prints, errors included, and the version that was spoken.
fn curl(more: &[&str]) -> String {
    let output = run("curl", &[&["-sS", "-m", "20", "-w", " %{http_version}"], more].concat());
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn is<T: PartialEq + fmt::Debug>(found: T, wanted: T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found:?} in place of {wanted:?}")) }
}

/// Sends, ends sending, and gets it all back with an end.
fn echoes(at: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"\x00\x01 no HTTP")?;
    stream.shutdown(Shutdown::Write)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    match back == b"\x00\x01 no HTTP" {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("{back:?} came back"))),
    }
}

fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                if stream.read_to_end(&mut all).is_ok() {
                    let _ = stream.write_all(&all);
                }
            });
        }
    });
    address
}

/// The applications, each speaking its own protocol.
struct Applications {
    http1: Origin,
    http2: SocketAddr,
    grpc: SocketAddr,
    tcp: SocketAddr,
    _processes: Vec<Process>,
    _files: TempDir,
}

impl Applications {
    fn start() -> Applications {
        let files = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(files.path().join("file"), "from a file").expect("the folder is writable");
        let (http2, grpc) = (free_address(), free_address());
        let mut nghttpd = Command::new("nghttpd");
        nghttpd.args(["--no-tls", "--address", "127.0.0.1", "--htdocs"]).arg(files.path());
        let mut processes = vec![Process::start(nghttpd.arg(http2.port().to_string()))];
        eventually("nghttpd to listen", || TcpStream::connect(http2).ok());
        if let Some(python) = python("grpc") {
            let mut command = Command::new(python);
            command.arg(root().join("tests/suites/http2/grpc_service.py")).arg(grpc.to_string());
            processes.push(Process::start(&mut command));
            eventually("the gRPC service to listen", || TcpStream::connect(grpc).ok());
        }
        let (http1, tcp) = (Origin::start("application"), echo_server());
        Applications { http1, http2, grpc, tcp, _processes: processes, _files: files }
    }

    fn address(&self, spoken: Spoken) -> SocketAddr {
        match spoken {
            Spoken::Http1 => self.http1.address,
            Spoken::Http2 => self.http2,
            Spoken::Grpc => self.grpc,
            Spoken::Tcp => self.tcp,
        }
    }
}

/// A client's sidecar, a server's and a gateway, with a port for each protocol.
struct Mesh {
    server: Proxy,
    _client: Proxy,
    _gateway: Proxy,
    outbound: [SocketAddr; 4],
    inbound: [SocketAddr; 4],
    front: [SocketAddr; 4],
    certs: Vec<TempDir>,
}

impl Mesh {
    /// With a driver for the clients' proxies and one for the server's.
    fn start([near, far]: [&str; 2], mode: MtlsMode, applications: &Applications) -> Mesh {
        let ca = MeshCa::new();
        let certs: Vec<TempDir> = ["server", "client", "gateway"].map(|account| ca.folder(account)).into();
        let [outbound, inbound, front] = [(); 3].map(|()| SPOKEN.map(|_| free_address()));
        let of_server = SPOKEN.iter().zip(inbound).map(|(spoken, address)| {
            let kind = ListenerKind::Inbound {
                protocol: spoken.declared(),
                target: applications.address(*spoken),
                service: Some(ServiceRef { host: spoken.host(), ..ServiceRef::default() }),
                pool: Default::default(),
                mtls: mode,
            };
            listener(&format!("inbound/{spoken:?}"), address, kind)
        });
        let server = sidecar(far, &[proxy(Role::Sidecar, of_server.collect())], certs[0].path());
        let mut services: Vec<Resource> = SPOKEN
            .iter()
            .zip(inbound)
            .flat_map(|(spoken, address)| {
                service(&spoken.host(), address, spoken.declared(), &ca.id("server"))
            })
            .collect();
        for resource in &mut services {
            // A controller says of endpoints that take none that they do not.
            if let Resource::Endpoints(it) = resource {
                it.endpoints.iter_mut().for_each(|it| it.mtls = mode != MtlsMode::Disable);
            }
        }
        let of_client = SPOKEN.iter().zip(outbound).map(|(spoken, address)| {
            let kind = ListenerKind::Service { host: spoken.host(), port: 80, protocol: spoken.declared() };
            listener(&format!("service/{spoken:?}"), address, kind)
        });
        let mut resources = vec![proxy(Role::Sidecar, of_client.collect())];
        resources.extend(services.iter().cloned());
        let client = sidecar(near, &resources, certs[1].path());
        let gateway = gateway(near, &front, services, certs[2].path().to_owned());
        Mesh { server, _client: client, _gateway: gateway, outbound, inbound, front, certs }
    }
}

/// A gateway with a port for each protocol.
fn gateway(driver: &str, front: &[SocketAddr; 4], mut resources: Vec<Resource>, certs: PathBuf) -> Proxy {
    let mut listeners: Vec<Listener> = Vec::new();
    for (spoken, address) in SPOKEN.into_iter().zip(front) {
        let name = format!("gateway/{spoken:?}");
        let mut host = VirtualHost {
            name: format!("{name}/*"),
            listener: Some(name.clone()),
            domains: vec!["*".into()],
            ..VirtualHost::default()
        };
        let destinations = vec![to(&spoken.host())];
        let kind = match spoken {
            Spoken::Tcp => {
                host.tcp = vec![TcpRule { destinations, ..TcpRule::default() }];
                ListenerKind::GatewayTcp
            }
            _ => {
                host.http =
                    vec![HttpRule { action: HttpAction::Route { destinations }, ..HttpRule::default() }];
                ListenerKind::GatewayHttp
            }
        };
        listeners.push(listener(&name, *address, kind));
        resources.push(Resource::VirtualHost(host));
    }
    resources.insert(0, proxy(Role::Gateway, listeners));
    let certs = certs.display().to_string();
    Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1", "--certs", &certs])
}

/// Where an exchange enters the mesh.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// At the client's sidecar.
    Outbound,
    /// At the server's sidecar, from outside of the mesh: the one place where what is spoken there may be refused.
    Inbound,
    /// At a gateway.
    Gateway,
}

/// Clients that were turned away for speaking plaintext.
const REFUSED: &[&str] =
    &["dromon_tls_handshakes_failed_total{", "side=\"downstream\"", "reason=\"plaintext\""];

/// curl with a certificate of the mesh is one of it, though it knows nothing of meshes: no ALPN of theirs, no sidecar.
fn foreign(mesh: &Mesh, at: usize) {
    let spoken = SPOKEN[at];
    let (version, file, answer) = match spoken {
        Spoken::Http1 => ("--http1.1", "", "application 1.1"),
        Spoken::Http2 => ("--http2", "file", "from a file 2"),
        Spoken::Grpc | Spoken::Tcp => return,
    };
    let papers = |name: &str| mesh.certs[1].path().join(name).display().to_string();
    let (chain, key, host) =
        (papers("cert-chain.pem"), papers("key.pem"), format!("Host: {}", spoken.host()));
    let url = format!("https://{}/{file}", mesh.inbound[at]);
    let before = spoken.counted(&mesh.server, true);
    // Whom it talks to it cannot check: its names are of kind DNS.
    let said = curl(&[version, "-k", "--cert", &chain, "--key", &key, "-H", &host, &url]);
    assert_eq!(said, answer);
    eventually("it to be counted as proven", || (spoken.counted(&mesh.server, true) > before).then_some(()));
}

/// Tries one cell.
fn cell(mesh: &Mesh, at: usize, place: Place, mode: MtlsMode) {
    let spoken = SPOKEN[at];
    let (address, mutual) = match place {
        Place::Outbound => (mesh.outbound[at], mode != MtlsMode::Disable),
        Place::Inbound => (mesh.inbound[at], false),
        Place::Gateway => (mesh.front[at], mode != MtlsMode::Disable),
    };
    let before = [true, false].map(|mutual| spoken.counted(&mesh.server, mutual));
    let refused = || metric(&mesh.server, REFUSED);
    let refused_before = refused();
    let worked = spoken.works(address);
    if matches!(place, Place::Inbound) && mode == MtlsMode::Strict {
        if spoken == Spoken::Grpc && python("grpc").is_none() {
            return;
        }
        assert!(worked.is_err(), "plaintext got in");
        assert_eq!([true, false].map(|mutual| spoken.counted(&mesh.server, mutual)), before, "it was served");
        eventually("its reason to be counted", || (refused() > refused_before).then_some(()));
        return;
    }
    assert_eq!(worked, Ok(()));
    if spoken == Spoken::Grpc && python("grpc").is_none() {
        return;
    }
    let [with, without] = before;
    eventually("the server's sidecar to count it", || {
        let now = [true, false].map(|mutual| spoken.counted(&mesh.server, mutual));
        let wanted =
            if mutual { now[0] > with && now[1] == without } else { now[0] == with && now[1] > without };
        wanted.then_some(())
    });
}

fn matrix(mode: MtlsMode) {
    let applications = Applications::start();
    let mut failed = Vec::new();
    for drivers in DRIVERS.into_iter().flat_map(|near| DRIVERS.map(|far| [near, far])) {
        let mesh = Mesh::start(drivers, mode, &applications);
        for (at, spoken) in SPOKEN.iter().enumerate() {
            for place in [Place::Outbound, Place::Inbound, Place::Gateway] {
                if catch_unwind(AssertUnwindSafe(|| cell(&mesh, at, place, mode))).is_err() {
                    failed.push(format!("{spoken:?} × {mode:?} × {drivers:?} × {place:?}"));
                }
            }
            let strict = mode == MtlsMode::Strict;
            if strict && catch_unwind(AssertUnwindSafe(|| foreign(&mesh, at))).is_err() {
                failed.push(format!("{spoken:?} × {drivers:?} × a foreign client"));
            }
        }
    }
    assert!(failed.is_empty(), "these fail (why stands above): {failed:#?}");
}

#[test]
fn in_plaintext() {
    matrix(MtlsMode::Disable);
}

#[test]
fn under_strict_mutual_tls() {
    matrix(MtlsMode::Strict);
}

#[test]
fn under_permissive_mutual_tls() {
    matrix(MtlsMode::Permissive);
}
