//! The HTTP safety rules, black box: raw bytes to a gateway on one side, raw bytes from a scripted upstream on the other,
//! over both drivers. A rule's number stands beside each case.

mod bodies;
mod endings;
mod exchanges;
mod kept;
mod requests;
mod responses;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use dromon_core::config::model::HttpRule;
use dromon_tests::free_port;
use dromon_tests::proxy::{DRIVERS, Proxy, gateway};
use dromon_tests::scripted::Scripted;

/// A gateway in front of one scripted upstream.
pub struct Rig {
    /// The gateway's address.
    pub front: SocketAddr,
    /// What answers behind it.
    pub upstream: Scripted,
    /// The proxy.
    pub proxy: Proxy,
}

impl Rig {
    fn start(driver: &str) -> Rig {
        let upstream = Scripted::start();
        let front = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let resources = gateway(front, &[upstream.address], HttpRule::default());
        let proxy = Proxy::start("gateway~ingress.default", driver, &resources, &["--shards", "1"]);
        Rig { front, upstream, proxy }
    }

    /// A connection to the gateway.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.front).expect("the gateway listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        stream
    }

    /// Sends raw bytes and reads until the gateway closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The gateway may have refused and closed before all was written.
        let _ = stream.write_all(bytes);
        read_to_close(&mut stream)
    }

    /// As [`Rig::raw`], closing the sending side after the bytes.
    pub fn raw_then_end(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        read_to_close(&mut stream)
    }
}

/// All bytes until the other side closes; a reset ends the text with `<reset>`, silence with `<silence>`.
pub fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                bytes.extend_from_slice(b"<reset>");
                break;
            }
            Err(_) => {
                bytes.extend_from_slice(b"<silence>");
                break;
            }
        }
    }
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Reads until the bytes so far contain `part`.
pub fn read_until(stream: &mut TcpStream, part: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(part) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => panic!("the connection ended before {part:?}: {text:?}"),
            Ok(count) => text.extend(buffer[..count].iter().map(|byte| char::from(*byte))),
        }
    }
    text
}

/// The status of a raw response.
pub fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|it| it.get(..3)).and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn on_both_drivers(test: impl Fn(&Rig)) {
    for driver in DRIVERS {
        test(&Rig::start(driver));
    }
}

#[test]
fn bad_requests_are_refused_and_nothing_of_them_is_forwarded() {
    on_both_drivers(requests::refused);
}

#[test]
fn odd_but_legal_requests_pass_with_what_is_ours_removed() {
    on_both_drivers(requests::passed);
}

#[test]
fn bad_bodies_end_the_exchange_at_both_ends() {
    on_both_drivers(requests::bad_bodies);
}

#[test]
fn a_slow_head_has_an_absolute_deadline() {
    on_both_drivers(requests::slow_head);
}

#[test]
fn bad_responses_are_502_and_their_connection_is_closed() {
    on_both_drivers(responses::refused);
}

#[test]
fn responses_are_framed_for_the_client_that_asked() {
    on_both_drivers(responses::framed);
}

#[test]
fn truncated_responses_never_look_complete() {
    on_both_drivers(responses::truncated);
}

#[test]
fn interim_responses_expectations_and_upgrades() {
    on_both_drivers(exchanges::interim);
    on_both_drivers(exchanges::upgrades);
}

#[test]
fn connections_are_reused_only_when_that_is_safe() {
    on_both_drivers(exchanges::reuse);
    on_both_drivers(exchanges::pipelining);
    on_both_drivers(exchanges::begun_answers);
}

#[test]
fn refusals_are_counted_wherever_they_happen() {
    on_both_drivers(endings::refusals_count);
}

#[test]
fn a_body_that_breaks_after_its_answer_ends_the_connection() {
    on_both_drivers(endings::broken_after_the_answer);
}

#[test]
fn a_client_with_unread_requests_is_not_gone() {
    on_both_drivers(endings::half_closed_with_more_to_answer);
}

#[test]
fn leftovers_of_one_client_never_reach_another() {
    on_both_drivers(exchanges::leftovers);
}

#[test]
fn bodies_end_where_they_say_and_what_is_unread_is_no_request() {
    on_both_drivers(bodies::ends);
    on_both_drivers(bodies::trailers);
    on_both_drivers(bodies::unread);
}

#[test]
fn first_requests_take_proven_connections() {
    on_both_drivers(kept::proven);
}

#[test]
fn kept_connections_are_looked_at_and_second_tries_say_so() {
    on_both_drivers(bodies::looked_at);
    on_both_drivers(bodies::attempts);
}
