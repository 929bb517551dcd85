//! The feed over TCP with mutual TLS: who gets which view, and who gets nothing, with the reason in the log.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dromon_auth::authority::{Authority, KeyKind, Wanted};
use dromon_auth::options::Options;
use dromon_auth::tls::client::{mesh_client, origination};
use dromon_auth::verify::Allowed;
use dromon_auth::verify::named_servers::Servers;
use dromon_auth::{Identity, Sessions, SpiffeId, Trust, TrustDomain, alpn};
use dromon_core::config::model::{Host, Kind, Resource};
use dromon_core::config::wire::{DeltaRequest, DeltaResponse, Node, STREAM_PATH};
use dromon_ctrl::ca::members::{Member, Members};
use dromon_ctrl::feed::hub::Hub;
use dromon_ctrl::feed::view::{Pool, View};
use dromon_ctrl::feed::{server, tcp};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};

const WAIT: Duration = Duration::from_secs(10);

fn domain() -> TrustDomain {
    TrustDomain::new("cluster.local").expect("a domain")
}

fn id(namespace: &str, account: &str) -> SpiffeId {
    SpiffeId::new(&domain(), namespace, account).expect("an id")
}

fn issue(authority: &Authority, id: SpiffeId) -> Identity {
    let wanted = Wanted { id, key: KeyKind::EcdsaP256, life: Duration::from_secs(600) };
    let leaf = authority.issue(&wanted, UnixTime::now()).expect("a leaf");
    let root = authority.root_pem();
    Identity::from_pem(leaf.chain.as_bytes(), leaf.key.as_bytes(), root.as_bytes()).expect("an identity")
}

fn config(own: &Identity) -> Arc<ClientConfig> {
    let trust = Trust::new(domain(), Vec::new());
    let controller = Allowed::of([id("dromon-system", "dromon-controller")]);
    let options = Options::mesh(&[alpn::H2]);
    mesh_client(own, &trust, &controller, &options, &Sessions::new()).expect("a configuration")
}

type Opened = (Streaming<DeltaResponse>, mpsc::Sender<DeltaRequest>);

