use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dromon_auth::authority::{Authority, KeyKind, Wanted};
use dromon_auth::failure::{Failure, Reason};
use dromon_auth::options::Options;
use dromon_auth::tls::client::mesh_client;
use dromon_auth::tls::server::mesh_server;
use dromon_auth::verify::{Allowed, Vouched};
use dromon_auth::{Identity, Sessions, SpiffeId, Trust, TrustDomain, alpn};
use dromon_core::client_hello;
use monoio::net::{TcpListener, TcpStream};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, ServerConfig};

use super::session::{End, Session};
use super::sink::Sink;
use super::{Opening, Scratch, TlsStream, accept, connect};
use crate::io::{Alarm, Stream, within, write_all};
use crate::sys::buffer::Buffer;
use crate::sys::clock;
use crate::sys::runtime::ShardRuntime;
use crate::sys::socket::{Peek, Socket};
use dromon_core::settings::Driver;

fn domain() -> TrustDomain {
    TrustDomain::new("mesh.test").unwrap()
}

fn id(account: &str) -> SpiffeId {
    SpiffeId::new(&domain(), "shop", account).unwrap()
}

fn identity(authority: &Authority, account: &str) -> Identity {
    let wanted = Wanted { id: id(account), key: KeyKind::EcdsaP256, life: Duration::from_secs(3600) };
    let issued = authority.issue(&wanted, UnixTime::now()).unwrap();
    Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), authority.root_pem().as_bytes())
        .unwrap()
}

fn root() -> Authority {
    Authority::new_root(&domain(), UnixTime::now()).unwrap()
}

/// Configurations of a client that expects `expected` and of a server that is `backend`.
fn pair(ca: &Authority, of_client: &Authority, expected: &str) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let trust = Trust::new(domain(), Vec::new());
    let sessions = Sessions::new();
    let offers = Options::mesh(alpn::MESH_HTTP1_CLIENT);
    let allowed = Allowed::of([id(expected)]);
    // The client shows a certificate of its own CA and believes the server's.
    let shown = identity(of_client, "frontend");
    let client = match of_client.root_pem() == ca.root_pem() {
        true => shown,
        false => {
            let wanted =
                Wanted { id: id("frontend"), key: KeyKind::EcdsaP256, life: Duration::from_secs(3600) };
            let issued = of_client.issue(&wanted, UnixTime::now()).unwrap();
            Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), ca.root_pem().as_bytes())
                .unwrap()
        }
    };
    let client = mesh_client(&client, &trust, &allowed, &offers, &sessions).unwrap();
    let server = identity(ca, "backend");
    let server = mesh_server(&server, &trust, &Options::mesh(alpn::MESH_SERVER), &sessions).unwrap();
    (client, server)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("backend.shop").unwrap()
}

/// Two sessions and what they have sent each other.
struct Sessioned {
    client: Session,
    server: Session,
}

