//! Raw bytes inside mutual TLS: `openssl s_client` in between.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// A connection whose bytes openssl carries to `to` under the identity in `papers`. It ends when either end does.
///
/// # Panics
/// If openssl cannot be started.
pub fn through_openssl(to: SocketAddr, papers: &Path) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (far, _) = listener.accept().expect("a connection waits");
    let mut command = Command::new("openssl");
    // -quiet: every byte is data, none a command.
    command.args(["s_client", "-quiet", "-alpn", "istio-h2", "-connect", &to.to_string()]);
    for (flag, file) in [("-cert", "cert-chain.pem"), ("-key", "key.pem")] {
        command.arg(flag).arg(papers.join(file));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl is installed");
    let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let from = far.try_clone().expect("a descriptor is free");
    std::thread::spawn(move || copy(from, input));
    std::thread::spawn(move || {
        copy(output, &far);
        let _ = far.shutdown(std::net::Shutdown::Both);
        let _ = child.wait();
    });
    near
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
