//! A WebSocket of an HTTP/1 client over a stream of HTTP/2 (RFC 8441): bytes both ways once it stands, under the flow control of
//! both sides.

use std::future::poll_fn;
use std::io;
use std::pin::pin;

use bytes::Bytes;
use dromon_core::exchange::End;
use dromon_core::h2::{WEBSOCKET, websocket_connect, websocket_key};
use dromon_core::limits::BODY_BUFFER_BYTES;
use h2::{RecvStream, SendStream};

use crate::conn::client::Client;
use crate::conn::work::Request;
use crate::io::{Either, race, write_all_within};
use crate::pool::StreamPlace;
use crate::relay::{self, Carried, Motion};
use crate::sys::buffer::Buffer;

/// The key by which a request asks for a WebSocket; none where it asks for something else.
pub(super) fn key(request: &Request) -> Option<&[u8]> {
    websocket_key(&request.head, request.buffer.filled())
}

/// Makes a request an extended CONNECT.
pub(super) fn connect(request: &mut http::Request<()>) {
    websocket_connect(request);
    request.extensions_mut().insert(h2::ext::Protocol::from_static(WEBSOCKET));
}

/// The upstream's side of a WebSocket.
pub(in crate::conn) struct Socket {
    pub(super) send: SendStream<Bytes>,
    pub(super) recv: RecvStream,
    pub(super) place: StreamPlace,
}

/// Which side broke.
enum Broken {
    Client,
    Upstream,
}

impl Socket {
    /// Relays until both sides are done, one breaks, or neither has said anything for the idle time. Counts in `carried` as it
    /// goes; `ahead` is what the client has sent already.
    pub(in crate::conn) async fn relay(
        self,
        client: &Client,
        ahead: Vec<u8>,
        idle_ms: u64,
        carried: &Carried,
    ) -> End {
        let Socket { mut send, mut recv, place } = self;
        let motion = Motion::new(client.shard.now());
        let way = Way { client, place: &place, motion: &motion, idle_ms, carried };
        let result = {
            let mut up = pin!(way.up(&mut send, ahead));
            let mut down = pin!(way.down(&mut recv));
            let both = async {
                match race(up.as_mut(), down.as_mut()).await {
                    Either::First(Ok(())) => down.await,
                    Either::Second(Ok(())) => up.await,
                    Either::First(broken) | Either::Second(broken) => broken,
                }
            };
            let mut both = pin!(both);
            let mut idle = pin!(relay::idle(&client.shard, &motion, idle_ms));
            match race(both.as_mut(), idle.as_mut()).await {
                Either::First(result) => result.map(|()| End::Complete),
                Either::Second(()) => Ok(End::Idle),
            }
        };
        match result {
            Ok(end) => end,
            Err(Broken::Client) => {
                send.send_reset(h2::Reason::CANCEL);
                End::DownstreamClosed
            }
            Err(Broken::Upstream) => {
                client.stream.reset_on_close();
                End::UpstreamAborted
            }
        }
    }
}

/// What both directions need.
struct Way<'a> {
    client: &'a Client,
    place: &'a StreamPlace,
    motion: &'a Motion,
    idle_ms: u64,
    carried: &'a Carried,
}

impl Way<'_> {
    async fn up(&self, stream: &mut SendStream<Bytes>, ahead: Vec<u8>) -> Result<(), Broken> {
        self.send(stream, ahead.into()).await?;
        let client = self.client;
        loop {
            client.stream.arrival().await.map_err(|_| Broken::Client)?;
            let mut buffer = client.shard.buffers.take(BODY_BUFFER_BYTES);
            let read = client.stream.try_read(&mut buffer);
            let bytes = Bytes::copy_from_slice(buffer.filled());
            client.shard.buffers.give(buffer);
            match read {
                Ok(0) => return stream.send_data(Bytes::new(), true).map_err(|_| Broken::Upstream),
                Ok(_) => self.send(stream, bytes).await?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Broken::Client),
            }
        }
    }

    /// Sends bytes as the stream has room for them.
    async fn send(&self, stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Broken> {
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len());
            let by = self.client.shard.now().plus_millis(self.idle_ms);
            let more = poll_fn(|context| match stream.capacity() {
                0 => stream.poll_capacity(context),
                room => std::task::Poll::Ready(Some(Ok(room))),
            });
            let Ok(Some(Ok(room))) = self.motion.write(self.client.alarm.within(by, more)).await else {
                return Err(Broken::Upstream);
            };
            let part = bytes.split_to(room.min(bytes.len()));
            self.place.data_sent(part.len());
            self.carried.up_bytes.set(self.carried.up_bytes.get() + part.len() as u64);
            stream.send_data(part, false).map_err(|_| Broken::Upstream)?;
            self.motion.moved(self.client.shard.now());
        }
        Ok(())
    }

    async fn down(&self, stream: &mut RecvStream) -> Result<(), Broken> {
        let client = self.client;
        loop {
            match poll_fn(|context| stream.poll_data(context)).await {
                Some(Ok(bytes)) => {
                    let mut buffer = Buffer::with_capacity(bytes.len());
                    buffer.extend(&bytes);
                    let written = write_all_within(&client.alarm, &client.stream, buffer, self.idle_ms);
                    self.motion.write(written).await.0.map_err(|_| Broken::Client)?;
                    self.carried.down_bytes.set(self.carried.down_bytes.get() + bytes.len() as u64);
                    self.motion.moved(client.shard.now());
                    // The connection has broken: the next wait says so.
                    let _ = stream.flow_control().release_capacity(bytes.len());
                }
                Some(Err(_)) => return Err(Broken::Upstream),
                None => {
                    let by = client.shard.now().plus_millis(self.idle_ms);
                    let finished = client.alarm.within(by, client.stream.finish_write());
                    // Who is gone by now had all the bytes there were.
                    return self.motion.write(finished).await.map(|_| ()).map_err(|_| Broken::Client);
                }
            }
        }
    }
}