impl Sessioned {
    fn new(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Sessioned {
        Sessioned {
            client: Session::client(client, name()).unwrap(),
            server: Session::server(server).unwrap(),
        }
    }

    /// Exchanges flights, cut into pieces, until both are silent.
    fn shake_hands(&mut self, piece: usize) {
        let mut up = Sink::default();
        self.client.open(&mut [], None, &mut up);
        loop {
            let mut down = Sink::default();
            deliver(&mut self.server, up.filled(), piece, &mut down, None);
            up = Sink::default();
            deliver(&mut self.client, down.filled(), piece, &mut up, None);
            if up.filled().is_empty() {
                return;
            }
        }
    }
}

fn deliver(to: &mut Session, bytes: &[u8], piece: usize, answers: &mut Sink, mut into: Option<&mut Buffer>) {
    for piece in bytes.chunks(piece) {
        let mut input = [to.partial(), piece].concat();
        to.open(&mut input, into.as_deref_mut(), answers);
    }
}

#[test]
fn handshake_in_pieces_of_any_size() {
    let ca = root();
    for piece in [1, 100, 1_000_000] {
        let (client, server) = pair(&ca, &ca, "backend");
        let mut both = Sessioned::new(client, server);
        both.shake_hands(piece);
        assert!(both.client.is_established() && both.server.is_established(), "{piece}");
        assert_eq!(both.server.alpn(), Some(alpn::MESH_HTTP11));
        assert_eq!(both.client.peer_certificates().len(), 1);
        assert!(both.client.partial().is_empty() && both.server.partial().is_empty());
    }
}

#[test]
fn bulk_arrives_whole_and_the_end_is_told() {
    let ca = root();
    let (client, server) = pair(&ca, &ca, "backend");
    let mut both = Sessioned::new(client, server);
    both.shake_hands(4096);
    let sent: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    let (mut wire, mut at) = (Sink::default(), 0);
    while at < sent.len() {
        at += both.client.seal(&sent[at..], &mut wire).unwrap();
    }
    both.client.close(&mut wire);
    let mut room = Buffer::with_capacity(1000);
    let mut answers = Sink::default();
    deliver(&mut both.server, wire.filled(), 50_000, &mut answers, Some(&mut room));
    assert_eq!(room.len(), 1000);
    let mut got = room.filled().to_vec();
    while !both.server.waiting().is_empty() {
        let mut next = Buffer::with_capacity(64 * 1024);
        both.server.take(&mut next);
        got.extend_from_slice(next.filled());
    }
    assert!(got == sent);
    assert_eq!(*both.server.end(), End::Closed);
}

#[test]
fn strangers_are_refused_at_both_ends() {
    let (ca, other) = (root(), root());
    let (client, server) = pair(&ca, &other, "backend");
    let mut both = Sessioned::new(client, server);
    both.shake_hands(4096);
    let End::Failed(error) = both.server.end() else { panic!("{:?}", both.server.end()) };
    assert_eq!(Failure::of(error).reason, Reason::UnknownCa);
    let End::Failed(error) = both.client.end() else { panic!("{:?}", both.client.end()) };
    assert_eq!(Failure::of(error).reason, Reason::RefusedByPeer);
    let (client, server) = pair(&ca, &ca, "somebody-else");
    let mut both = Sessioned::new(client, server);
    both.shake_hands(4096);
    let End::Failed(error) = both.client.end() else { panic!("{:?}", both.client.end()) };
    let failure = Failure::of(error);
    assert_eq!(failure.reason, Reason::WrongIdentity);
    assert!(failure.detail.contains("sa/backend") && failure.detail.contains("sa/somebody-else"));
    assert!(matches!(both.server.end(), End::Failed(_)));
}

/// Runs a client and a server of one connection on either driver.
fn over_sockets<C, S>(client: impl Fn(TlsStream) -> C, server: impl Fn(TlsStream) -> S)
where
    C: Future<Output = ()>,
    S: Future<Output = ()>,
{
    for driver in [Driver::Epoll, Driver::Auto] {
        let (mut runtime, _) = ShardRuntime::build(driver).expect("a runtime");
        runtime.block_on(async {
            let ca = root();
            let (for_client, for_server) = pair(&ca, &ca, "backend");
            let scratch = Rc::new(Scratch::default());
            let acceptor = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = acceptor.local_addr().expect("bound");
            let up = async {
                let socket = Socket::new(TcpStream::connect_addr(address).await.expect("connected"));
                client(connect(socket, name(), for_client, Vouched::ByMesh, &scratch).await.expect("let in"))
                    .await;
            };
            let down = async {
                let (stream, _) = acceptor.accept().await.expect("accepted");
                let opening = Opening::default();
                server(
                    accept(Socket::new(stream), opening, for_server, Vouched::ByMesh, &scratch)
                        .await
                        .expect("let in"),
                )
                .await;
            };
            monoio::join!(up, down);
        });
    }
}

async fn read_to_end(stream: &TlsStream) -> (Vec<u8>, io::Result<usize>) {
    let mut got = Vec::new();
    loop {
        match stream.read(Buffer::with_capacity(30_000)).await {
            (Ok(1..), buffer) => got.extend_from_slice(buffer.filled()),
            (end, _) => return (got, end),
        }
    }
}

#[test]
fn much_to_a_slow_reader_and_a_clean_end() {
    const BYTES: usize = 8 * 1024 * 1024;
    over_sockets(
        |stream| async move {
            assert_eq!(stream.peer().and_then(|peer| peer.id.as_ref()), Some(&id("backend")));
            let stream = Stream::from(stream);
            let mut body = Buffer::with_capacity(BYTES);
            body.extend(&vec![7; BYTES]);
            let (written, left) = write_all(&Alarm::default(), &stream, body).await;
            assert!(written.is_ok() && left.is_empty());
            assert!(stream.finish_write().await.is_ok());
            let (_, buffer) = stream.read(Buffer::with_capacity(100)).await;
            assert_eq!(buffer.filled(), b"thanks");
        },
        |stream| async move {
            monoio::time::sleep(Duration::from_millis(50)).await;
            let (got, end) = read_to_end(&stream).await;
            assert!(got.len() == BYTES && got.iter().all(|byte| *byte == 7));
            assert_eq!(end.ok(), Some(0));
            assert_eq!(stream.try_write(b"thanks").ok(), Some(6));
            stream.shutdown_write();
        },
    );
}

#[test]
fn an_end_that_finds_no_room_leaves_once_there_is_some() {
    const BYTES: usize = 24 * 1024 * 1024;
    let sent = Rc::new(Cell::new(0));
    over_sockets(
        |stream| {
            let sent = sent.clone();
            async move {
                let mut body = Buffer::with_capacity(BYTES);
                body.extend(&vec![7; BYTES]);
                while let Ok(count) = stream.try_write(body.filled()) {
                    body.consume(count);
                }
                assert!(!body.is_empty(), "the kernel takes less than this");
                sent.set(BYTES - body.len());
                let by = clock::now().plus_millis(60_000);
                assert!(matches!(within(by, stream.finish_write()).await, Ok(Ok(()))));
            }
        },
        |stream| {
            let sent = sent.clone();
            async move {
                while sent.get() == 0 {
                    monoio::time::sleep(Duration::from_millis(1)).await;
                }
                let (got, end) = read_to_end(&stream).await;
                assert_eq!(end.ok(), Some(0), "an end, not a cut");
                // What was sealed and not told of yet is part of it.
                assert!(got.len() > sent.take() && got.iter().all(|byte| *byte == 7));
            }
        },
    );
}

#[test]
fn all_that_a_client_says_may_come_with_its_last_flight() {
    over_sockets(
        |stream| async move {
            // Nothing has left yet: Finished, these bytes and the end go in one.
            assert_eq!(stream.try_write(b"all of it").ok(), Some(9));
            assert!(stream.finish_write().await.is_ok());
            let (got, end) = read_to_end(&stream).await;
            assert_eq!((got.as_slice(), end.ok()), (&b"heard"[..], Some(0)));
        },
        |stream| async move {
            let (got, end) = read_to_end(&stream).await;
            assert_eq!((got.as_slice(), end.ok()), (&b"all of it"[..], Some(0)));
            assert_eq!(stream.try_write(b"heard").ok(), Some(5));
            assert!(stream.finish_write().await.is_ok());
        },
    );
}

#[test]
fn a_cut_is_no_end() {
    over_sockets(
        |stream| async move {
            assert_eq!(stream.try_write(b"half of it").ok(), Some(10));
            stream.socket().shutdown_write();
            let _ = read_to_end(&stream).await;
        },
        |stream| async move {
            let (got, end) = read_to_end(&stream).await;
            assert_eq!(got, b"half of it");
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(stream.peek(), Peek::Closed);
        },
    );
}

#[test]
fn looking_takes_nothing_and_tickets_are_no_data() {
    over_sockets(
        |stream| async move {
            // Tickets have come by now or come first; neither is for the reader.
            monoio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(stream.peek(), Peek::Quiet);
            assert_eq!(stream.try_write(b"question").ok(), Some(8));
            stream.readable().await.expect("an answer");
            let mut first = [0; 3];
            assert_eq!(stream.peek_bytes(&mut first), 3);
            assert_eq!((&first, stream.peek()), (b"ans", Peek::Data));
            let (_, buffer) = stream.read(Buffer::with_capacity(100)).await;
            assert_eq!(buffer.filled(), b"answer");
            assert!(!stream.is_dead());
            stream.shutdown_write();
        },
        |stream| async move {
            let (_, buffer) = stream.read(Buffer::with_capacity(3)).await;
            assert_eq!(buffer.filled(), b"que");
            stream.readable().await.expect("the rest waits");
            let (_, buffer) = stream.read(Buffer::with_capacity(100)).await;
            assert_eq!(buffer.filled(), b"stion");
            assert_eq!(stream.try_write(b"answer").ok(), Some(6));
            let (rest, end) = read_to_end(&stream).await;
            assert_eq!((rest.len(), end.ok()), (0, Some(0)));
        },
    );
}

#[test]
fn a_hello_of_rustls_is_read() {
    let ca = root();
    let (client, _) = pair(&ca, &ca, "backend");
    let mut session = Session::client(client, name()).unwrap();
    let mut hello = Sink::default();
    session.open(&mut [], None, &mut hello);
    let read = client_hello::parse(hello.filled()).unwrap().unwrap();
    assert_eq!(read.server_name.as_deref(), Some("backend.shop"));
    assert!(read.offers(alpn::MESH_HTTP11) && read.offers(alpn::HTTP11));
}