struct Server {
    authority: Authority,
    address: SocketAddr,
    own: watch::Sender<Option<Identity>>,
    members: watch::Sender<Members>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Server {
        let authority = Authority::new_root(&domain(), UnixTime::now()).expect("a root");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let member =
            |account: &str| Member { namespace: "default".into(), account: account.into(), admin: None };
        let proxies =
            [("sidecar~a.default".to_owned(), member("a")), ("sidecar~b.default".to_owned(), member("b"))];
        let members = Members { proxies: proxies.into(), ..Members::default() };
        let (own, seen) = watch::channel(Some(issue(&authority, id("dromon-system", "dromon-controller"))));
        let (members, known) = watch::channel(members);
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = log.clone();
        let to_log: server::Log = Arc::new(move |_, line| lines.lock().expect("no panic").push(line));
        let (connections, accepted) = mpsc::channel(1);
        tokio::spawn(tcp::accept(listener, seen, known.clone(), to_log.clone(), connections));
        let admit: server::Admit = Arc::new(move |proxy, caller| match caller {
            Some(caller) => known.borrow().admit(proxy, &caller.0),
            None => Err("nobody".into()),
        });
        let hub = Hub::new(Box::new(|_| {}));
        let publishing = hub.clone();
        tokio::spawn(async move {
            for version in 1.. {
                for proxy in publishing.proxies().iter() {
                    let domains = vec![format!("version-{version}")];
                    let host = Host { name: format!("seen-by-{proxy}"), domains, ..Host::default() };
                    let host = [Resource::Host(host)];
                    let view = View::build(version, &host, None, &mut Pool::default()).expect("a view");
                    publishing.publish(proxy, Some(Arc::new(view)), None);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        tokio::spawn(server::serve_tls(accepted, hub, to_log, admit, std::future::pending()));
        Server { authority, address, own, members, log }
    }

    fn proxy(&self, account: &str) -> Arc<ClientConfig> {
        config(&issue(&self.authority, id("default", account)))
    }

    async fn ask(&self, as_whom: &str, config: Arc<ClientConfig>) -> Result<Client, String> {
        let first = DeltaRequest {
            node: Some(Node { id: as_whom.into(), cluster: String::new() }),
            type_url: Kind::Host.type_url().into(),
            resource_names_subscribe: vec!["*".into()],
            ..DeltaRequest::default()
        };
        let (responses, requests) = self.open_with(config, Some(first)).await?;
        Ok(Client { responses, _requests: requests })
    }

    /// A stream on which nothing has been asked.
    async fn open(&self, config: Arc<ClientConfig>) -> Result<Opened, String> {
        self.open_with(config, None).await
    }

    async fn open_with(
        &self,
        config: Arc<ClientConfig>,
        first: Option<DeltaRequest>,
    ) -> Result<Opened, String> {
        let address = self.address;
        let connector = tower::service_fn(move |_| {
            let config = config.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::try_from("controller").map_err(std::io::Error::other)?;
                TlsConnector::from(config).connect(name, stream).await.map(TokioIo::new)
            }
        });
        let channel = Endpoint::from_static("http://feed").connect_with_connector(connector).await;
        let mut grpc = Grpc::new(channel.map_err(|error| format!("{error:?}"))?);
        grpc.ready().await.map_err(|error| format!("{error:?}"))?;
        let (requests, outgoing) = mpsc::channel(4);
        if let Some(first) = first {
            requests.send(first).await.expect("room");
        }
        let codec = tonic_prost::ProstCodec::<DeltaRequest, DeltaResponse>::default();
        let path = http::uri::PathAndQuery::from_static(STREAM_PATH);
        let request = tonic::Request::new(ReceiverStream::new(outgoing));
        let streaming = timeout(WAIT, grpc.streaming(request, path, codec)).await.expect("in time");
        let responses = streaming.map_err(|status| format!("{status:?}"))?.into_inner();
        Ok((responses, requests))
    }

    async fn logged(&self, what: &str) -> String {
        let looking = async {
            loop {
                let found =
                    self.log.lock().expect("no panic").iter().find(|line| line.contains(what)).cloned();
                match found {
                    Some(line) => return line,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        timeout(WAIT, looking).await.unwrap_or_else(|_| panic!("{what} is not logged: {:?}", self.log))
    }
}

struct Client {
    responses: Streaming<DeltaResponse>,
    _requests: mpsc::Sender<DeltaRequest>,
}

impl Client {
    async fn next(&mut self) -> Result<DeltaResponse, tonic::Status> {
        timeout(WAIT, self.responses.message()).await.expect("in time").map(|it| it.expect("a response"))
    }
}

#[tokio::test]
async fn a_proxy_gets_its_own_view_and_no_others() {
    let server = Server::start().await;
    let mut own = server.ask("sidecar~a.default", server.proxy("a")).await.expect("a stream");
    let response = own.next().await.expect("its view");
    assert_eq!(response.resources[0].name, "seen-by-sidecar~a.default");

    let mut others = server.ask("sidecar~b.default", server.proxy("a")).await.expect("a stream");
    let refused = others.next().await.expect_err("somebody else's view");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        refused.message(),
        "spiffe://cluster.local/ns/default/sa/a asks as sidecar~b.default, which is \
         spiffe://cluster.local/ns/default/sa/b"
    );
    server.logged("feed refused: spiffe://cluster.local/ns/default/sa/a asks as sidecar~b.default").await;
}

#[tokio::test]
async fn a_proxy_whose_account_changes_gets_no_more() {
    let server = Server::start().await;
    let mut stream = server.ask("sidecar~a.default", server.proxy("a")).await.expect("a stream");
    stream.next().await.expect("its view");
    server.members.send_modify(|members| {
        members.proxies.get_mut("sidecar~a.default").expect("a member").account = "other".into();
    });
    let refused = loop {
        // What was on its way by then may still arrive.
        match stream.next().await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().ends_with("which is spiffe://cluster.local/ns/default/sa/other"),
        "{refused:?}"
    );
    let config = config(&issue(&server.authority, id("default", "other")));
    let mut again = server.ask("sidecar~a.default", config).await.expect("a stream");
    again.next().await.expect("its view");
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_ended() {
    let server = Server::start().await;
    let (mut silent, _requests) = server.open(server.proxy("a")).await.expect("a stream");
    let ended = timeout(3 * WAIT, silent.message()).await.expect("ended by the server");
    assert_eq!(ended.expect_err("no view").code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn who_proves_nothing_gets_nothing_and_harms_nobody() {
    let server = Server::start().await;
    // Silent in the middle of a handshake, all the while.
    let mut silent = TcpStream::connect(server.address).await.expect("connects");
    silent.write_all(&[22, 3, 1, 2, 0]).await.expect("written");

    let stranger = Authority::new_root(&domain(), UnixTime::now()).expect("a root");
    let forged = issue(&stranger, id("default", "a"));
    // Believes any server, so that it is the server that refuses.
    let shows =
        origination(&Servers::Any, Some(forged.credential()), &Options::mesh(&[alpn::H2]), &Sessions::new());
    assert!(refused(server.ask("sidecar~a.default", shows.expect("a configuration")).await).await);
    server.logged("refused: unknown_ca").await;
    let nothing = origination(&Servers::Any, None, &Options::mesh(&[alpn::H2]), &Sessions::new());
    assert!(refused(server.ask("sidecar~a.default", nothing.expect("a configuration")).await).await);
    server.logged("refused: no_certificate").await;

    let mut plain = TcpStream::connect(server.address).await.expect("connects");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _ = timeout(WAIT, plain.read_to_end(&mut answer)).await.expect("closed");
    server.logged("refused: protocol").await;

    let mut own = server.ask("sidecar~a.default", server.proxy("a")).await.expect("a stream");
    assert!(own.next().await.is_ok());
}

/// In TLS 1.3 a client learns that its certificate is refused with the first bytes after its handshake.
async fn refused(asked: Result<Client, String>) -> bool {
    match asked {
        Err(_) => true,
        Ok(mut client) => client.next().await.is_err(),
    }
}

#[tokio::test]
async fn a_proxy_takes_the_controller_only_for_its_feed() {
    let server = Server::start().await;
    server.own.send_replace(Some(issue(&server.authority, id("default", "b"))));
    let error = server.ask("sidecar~a.default", server.proxy("a")).await.err().expect("an impostor");
    assert!(error.contains("NotExpected { presented: \"spiffe://cluster.local/ns/default/sa/b\""), "{error}");
    // A renewed certificate is in force for the next connection.
    server.own.send_replace(Some(issue(&server.authority, id("dromon-system", "dromon-controller"))));
    let mut own = server.ask("sidecar~a.default", server.proxy("a")).await.expect("a stream");
    assert!(own.next().await.is_ok());
}
