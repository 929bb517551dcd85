//! Services that only addresses tell apart, each pod of a headless service by itself, and what is called by a pod's own
//! address: all of it under STRICT, in a run whose connections are captured.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use dromon_tests::http::{self, get};
use dromon_tests::mesh::{Mesh, Setup};
use dromon_tests::{eventually, root};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::run::STRICT;
use crate::world::output;

/// The port that all services of lines have.
const PORT: u16 = 9000;

fn service(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{{more}selector: {{app: {name}}}, ports: [{{name: tcp, port: {PORT}}}]}}\n"
    )
}

/// A process that gives lines back with its own name before them.
fn lines(app: &str, name: &str) -> String {
    let script = root().join("tests/suites/capture/line_server.py");
    process(app, name, &format!("python3, -u, {}, {name}, \"{PORT}\"", script.display()), "tcp", PORT)
}

fn process(app: &str, name: &str, command: &str, port_name: &str, port: u16) -> String {
    format!(
        "---\napiVersion: run.dromon.io/v1\nkind: Process\n\
         metadata: {{name: {name}, namespace: default, labels: {{app: {app}}}}}\n\
         spec: {{command: [{command}], serviceAccountName: {app}, ports: [{{name: {port_name}, containerPort: {port}}}]}}\n"
    )
}

fn start() -> Mesh {
    let web = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n\
               spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 9080}]}\n";
    let caller = "---\napiVersion: run.dromon.io/v1\nkind: Process\nmetadata: {name: caller, namespace: default}\n\
                  spec: {command: [sleep, infinity], serviceAccountName: caller}\n";
    let objects = [
        service("ledger", ""),
        lines("ledger", "ledger-1"),
        service("journal", ""),
        lines("journal", "journal-1"),
        service("db", "clusterIP: None, "),
        lines("db", "db-0"),
        lines("db", "db-1"),
        web.to_owned(),
        process("web", "web-0", "dromon-bookinfo, details, --version, v1", "http", 9080),
        process("web", "web-1", "dromon-bookinfo, details, --version, v2", "http", 9080),
        caller.to_owned(),
    ];
    Setup::new()
        .file("strict.yaml", STRICT)
        .file("mesh.yaml", &objects.concat())
        .arguments(&["--capture"])
        .start()
}

/// A process of the run: what is done inside comes from its network namespace.
struct Inside(u64);

impl Inside {
    fn of(mesh: &Mesh, name: &str) -> Inside {
        let processes = mesh.ready["processes"].as_array().expect("a list");
        let it = processes.iter().find(|it| it["name"].as_str().is_some_and(|it| it.contains(name)));
        let pid = it.and_then(|it| it["pid"].as_u64());
        Inside(pid.unwrap_or_else(|| panic!("no {name}: {}", mesh.ready)))
    }

    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.0)).expect("the process runs");
        let enter = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("entered");
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|it| std::panic::resume_unwind(it))
    }

    /// The pod's own address.
    fn address(&self) -> IpAddr {
        self.run(|| {
            // Nothing is sent: the system chooses the address that it would send from.
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.connect("192.0.2.1:9").expect("a route");
            socket.local_addr().expect("bound").ip()
        })
    }

    /// The address that its programs know a service by.
    fn service(&self, name: &str) -> IpAddr {
        let named = output(Command::new("ip").args(["netns", "identify", &self.0.to_string()]));
        let named = String::from_utf8_lossy(&named.stdout).trim().to_owned();
        eventually(&format!("{name} to have a name"), || {
            let hosts = std::fs::read_to_string(format!("/etc/netns/{named}/hosts")).ok()?;
            let line = hosts.lines().find(|line| line.split_whitespace().any(|word| word == name))?;
            line.split_whitespace().next()?.parse().ok()
        })
    }

    /// Who answers a line there.
    fn who(&self, to: SocketAddr) -> Result<String, String> {
        self.run(|| ask(to)).map_err(|error| error.to_string())
    }

    /// The status of an HTTP request there.
    fn http(&self, to: SocketAddr, host: &str) -> Option<u16> {
        self.run(|| http::get(to, "/health", &[("Host", host)])).ok().map(|answer| answer.status)
    }
}

fn ask(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(20))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"who\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Connections that a sidecar has taken, by how they were protected.
fn taken(mesh: &Mesh, name: &str, policy: &str) -> f64 {
    let page = get(mesh.admin(&format!("{name}.default")), "/stats/prometheus", &[]).expect("a page").text();
    let lines = page.lines().filter(|line| {
        line.starts_with("istio_tcp_connections_opened_total")
            && line.contains("reporter=\"destination\"")
            && line.contains(&format!("connection_security_policy=\"{policy}\""))
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// See the module's doc.
pub fn by_address() {
    let mesh = start();
    let caller = Inside::of(&mesh, "caller");
    let at = |address: IpAddr| SocketAddr::new(address, PORT);
    let is = |to: SocketAddr, name: &str| {
        eventually(&format!("{name} to answer at {to}"), || {
            (caller.who(to).ok()? == format!("{name} who")).then_some(())
        });
    };
    // Nothing but the address tells them apart.
    for name in ["ledger", "journal"] {
        is(at(caller.service(name)), &format!("{name}-1"));
    }
    for _ in 0..3 {
        for name in ["ledger", "journal"] {
            assert_eq!(caller.who(at(caller.service(name))), Ok(format!("{name}-1 who")));
        }
    }
    // A headless service is balanced, and each of its pods is there by itself.
    let mut seen = BTreeSet::new();
    eventually("both pods of the headless service", || {
        seen.extend(caller.who(at(caller.service("db"))).ok());
        (seen.len() == 2).then_some(())
    });
    for pod in ["db-0", "db-1"] {
        let own = Inside::of(&mesh, pod).address();
        for _ in 0..3 {
            assert_eq!(caller.who(at(own)), Ok(format!("{pod} who")), "by the pod's own address");
        }
        // One of them calls itself, and its sibling calls it.
        for from in ["db-0", "db-1"] {
            assert_eq!(Inside::of(&mesh, from).who(at(own)), Ok(format!("{pod} who")), "from {from}");
        }
        // Who has no sidecar is refused: what has worked did so by mutual TLS.
        let mut outside = TcpStream::connect(at(own)).expect("the sidecar listens");
        let _ = outside.write_all(b"who\n");
        outside.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        assert!(!matches!(outside.read(&mut [0; 1]), Ok(1..)), "plaintext gets nowhere");
        assert!(taken(&mesh, pod, "mutual_tls") >= 3.0, "{pod}");
        assert_eq!(taken(&mesh, pod, "none"), 0.0, "{pod}");
    }
    // By HTTP, whose requests name the pod.
    for pod in ["web-0", "web-1"] {
        let own = SocketAddr::new(Inside::of(&mesh, pod).address(), 9080);
        for host in [format!("{pod}.web:9080"), own.to_string()] {
            eventually(&format!("an answer from {host}"), || {
                (caller.http(own, &host) == Some(200)).then_some(())
            });
        }
    }
    assert_eq!(caller.http(SocketAddr::new(caller.service("web"), 9080), "web:9080"), Some(200));
}
