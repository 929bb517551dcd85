//! Protocols that nobody declares, and who a client is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dromon_core::config::model::{MtlsMode, Protocol, Resource};
use dromon_tests::certs::{MeshCa, WebCa, run};
use dromon_tests::origin::Origin;
use dromon_tests::pair::{HOST, client, free_address, metric, server, sidecar};
use dromon_tests::process::Process;
use dromon_tests::{eventually, http};

/// A mail server as far as its greeting and farewell go: it speaks first.
fn mail_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
                let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
                while let Some(Ok(line)) = lines.next() {
                    let answer: &[u8] = match line.as_str() {
                        "QUIT" => b"221 Bye\r\n",
                        _ => b"250 OK\r\n",
                    };
                    let _ = stream.write_all(answer);
                    if line == "QUIT" {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn send_mail(to: SocketAddr) {
    let mut stream = TcpStream::connect(to).expect("the sidecar listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
    let mut next = || lines.next().expect("a line").expect("a line");
    assert!(next().starts_with("220 "), "the server speaks first");
    stream.write_all(b"HELO me\r\n").expect("open");
    assert!(next().starts_with("250 "));
    stream.write_all(b"QUIT\r\n").expect("open");
    assert!(next().starts_with("221 "));
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).expect("a clean end"), 0);
}

/// Less than any wait for a client's first bytes would add, and more than a connection takes where nothing adds to it.
const AT_ONCE: Duration = Duration::from_millis(80);

/// The greeting comes to a client that says nothing, and as soon as its connection is made: a machine that has other things to
/// do may be slow once, and only a wait is slow every time.
fn is_greeted_at_once(front: SocketAddr, what: &str) {
    eventually(&format!("{what}: a greeting within {AT_ONCE:?}"), || {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(front).expect("the sidecar listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(&greeting, b"220 ", "{what}");
        (begun.elapsed() < AT_ONCE).then_some(())
    });
}

/// A server that speaks first works unnamed in every mode, and HTTP on the same kind of port is HTTP.
pub fn server_first(driver: &str) {
    let ca = MeshCa::new();
    let (mail, web) = (mail_server(), Origin::start("application"));
    for mode in [MtlsMode::Permissive, MtlsMode::Strict, MtlsMode::Disable] {
        let mutual = mode != MtlsMode::Disable;
        for (target, is_mail) in [(mail, true), (web.address, false)] {
            let [front, inbound] = [(); 2].map(|()| free_address());
            let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
            let down = server(inbound, target, Protocol::Auto, mode);
            let down = sidecar(driver, &down, of_server.path());
            let mut up = client(front, inbound, Protocol::Auto, &ca.id("server"));
            for resource in &mut up {
                if let Resource::Endpoints(it) = resource {
                    it.endpoints.iter_mut().for_each(|it| it.mtls = mutual);
                }
            }
            let _up = sidecar(driver, &up, of_client.path());
            if is_mail {
                send_mail(front);
                is_greeted_at_once(front, &format!("{driver}, {mode:?}"));
                if mode == MtlsMode::Permissive {
                    send_mail(inbound);
                    is_greeted_at_once(inbound, &format!("{driver}, {mode:?}, in plaintext"));
                }
            } else {
                let answer = http::get(front, "/", &[("Host", HOST)]).expect("an answer");
                assert_eq!((answer.status, answer.text().as_str()), (200, "application"), "{mode:?}");
            }
            let handshakes = metric(&down, &["dromon_downstream_tls_handshakes_total"]);
            assert_eq!(handshakes >= 1.0, mutual, "{mode:?}");
        }
    }
}

/// An application that speaks TLS itself, through ports declared as TLS and as nothing.
pub fn application_tls(driver: &str) {
    let (ca, web) = (MeshCa::new(), WebCa::new());
    web.issue("shop", "DNS:shop.example");
    let target = free_address();
    let (certificate, key) = (web.path("shop.crt"), web.path("shop.key"));
    let _application = tls_server(target, &certificate, &key, &[]);
    for protocol in [Protocol::Tls, Protocol::Auto] {
        for mode in [MtlsMode::Permissive, MtlsMode::Strict] {
            let [front, inbound] = [(); 2].map(|()| free_address());
            let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
            let down = server(inbound, target, protocol, mode);
            let _down = sidecar(driver, &down, of_server.path());
            let up = client(front, inbound, protocol, &ca.id("server"));
            let _up = sidecar(driver, &up, of_client.path());
            assert_shop(front, &web);
            if mode == MtlsMode::Permissive {
                assert_shop(inbound, &web);
            }
        }
    }
}

fn assert_shop(front: SocketAddr, web: &WebCa) {
    let ca = web.path("ca.crt").display().to_string();
    let resolve = format!("shop.example:{}:127.0.0.1", front.port());
    let url = format!("https://shop.example:{}/", front.port());
    let output = run("curl", &["-sS", "-m", "20", "--cacert", &ca, "--resolve", &resolve, &url]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("s_server"), "{text} {error}");
}

/// `openssl s_server` answering HTTP with its own status page.
pub fn tls_server(
    address: SocketAddr,
    certificate: &std::path::Path,
    key: &std::path::Path,
    arguments: &[&str],
) -> Process {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-accept", &address.to_string()]);
    command.arg("-cert").arg(certificate).arg("-key").arg(key).args(arguments);
    let process = Process::start(&mut command);
    eventually("openssl to listen", || TcpStream::connect(address).ok().map(drop));
    process
}

/// A peer that knows nothing but Istio's exchange of metadata gets this end's, and its own never reaches the application; who
/// promises it and sends something else is turned away.
pub fn peer_exchange(driver: &str) {
    const MAGIC: &[u8] = &[0x3D, 0x23, 0x04, 0x67];
    let ca = MeshCa::new();
    let (mail, inbound) = (mail_server(), free_address());
    let (of_client, of_server) = (ca.folder("client"), ca.folder("server"));
    let down = server(inbound, mail, Protocol::Auto, MtlsMode::Strict);
    let down = sidecar(driver, &down, of_server.path());
    let talk = |offered: &str, said: &[u8]| {
        let mut command = Command::new("timeout");
        command.args(["30", "openssl", "s_client", "-quiet", "-connect", &inbound.to_string()]);
        command.args(["-alpn", offered]);
        for (flag, file) in [("-cert", "cert-chain.pem"), ("-key", "key.pem")] {
            command.arg(flag).arg(of_client.path().join(file));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl is installed");
        let mut input = child.stdin.take().expect("piped");
        // One that was refused may be gone already.
        let _ = input.write_all(said);
        let output = child.wait_with_output().expect("openssl ends").stdout;
        drop(input);
        output
    };
    let contains = |all: &[u8], part: &[u8]| all.windows(part.len()).any(|it| it == part);
    let metadata = vec![b'm'; 20_000];
    let length = (metadata.len() as u32).to_be_bytes();
    let quit = b"HELO me\r\nQUIT\r\n";
    let came = talk("istio-peer-exchange", &[MAGIC, &length, &metadata, quit].concat());
    assert!(came.starts_with(MAGIC), "{driver}: {:?}", String::from_utf8_lossy(&came));
    let length = u32::from_be_bytes([came[4], came[5], came[6], came[7]]) as usize;
    assert!(contains(&came[8..8 + length], b"google.protobuf.Struct"), "{driver}");
    let rest = String::from_utf8_lossy(&came[8 + length..]).into_owned();
    assert_eq!(rest, "220 mail.example ESMTP\r\n250 OK\r\n221 Bye\r\n", "{driver}");
    // Where there is a choice nothing is exchanged.
    let came = talk("istio-peer-exchange,istio", quit);
    assert!(came.starts_with(b"220 mail"), "{driver}: {:?}", String::from_utf8_lossy(&came));
    let came = talk("istio-peer-exchange", &[&b"HELO you\r\n"[..], quit].concat());
    assert!(!contains(&came, b"220"), "{driver}: {:?}", String::from_utf8_lossy(&came));
    eventually("the refusal to be counted", || {
        let failed = ["dromon_tls_handshakes_failed_total", "reason=\"protocol\""];
        (metric(&down, &failed) == 1.0).then_some(())
    });
}
