//! Clients that must not get in, in every protocol and in both modes of mutual TLS: the application behind hears nothing of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use dromon_core::config::model::{MtlsMode, Protocol};
use dromon_tests::frames::{END_HEADERS, END_STREAM, PREFACE, frame, get, kind};
use dromon_tests::proxy::Proxy;
use dromon_tests::{DEADLINE, eventually};

use super::{alert, counted, failed, inbound_sidecar};
use crate::forge::{Forge, Papers};
use crate::openssl::{self, REQUEST};

const PROTOCOLS: [Protocol; 4] = [Protocol::Http, Protocol::Http2, Protocol::Grpc, Protocol::Tcp];

/// An application that keeps what it hears, and answers a request of HTTP/1.1 as TCP carries it.
struct Application {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Application {
    fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let application = Application { address, heard: Arc::default() };
        let heard = application.heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = heard.clone();
                std::thread::spawn(move || listen(stream, &heard));
            }
        });
        application
    }

    /// How many bytes have come, and whether these are among them.
    fn has_heard(&self, bytes: &[u8]) -> (usize, bool) {
        let heard = self.heard.lock().expect("no panic");
        (heard.len(), heard.windows(bytes.len()).any(|it| it == bytes))
    }
}

fn listen(mut stream: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut all = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        all.extend(&bytes[..count]);
        heard.lock().expect("no panic").extend(&bytes[..count]);
        if all.starts_with(b"GET ") && all.ends_with(b"\r\n\r\n") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// A sidecar that takes a protocol in a mode, and who may call it.
struct Guarded {
    what: String,
    protocol: Protocol,
    forge: Forge,
    friend: Papers,
    inbound: SocketAddr,
    proxy: Proxy,
    application: Application,
}

impl Guarded {
    fn start(driver: &str, protocol: Protocol, mode: MtlsMode) -> Guarded {
        let (forge, application) = (Forge::new(), Application::start());
        let friend = forge.papers("friend", |_| {});
        let (inbound, proxy) = inbound_sidecar(driver, &forge, application.address, protocol, mode);
        let what = format!("{driver}, {protocol:?}, {mode:?}");
        Guarded { what, protocol, forge, friend, inbound, proxy, application }
    }

    fn alpn(&self) -> &'static str {
        match self.protocol {
            Protocol::Http2 | Protocol::Grpc => "istio-h2",
            Protocol::Tcp => "istio",
            _ => "istio-http/1.1",
        }
    }

    /// A request as this protocol has it.
    fn request(&self) -> Vec<u8> {
        match self.alpn() {
            "istio-h2" => [
                PREFACE.to_vec(),
                frame(kind::SETTINGS, 0, 0, &[]),
                frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &get("/")),
            ]
            .concat(),
            _ => REQUEST.to_vec(),
        }
    }

    /// Who shows these papers is refused for this, in metric and log, is told so, and the application hears nothing.
    fn refuses(&self, who: &str, papers: Option<&Papers>, reason: &str, told: &str) {
        let what = format!("{}: {who}", self.what);
        let before = failed(&self.proxy, "downstream", reason);
        let lines = self.proxy.process.stderr().len();
        let (heard, _) = self.application.has_heard(b"GET");
        let alpn = ["-alpn", self.alpn()];
        let seen = openssl::told(self.inbound, papers, &alpn, &self.request(), told);
        assert!(seen.contains(told), "{what} is told {told:?}: {seen}");
        counted(&self.proxy, "downstream", reason, before, &what);
        let line = format!("(inbound/80): {reason}: ");
        self.proxy.process.expect_stderr_after(lines, &["TLS from 127.0.0.1", &line]);
        assert_eq!(self.application.has_heard(b"GET").0, heard, "{what}: the application heard of it");
    }

    fn refuses_strangers(&self) {
        let other_ca = Forge::new().papers("friend", |_| {});
        self.refuses("of another CA", Some(&other_ca), "unknown_ca", alert("unknown_ca"));
        let elsewhere = self.forge.papers("friend", |it| {
            it.subject_alt_names = vec![crate::forge::uri("spiffe://evil.example/ns/default/sa/friend")];
        });
        self.refuses("of another trust domain", Some(&elsewhere), "wrong_identity", alert("wrong_identity"));
        self.refuses("without a certificate", None, "no_certificate", "alert certificate required");
    }

    /// A workload of the mesh reaches the application, in its own protocol.
    fn serves_a_friend(&self) {
        let first: &[u8] = if self.alpn() == "istio-h2" { b"PRI * HTTP/2.0" } else { b"GET / HTTP/1.1" };
        let (before, _) = self.application.has_heard(first);
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-alpn", self.alpn(), "-connect", &self.inbound.to_string()]);
        for (flag, file) in [("-cert", "cert-chain.pem"), ("-key", "key.pem")] {
            command.args([flag, &self.friend.file(file)]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = command.spawn().expect("openssl is installed");
        // It stays open until the application has heard of it.
        let mut input = client.stdin.take().expect("piped");
        input.write_all(&self.request()).expect("openssl reads");
        eventually(&format!("{}: the application to hear of a friend", self.what), || {
            let (now, begun) = self.application.has_heard(first);
            (now > before && begun).then_some(())
        });
        let _ = client.kill();
        let _ = client.wait();
    }

    /// Who speaks no TLS is answered.
    fn answers_plaintext(&self) {
        let mut plain = TcpStream::connect(self.inbound).expect("the sidecar listens");
        plain.set_read_timeout(Some(DEADLINE)).expect("a time limit");
        plain.write_all(&self.request()).expect("open");
        let mut answer = [0; 12];
        plain.read_exact(&mut answer).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        match self.alpn() {
            "istio-h2" => assert_eq!(answer[3], kind::SETTINGS, "{}", self.what),
            _ => assert_eq!(&answer, b"HTTP/1.1 200", "{}", self.what),
        }
    }
}

/// STRICT.
pub fn strict(driver: &str) {
    for protocol in PROTOCOLS {
        let guarded = Guarded::start(driver, protocol, MtlsMode::Strict);
        guarded.refuses_strangers();
        assert_eq!(guarded.application.has_heard(b"GET").0, 0, "{}", guarded.what);
        guarded.serves_a_friend();
    }
}

/// PERMISSIVE takes plaintext, but nobody who says by ALPN that mutual TLS is meant and does not prove to be of the mesh.
pub fn permissive(driver: &str) {
    for protocol in PROTOCOLS {
        let guarded = Guarded::start(driver, protocol, MtlsMode::Permissive);
        guarded.refuses_strangers();
        assert_eq!(guarded.application.has_heard(b"GET").0, 0, "{}", guarded.what);
        guarded.serves_a_friend();
        guarded.answers_plaintext();
    }
}
