//! What a connection weighs.

use std::sync::Arc;

use dromon_core::rng::Rng;
use monoio::net::{TcpListener, TcpStream};

use super::*;
use crate::mailbox::{ShardId, mailbox};
use crate::sys::runtime::ShardRuntime;
use dromon_core::settings::Driver;

/// The future of a connection is what an idle one costs beside its socket; buffers and heads are pooled.
const CONNECTION_FUTURE_BYTES_MAX: usize = 3072;

#[test]
fn the_future_of_a_connection_is_small() {
    let (mut runtime, report) = ShardRuntime::build(Driver::Epoll).expect("epoll");
    assert_eq!(report.driver, "epoll");
    runtime.block_on(async {
        let acceptor = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = acceptor.local_addr().expect("bound");
        let stream = TcpStream::connect_addr(address).await.expect("connected");
        let (outbox, _inbox) = mailbox(1);
        let shard = Shard::new(ShardId(0), crate::shard::introduce(1).remove(0).0, Rng::new(1), outbox, true);
        let listener = Rc::new(ListenerHandle::new(Arc::from("gateway/80")));
        let connection = serve(shard, listener, Socket::new(stream), address);
        let bytes = size_of_val(&connection);
        assert!(bytes <= CONNECTION_FUTURE_BYTES_MAX, "{bytes} bytes");
    });
}

#[test]
fn a_spare_state_holds_nothing_of_the_client_before() {
    let spare = SpareWork::default();
    let mut work = spare.take();
    work.request.buffer.extend(b"POST /");
    work.upload.buffer.extend(b"GET /secret HTTP/1.1");
    work.answer.buffer.extend(b"HTTP/1.1 200 OK");
    assert!(work.upload.replay.keep(b"body"));
    spare.give(work);
    let work = spare.take();
    assert!(work.request.buffer.is_empty() && work.upload.buffer.is_empty() && work.answer.buffer.is_empty());
    assert_eq!(work.upload.replay.bytes(), Some(&b""[..]));
}
