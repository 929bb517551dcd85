//! What happens to a connection before it is served: who it says it comes from, whether it must speak TLS, whose TLS it is,
//! and what is spoken inside.
//!
//! A port's declared protocol decides first. Where TLS ends here its ALPN decides next, and where neither tells, whichever
//! side speaks first ([`inspect`]).

use std::net::SocketAddr;
use std::rc::Rc;

use dromon_auth::alpn;
use dromon_auth::failure::{Failure, Reason};
use dromon_auth::verify::Vouched;
use dromon_core::client_hello::{self, HelloError};
use dromon_core::config::model::{ListenerKind, MtlsMode, Protocol, TlsMode};
use dromon_core::limits::{
    CLIENT_HELLO_BYTES_MAX, DETECT_LOOK_MS, PREFACE_MS_MAX, PROXY_HEADER_BYTES_MAX, TLS_HANDSHAKE_MS,
};
use dromon_core::proxy_protocol::{self, Addresses};
use rustls::ServerConfig;

use super::client::{Client, Port};
use super::exchange;
use super::inspect::{self, Sorted};
use crate::io::tls::{self, Opening, TlsStream};
use crate::io::{Stream, within};
use crate::refusal::{Ground, Offence, Refusal, Side};
use crate::shard::{ListenerHandle, Shard};
use crate::sys::buffer::Buffer;
use crate::sys::socket::Socket;

/// What a listener asks of connections before they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// A PROXY protocol header.
    pub(super) proxy_protocol: bool,
    /// Mutual TLS of the mesh; none where the port is no inbound one.
    pub(super) mtls: Option<MtlsMode>,
    /// TLS by the listener's own settings.
    pub(super) server_tls: bool,
    /// A ClientHello that says where to.
    pub(super) server_name: bool,
}

impl Asked {
    /// What this listener asks.
    pub(super) fn by(listener: &dromon_core::config::table::ListenerTable, declared: Protocol) -> Asked {
        let model = &listener.model;
        Asked {
            proxy_protocol: model.proxy_protocol,
            mtls: match model.kind {
                ListenerKind::Inbound { mtls, .. } | ListenerKind::InboundCapture { mtls } => Some(mtls),
                _ => None,
            },
            server_tls: !listener.tls.is_empty(),
            server_name: declared == Protocol::Tls && listener.inbound.is_none(),
        }
    }

    /// Nothing: the connection is served as it is.
    pub(super) fn nothing(self) -> bool {
        let plain = matches!(self.mtls, None | Some(MtlsMode::Disable));
        plain && !self.proxy_protocol && !self.server_tls && !self.server_name
    }
}

/// A connection that has come and is not served yet.
pub(super) struct Newcomer {
    pub(super) shard: Rc<Shard>,
    pub(super) listener: Rc<ListenerHandle>,
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    pub(super) port: Port,
    /// What is declared of the port.
    pub(super) declared: Protocol,
    /// Between whom the connection is, as whoever passes it on has said.
    pub(super) introduced: Option<Box<Addresses>>,
}

/// Takes a connection through what its listener asks, to what serves it; none if it was refused or is served already.
pub(super) async fn admit(mut newcomer: Newcomer, asked: Asked) -> Option<Sorted> {
    if asked.proxy_protocol && !introduced(&mut newcomer).await {
        return None;
    }
    if asked.server_tls {
        return gateway(newcomer).await;
    }
    let declared = newcomer.declared;
    match asked.mtls {
        Some(MtlsMode::Strict) => strict(newcomer).await,
        Some(MtlsMode::Permissive) => inspect::sort(newcomer.client(None), declared, true).await,
        _ if asked.server_name => {
            let opening = read_hello(&newcomer).await;
            match opening {
                Ok(opening) => Some(Sorted::Tcp(newcomer.client(Some(opening)), None)),
                Err(failure) => {
                    newcomer.refuse(&failure);
                    None
                }
            }
        }
        _ => inspect::sort(newcomer.client(None), declared, false).await,
    }
}

impl Newcomer {
    /// As it is served in plaintext; with a ClientHello that was read and is passed on.
    fn client(self, opening: Option<Opening>) -> Client {
        let client = Client::new(self.shard, self.listener, self.socket.into(), self.peer, self.port);
        let client = client.introduced(self.introduced);
        *client.opening.borrow_mut() = opening.map(Box::new);
        client
    }

