//! A relay between a client and a server that loses connections on purpose: at a chosen byte, or all at once. With several servers it
//! takes each in turn, as a Service does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes taken at once.
const STEP: usize = 16 * 1024;

/// A running relay; it lives as long as the test's process.
#[derive(Clone)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    servers: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
    /// A connection made from now on ends after so many bytes of its server's.
    most: AtomicUsize,
    /// Connections that ended so.
    cut: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Starts one on a loopback port.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start(servers: Vec<SocketAddr>) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            servers: Mutex::new(servers),
            turn: AtomicUsize::new(0),
            most: AtomicUsize::new(usize::MAX),
            cut: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let relay = Relay { address, state: state.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = state.clone();
                std::thread::spawn(move || state.carry(client));
            }
        });
        relay
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends each connection that is made from now on after so many bytes from its server; none: as long as it lives.
    pub fn cut_after(&self, bytes: Option<usize>) {
        self.state.most.store(bytes.unwrap_or(usize::MAX), Ordering::SeqCst);
    }

    /// Ends all connections that stand.
    pub fn cut_all(&self) {
        for stream in self.state.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Puts another server in the place of one, for connections that are made from now on.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn replace(&self, at: usize, server: SocketAddr) {
        self.state.servers()[at] = server;
    }

    /// How many connections have ended at their last byte so far.
    pub fn cuts(&self) -> usize {
        self.state.cut.load(Ordering::SeqCst)
    }
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> SocketAddr {
        let servers = self.servers();
        servers[self.turn.fetch_add(1, Ordering::SeqCst) % servers.len()]
    }

    fn carry(&self, client: TcpStream) {
        let most = self.most.load(Ordering::SeqCst);
        let at = self.next();
        // A client whose server refuses sees its connection end, which is what it has to live with.
        let Ok(server) = TcpStream::connect_timeout(&at, CONNECT) else { return };
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        let (from_client, to_server) = (clone(&client), clone(&server));
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        {
            let mut open = self.open();
            // What has ended need not be kept.
            open.retain(|stream| stream.peer_addr().is_ok());
            open.extend([clone(&client), clone(&server)]);
        }
        let up = std::thread::spawn(move || pump(from_client, to_server, usize::MAX));
        if pump(clone(&server), clone(&client), most) {
            self.cut.fetch_add(1, Ordering::SeqCst);
        }
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        let _ = up.join();
    }
}

/// Copies until either end has ended, or `most` bytes have been; true if those were all.
fn pump(mut from: TcpStream, mut to: TcpStream, most: usize) -> bool {
    let mut left = most;
    let mut buffer = [0; STEP];
    while left > 0 {
        let room = left.min(STEP);
        match from.read(&mut buffer[..room]) {
            Ok(length) if length > 0 => {
                if to.write_all(&buffer[..length]).is_err() {
                    return false;
                }
                left -= length;
            }
            _ => {
                let _ = to.shutdown(Shutdown::Write);
                return false;
            }
        }
    }
    true
}
