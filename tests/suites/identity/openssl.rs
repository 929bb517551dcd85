//! `openssl` as a peer, from outside this project.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use dromon_tests::eventually;
use dromon_tests::process::Process;

use crate::forge::Papers;

/// How often one that is refused tries to hear why.
const TRIES: usize = 5;
/// What every client here asks for.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n";

/// What `openssl s_client` printed, both outputs together, when it asked for `/` (or failed to).
pub fn ask(address: SocketAddr, papers: Option<&Papers>, more: &[&str]) -> String {
    say(address, papers, more, REQUEST)
}

/// As [`ask`], with these bytes for a request.
pub fn say(address: SocketAddr, papers: Option<&Papers>, more: &[&str], request: &[u8]) -> String {
    let mut command = Command::new("timeout");
    command.args(["30", "openssl", "s_client", "-connect", &address.to_string(), "-ign_eof"]);
    if let Some(papers) = papers {
        command.args(["-cert", &papers.file("cert-chain.pem"), "-key", &papers.file("key.pem")]);
    }
    command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed");
    let mut input = child.stdin.take().expect("piped");
    // One that was refused may be gone already.
    let _ = input.write_all(request);
    drop(input);
    let output = child.wait_with_output().expect("openssl ends");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// As [`say`], until openssl tells of this alert, a few times at most: a sidecar stays for a refused client for a moment only, and
/// one that the machine has held up for longer finds a reset in its place (RFC 8446, 6.2, asks for no more).
pub fn told(
    address: SocketAddr,
    papers: Option<&Papers>,
    more: &[&str],
    request: &[u8],
    alert: &str,
) -> String {
    let mut all = String::new();
    for _ in 0..TRIES {
        all += &say(address, papers, more, request);
        if all.contains(alert) {
            break;
        }
    }
    all
}

/// `openssl s_server` with these papers, which asks for a client certificate of its own CA and answers with a page.
pub fn serve(address: SocketAddr, papers: &Papers, more: &[&str]) -> Process {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &address.to_string(), "-www", "-Verify", "1"]);
    command.args(["-cert", &papers.file("cert-chain.pem"), "-key", &papers.file("key.pem")]);
    command.args(["-CAfile", &papers.file("root-cert.pem")]).args(more);
    let server = Process::start(&mut command);
    eventually("openssl s_server to listen", || std::net::TcpStream::connect(address).ok());
    server
}

/// The first bytes that `openssl s_client` sends.
pub fn hello() -> Vec<u8> {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]);
    let _client = Process::start(&mut command);
    let (mut stream, _) = listener.accept().expect("openssl connects");
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("a record's head");
    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut hello).expect("a ClientHello");
    [head.to_vec(), hello].concat()
}
