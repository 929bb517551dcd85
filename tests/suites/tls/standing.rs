//! Connections that stand while certificates and roots change under them: a TCP relay and a WebSocket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use dromon_core::config::model::{Listener, ListenerKind, MtlsMode, Protocol, Role};
use dromon_tests::certs::MeshCa;
use dromon_tests::eventually;
use dromon_tests::http::get;
use dromon_tests::pair::{free_address, metric, service, sidecar};
use dromon_tests::proxy::{Proxy, listener, proxy};
use serde_json::Value;

const KINDS: [(&str, Protocol); 2] = [("relay", Protocol::Tcp), ("socket", Protocol::Http)];

/// Accepts a WebSocket where it is asked for one, and sends everything else back.
fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let mut came = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        came.extend_from_slice(&bytes[..count]);
        if came.starts_with(b"GET ") {
            if !came.ends_with(b"\r\n\r\n") {
                continue;
            }
            // The proof that belongs to the key of `open`.
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            came = answer.to_vec();
        }
        if stream.write_all(&came).is_err() {
            return;
        }
        came.clear();
    }
}

/// A connection of one of the kinds, ready to be talked over.
fn open(front: SocketAddr, host: &str, protocol: Protocol) -> TcpStream {
    let mut stream = TcpStream::connect(front).expect("the sidecar listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    if protocol == Protocol::Http {
        let head = format!(
            "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
        let mut came = Vec::new();
        while !came.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{host}: {error} after {came:?}"));
            came.push(byte[0]);
        }
        assert!(came.starts_with(b"HTTP/1.1 101"), "{host}: {}", String::from_utf8_lossy(&came));
    }
    stream
}

fn talks(stream: &mut TcpStream, word: &str, what: &str) {
    stream.write_all(word.as_bytes()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(back, word.as_bytes(), "{what}");
}

/// Client's and server's sidecar, with a way of each kind between them.
struct Pair {
    up: Proxy,
    down: Proxy,
    ways: Vec<(String, SocketAddr, Protocol)>,
}

impl Pair {
    fn start(driver: &str, ca: &MeshCa, of_client: &Path, of_server: &Path) -> Pair {
        let target = application();
        let (mut inbound, mut outbound): (Vec<Listener>, Vec<Listener>) = Default::default();
        let (mut ways, mut services) = (Vec::new(), Vec::new());
        for (name, protocol) in KINDS {
            let [front, server] = [(); 2].map(|()| free_address());
            let host = format!("{name}.default.svc.cluster.local");
            let pool = Default::default();
            let mtls = MtlsMode::Strict;
            let kind = ListenerKind::Inbound { protocol, target, service: None, pool, mtls };
            inbound.push(listener(&format!("inbound/{}", server.port()), server, kind));
            let kind = ListenerKind::Service { host: host.clone(), port: 80, protocol };
            outbound.push(listener(&format!("{name}/80"), front, kind));
            services.extend(service(&host, server, protocol, &ca.id("server")));
            ways.push((host, front, protocol));
        }
        let down = sidecar(driver, &[proxy(Role::Sidecar, inbound)], of_server);
        let mut resources = vec![proxy(Role::Sidecar, outbound)];
        resources.extend(services);
        Pair { up: sidecar(driver, &resources, of_client), down, ways }
    }

    fn open_all(&self) -> Vec<TcpStream> {
        self.ways.iter().map(|(host, front, protocol)| open(*front, host, *protocol)).collect()
    }
}

/// The serial number of a proxy's certificate, and the roots that it believes.
fn shown(proxy: &Proxy) -> (Value, Value) {
    let page = get(proxy.admin, "/certs", &[]).expect("a page").text();
    let page: Value = serde_json::from_str(&page).expect("JSON");
    (page["identity"]["serial"].clone(), page["roots"].clone())
}

/// Leaves are renewed; then the root is changed in its three steps. What stands goes on throughout, and what is opened
/// after a step is carried under it.
pub fn rotation(driver: &str) {
    let (ca, next) = (MeshCa::new(), MeshCa::new());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let pair = Pair::start(driver, &ca, of_client.path(), of_server.path());
    let folders = [(of_client.path(), "client", &pair.up), (of_server.path(), "server", &pair.down)];
    let mut standing = vec![("before", pair.open_all())];
    let both = ca.root_pem() + &next.root_pem();
    let roots = |folder: &Path, pem: &str| {
        let hidden = folder.join("roots.tmp");
        std::fs::write(&hidden, pem).expect("writable");
        std::fs::rename(hidden, folder.join("root-cert.pem")).expect("writable");
    };
    let issued = |by: &MeshCa, folder: &Path, account: &str| {
        // Written elsewhere first: the new CA's own roots are not to be seen before the last step.
        let made = by.folder(account);
        for file in ["key.pem", "cert-chain.pem"] {
            std::fs::copy(made.path().join(file), folder.join(file)).expect("writable");
        }
    };
    type Step<'a> = (&'static str, Box<dyn Fn(&Path, &str) + 'a>);
    let steps: [Step<'_>; 4] = [
        ("a renewed leaf", Box::new(|folder, account| ca.write(folder, account))),
        ("both roots", Box::new(|folder, _| roots(folder, &both))),
        ("a leaf of the new root", Box::new(|folder, account| issued(&next, folder, account))),
        ("the new root alone", Box::new(|folder, _| roots(folder, &next.root_pem()))),
    ];
    for (step, change) in &steps {
        for (folder, account, proxy) in folders {
            let before = shown(proxy);
            change(folder, account);
            eventually(&format!("{driver}: {step} at {account}"), || (shown(proxy) != before).then_some(()));
            // With one end changed and the other not, as it is for a while in every mesh.
            for (since, streams) in &mut standing {
                for (stream, (host, ..)) in streams.iter_mut().zip(&pair.ways) {
                    talks(stream, step, &format!("{driver}: {host}, open since {since}, under {step}"));
                }
            }
            for (stream, (host, ..)) in pair.open_all().iter_mut().zip(&pair.ways) {
                talks(stream, step, &format!("{driver}: {host}, opened under {step}"));
            }
        }
        standing.push((*step, pair.open_all()));
    }
    for proxy in [&pair.up, &pair.down] {
        assert_eq!(
            metric(proxy, &["dromon_tls_handshakes_failed_total{"]),
            0.0,
            "{driver}: nobody was refused"
        );
    }
    // Thirteen times both were opened, and each has a connection of its own.
    let shaken = metric(&pair.down, &["dromon_downstream_tls_handshakes_total"]);
    assert_eq!(shaken, 2.0 * 13.0, "{driver}: none was made anew");
}