    /// Turns the connection away, and tells why.
    fn refuse(self, failure: &Failure) {
        self.socket.reset_on_close();
        tell(&self.shard, &self.listener, self.peer, failure);
    }
}

/// Tells of a connection that was not let in.
fn tell(shard: &Shard, listener: &ListenerHandle, peer: SocketAddr, failure: &Failure) {
    tell_as(shard, listener, peer, failure.reason.name(), failure.detail.clone());
}

/// Tells of a session that ended because its client wanted another handshake.
pub(super) fn tell_of_end(client: &Client) {
    let failure = client.stream.tls().and_then(TlsStream::failure);
    if let Some(failure) = failure.filter(|it| it.reason == Reason::Renegotiation) {
        tell(&client.shard, &client.listener, client.peer, &failure);
    }
}

/// Tells of it by a reason of its own.
pub(super) fn tell_as(
    shard: &Shard,
    listener: &ListenerHandle,
    peer: SocketAddr,
    reason: &'static str,
    detail: String,
) {
    let at = (*listener.name).into();
    let ground = Ground { offence: Offence::Handshake, side: Side::Downstream, reason };
    shard.refused(Refusal { ground, peer, at, detail });
}

/// Takes the PROXY protocol header; false if there is none, which ends the connection.
async fn introduced(newcomer: &mut Newcomer) -> bool {
    let deadline = newcomer.shard.now().plus_millis(PREFACE_MS_MAX);
    let header = within(deadline, proxy_header(&newcomer.socket)).await;
    let failure = match header {
        Ok(Ok(addresses)) => {
            if let Some(addresses) = addresses {
                newcomer.peer = addresses.source;
                newcomer.introduced = Some(Box::new(addresses));
            }
            return true;
        }
        Ok(Err(failure)) => failure,
        Err(_) => "no PROXY protocol header arrived in time".to_owned(),
    };
    newcomer.socket.reset_on_close();
    tell_as(&newcomer.shard, &newcomer.listener, newcomer.peer, "proxy_protocol", failure);
    false
}

async fn proxy_header(socket: &Socket) -> Result<Option<Addresses>, String> {
    let mut seen = 0;
    loop {
        let mut bytes = [0; PROXY_HEADER_BYTES_MAX];
        let count = socket.peek_bytes(&mut bytes);
        match proxy_protocol::parse(bytes.get(..count).unwrap_or_default()) {
            Err(error) => return Err(error.to_string()),
            Ok(Some(header)) => {
                // What was looked at is there to be read.
                let mut taken = Buffer::with_capacity(header.bytes);
                return match socket.try_read(&mut taken) {
                    Ok(read) if read == header.bytes => Ok(header.addresses),
                    _ => Err("the connection broke".to_owned()),
                };
            }
            Ok(None) => {}
        }
        if count == seen && count > 0 {
            // The bytes stay where they are, so readiness says nothing about further ones.
            monoio::time::sleep(std::time::Duration::from_millis(DETECT_LOOK_MS)).await;
        } else {
            seen = count;
            if socket.readable().await.is_err() {
                return Err("the connection broke".to_owned());
            }
            if count == 0 && socket.peek() == crate::sys::socket::Peek::Closed {
                return Err("the client closed before it said who it is".to_owned());
            }
        }
    }
}

/// Reads a ClientHello.
async fn read_hello(newcomer: &Newcomer) -> Result<Opening, Failure> {
    let deadline = newcomer.shard.now().plus_millis(PREFACE_MS_MAX);
    within(deadline, hello(&newcomer.socket, Vec::new()))
        .await
        .unwrap_or_else(|_| Err(Failure::new(Reason::HandshakeTimeout, "no ClientHello arrived in time")))
}

