//! An origin that answers with its name and the head that it was sent, so that a test sees what a proxy made of a request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::http::Response;

/// The header of an answer that names the origin.
const NAME: &str = "x-echo";
/// The header of an answer that names who has connected.
pub const PEER: &str = "x-echo-peer";

/// Starts one on a loopback port; it lives as long as the test's process.
///
/// # Panics
/// If no loopback port can be had.
pub fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    serve(listener, name);
    address
}

/// The same on a socket that is bound already, in another network maybe. Answers name who has connected.
pub fn serve(listener: TcpListener, name: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream, name));
        }
    });
}

fn answer(stream: TcpStream, name: &str) {
    let _ = stream.set_nodelay(true);
    let Ok(peer) = stream.peer_addr() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let body = format!("{name}\n{}", head.to_ascii_lowercase());
        let text = format!(
            "HTTP/1.1 200 OK\r\n{NAME}: {name}\r\n{PEER}: {}\r\nContent-Length: {}\r\n\r\n{body}",
            peer.ip(),
            body.len()
        );
        if reader.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Who answered; the status where it was nobody.
pub fn who(answer: &Response) -> String {
    answer.header(NAME).map_or_else(|| answer.status.to_string(), str::to_owned)
}
