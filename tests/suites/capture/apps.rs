//! Applications that know nothing of a mesh.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dromon_tests::http::{self, Response};
use dromon_tests::netns::Namespace;

/// Starts a server that treats each connection on a thread of its own. It lives as long as the test's program.
fn serve(inside: &Namespace, address: SocketAddr, treat: impl Fn(TcpStream) + Send + Sync + Clone + 'static) {
    let listener = inside.run(|| TcpListener::bind(address)).expect("the port is free");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = treat.clone();
            std::thread::spawn(move || treat(stream));
        }
    });
}

/// An HTTP server that tells its name, who called, and the header fields that it was sent, a line each.
pub fn http(inside: &Namespace, address: SocketAddr, name: &'static str) {
    serve(inside, address, move |stream| {
        let peer = stream.peer_addr().map_or_else(|_| "-".to_owned(), |peer| peer.ip().to_string());
        let mut reader = BufReader::new(stream);
        loop {
            let mut fields = String::new();
            loop {
                let mut line = String::new();
                match reader.read_line(&mut line) {
                    Ok(1..) if line != "\r\n" => fields += &line,
                    Ok(1..) => break,
                    _ => return,
                }
            }
            let body = format!("name {name}\nfrom {peer}\n{fields}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
}

/// What a server that speaks first says.
pub const GREETING: &str = "220 ready\r\n";

/// A server that speaks first and then gives back what it is sent.
pub fn greeter(inside: &Namespace, address: SocketAddr) {
    serve(inside, address, |mut stream| {
        if stream.write_all(GREETING.as_bytes()).is_ok() {
            echo_on(stream);
        }
    });
}

/// A server that gives back what it is sent.
pub fn echo(inside: &Namespace, address: SocketAddr) {
    serve(inside, address, echo_on);
}

fn echo_on(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

/// GET from inside, with this authority.
pub fn get(inside: &Namespace, to: SocketAddr, host: &str) -> std::io::Result<Response> {
    inside.run(|| http::get(to, "/", &[("Host", host)]))
}

/// Connects from inside.
pub fn connect(inside: &Namespace, to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = inside.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(20)))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// What comes back of `said` over a connection to an echo, after `greeting` where there is one.
pub fn converse(inside: &Namespace, to: SocketAddr, greeting: &str, said: &str) -> std::io::Result<String> {
    let mut stream = connect(inside, to)?;
    let mut greeted = vec![0; greeting.len()];
    stream.read_exact(&mut greeted)?;
    assert_eq!(String::from_utf8_lossy(&greeted), greeting);
    stream.write_all(said.as_bytes())?;
    let mut back = vec![0; said.len()];
    stream.read_exact(&mut back)?;
    Ok(String::from_utf8_lossy(&back).into_owned())
}

/// Whether a connection is of no use: refused, or reset before a byte has come.
pub fn is_refused(inside: &Namespace, to: SocketAddr) -> bool {
    let Ok(mut stream) = connect(inside, to) else { return true };
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    !matches!(stream.read(&mut [0; 1]), Ok(1..))
}

/// An address with a port.
pub fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}