/// Reads a ClientHello behind the bytes that have come.
async fn hello(socket: &Socket, mut bytes: Vec<u8>) -> Result<Opening, Failure> {
    let broken = || Failure::new(Reason::Truncated, "the client closed before its ClientHello was complete");
    loop {
        match client_hello::parse(&bytes) {
            Ok(Some(hello)) => return Ok(Opening { bytes, hello }),
            Ok(None) if bytes.len() < CLIENT_HELLO_BYTES_MAX => {}
            Ok(None) => return Err(Failure::new(Reason::Protocol, HelloError::TooLong.to_string())),
            Err(error) => return Err(Failure::new(Reason::Protocol, error.to_string())),
        }
        socket.readable().await.map_err(|_| broken())?;
        let mut buffer = Buffer::with_capacity(4 * 1024);
        match socket.try_read(&mut buffer) {
            Ok(0) => return Err(broken()),
            Ok(_) => bytes.extend_from_slice(buffer.filled()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(broken()),
        }
    }
}

/// A port that takes mutual TLS only.
async fn strict(newcomer: Newcomer) -> Option<Sorted> {
    let opening = match read_first_hello(&newcomer).await {
        Ok(opening) => opening,
        Err((reason, detail)) => {
            newcomer.socket.reset_on_close();
            tell_as(&newcomer.shard, &newcomer.listener, newcomer.peer, reason, detail);
            return None;
        }
    };
    mutual(newcomer, opening).await
}

/// Reads a ClientHello where plaintext is refused as such.
async fn read_first_hello(newcomer: &Newcomer) -> Result<Opening, (&'static str, String)> {
    let deadline = newcomer.shard.now().plus_millis(PREFACE_MS_MAX);
    let first = within(deadline, newcomer.socket.readable()).await;
    let mut byte = [0; 1];
    let count = newcomer.socket.peek_bytes(&mut byte);
    if first.is_ok() && count > 0 && client_hello::is_tls(&byte) == Some(false) {
        let detail = "the port takes mutual TLS only, and the client speaks plaintext".to_owned();
        return Err(("plaintext", detail));
    }
    read_hello(newcomer).await.map_err(|failure| (failure.reason.name(), failure.detail))
}

/// Ends mutual TLS of the mesh here; inside, the declared protocol or the one agreed on.
pub(super) async fn mutual(newcomer: Newcomer, opening: Opening) -> Option<Sorted> {
    let Some(config) = newcomer.shard.tls().mesh().cloned() else {
        let detail = "this proxy has no certificate of the mesh to serve mutual TLS with";
        newcomer.refuse(&Failure::new(Reason::NoCredential, detail));
        return None;
    };
    let declared = newcomer.declared;
    let client = shake_hands(newcomer, opening, config, Vouched::ByMesh).await?;
    if client.stream.alpn() == Some(alpn::MESH_PEER_EXCHANGE)
        && let Err(failure) = exchange::run(&client).await
    {
        tell(&client.shard, &client.listener, client.peer, &failure);
        return None;
    }
    match inside(declared, client.stream.alpn()) {
        Protocol::Tcp => Some(Sorted::Tcp(client, None)),
        Protocol::Http => Some(Sorted::Http(client)),
        // Boxed, since this is where sorting may come from.
        sorted => Box::pin(inspect::sort(client, sorted, false)).await,
    }
}

/// What is spoken inside mutual TLS of the mesh. The client's offer tells only where nothing is declared: on a port of HTTP
/// it would let the client choose to be relayed past what holds for requests.
fn inside(declared: Protocol, agreed: Option<&[u8]>) -> Protocol {
    match (declared, agreed) {
        (Protocol::Tcp | Protocol::Tls, _)
        | (Protocol::Auto, Some(alpn::MESH | alpn::MESH_PEER_EXCHANGE)) => Protocol::Tcp,
        (Protocol::Auto, None) => Protocol::Auto,
        _ => Protocol::Http,
    }
}

/// Does what a gateway's settings for the client's server name say.
async fn gateway(newcomer: Newcomer) -> Option<Sorted> {
    let opening = match read_hello(&newcomer).await {
        Ok(opening) => opening,
        Err(failure) => {
            newcomer.refuse(&failure);
            return None;
        }
    };
    enum Chosen {
        Pass,
        End(std::sync::Arc<ServerConfig>, Vouched, Protocol),
        Down(String),
    }
    let name = opening.hello.server_name.as_deref();
    let chosen = newcomer.shard.with_table(|table| {
        let listener = table.listeners.get(newcomer.listener.index(table)?)?;
        let (at, settings) = listener.server_tls(name.map(str::as_bytes))?;
        if !settings.model.mode.terminates() {
            return Some(Chosen::Pass);
        }
        let tls = newcomer.shard.tls();
        Some(match tls.server(&listener.model.name, at).map(|served| served.config()) {
            Some(Ok(config)) => {
                Chosen::End(config.clone(), vouched(settings.model.mode), settings.model.protocol)
            }
            Some(Err(reason)) => Chosen::Down(reason.to_owned()),
            None => Chosen::Down("its settings are not in force yet".to_owned()),
        })
    });
    match chosen.flatten() {
        Some(Chosen::Pass) => Some(Sorted::Tcp(newcomer.client(Some(opening)), None)),
        Some(Chosen::End(config, vouched, protocol)) => {
            let client = shake_hands(newcomer, opening, config, vouched).await?;
            match protocol {
                Protocol::Tcp => Some(Sorted::Tcp(client, None)),
                _ => Some(Sorted::Http(client)),
            }
        }
        Some(Chosen::Down(reason)) => {
            newcomer.refuse(&Failure::new(Reason::NoCredential, reason));
            None
        }
        None => {
            let whom = name.map_or("no host".to_owned(), |name| format!("the host {name}"));
            let detail = format!("the client asks for {whom}, which no server of this port has");
            newcomer.refuse(&Failure::new(Reason::NoCredential, detail));
            None
        }
    }
}

/// By whose roots a gateway checks clients in this mode. Only ISTIO_MUTUAL asks for the mesh's; a customer's CA that names a
/// workload of the mesh must not make its client one.
fn vouched(mode: TlsMode) -> Vouched {
    if mode == TlsMode::IstioMutual { Vouched::ByMesh } else { Vouched::ByOthers }
}

async fn shake_hands(
    newcomer: Newcomer,
    opening: Opening,
    config: std::sync::Arc<ServerConfig>,
    vouched: Vouched,
) -> Option<Client> {
    let Newcomer { shard, listener, socket, peer, port, introduced, .. } = newcomer;
    let deadline = shard.now().plus_millis(TLS_HANDSHAKE_MS);
    let shaken = within(deadline, tls::accept(socket, opening, config, vouched, &shard.tls_scratch)).await;
    let failure = match shaken {
        Ok(Ok(stream)) => {
            shard.gauges.downstream_tls_handshakes_total.add(1);
            let client = Client::new(shard, listener, Stream::from(stream), peer, port);
            let mut client = client.introduced(introduced);
            let tls = client.shard.tls();
            let both = client.stream.peer_identity().zip(tls.identity());
            let hash =
                client.stream.tls().and_then(TlsStream::peer).map(|peer| peer.hash).unwrap_or_default();
            client.ends =
                both.map(|(from, to)| client.shard.peers.ends(from.as_str(), to.id().as_str(), hash));
            return Some(client);
        }
        Ok(Err(failure)) => failure,
        Err(_) => Failure::new(Reason::HandshakeTimeout, "the handshake took too long"),
    };
    tell(&shard, &listener, peer, &failure);
    None
}

/// Continues a permissive connection whose client begins with TLS: mutual TLS of the mesh ends here, an application's own
/// is passed on as it is.
pub(super) async fn permissive(client: Client, declared: Protocol) -> Option<Sorted> {
    let (newcomer, opening) = back_to_hello(client, declared).await?;
    let of_mesh = [alpn::MESH_H2, alpn::MESH_HTTP11, alpn::MESH_HTTP10, alpn::MESH, alpn::MESH_PEER_EXCHANGE];
    match of_mesh.iter().any(|name| opening.hello.offers(name)) {
        true => mutual(newcomer, opening).await,
        false => Some(Sorted::Tcp(newcomer.client(Some(opening)), None)),
    }
}

/// Passes an application's own TLS on, by the server name of its ClientHello.
pub(super) async fn onward(client: Client) -> Option<Sorted> {
    let (newcomer, opening) = back_to_hello(client, Protocol::Tls).await?;
    Some(Sorted::Tcp(newcomer.client(Some(opening)), None))
}

/// Reads the ClientHello of a connection that was looked at as plaintext.
async fn back_to_hello(client: Client, declared: Protocol) -> Option<(Newcomer, Opening)> {
    let Client { shard, listener, stream, peer, port, addresses, .. } = client;
    // TLS inside TLS is the application's business.
    let Stream::Plain(socket) = stream else { return None };
    let introduced = addresses.into_inner().flatten();
    let newcomer = Newcomer { shard, listener, socket, peer, port, declared, introduced };
    match read_hello(&newcomer).await {
        Ok(opening) => Some((newcomer, opening)),
        Err(failure) => {
            newcomer.refuse(&failure);
            None
        }
    }
}

#[cfg(test)]
mod tests;
