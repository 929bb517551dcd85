//! A real proxy beside the played ones: it takes requests all the time, so a change counts when a request is decided by it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::api_server::{Program, free_port};

/// Port of the sidecar's outbound listener.
const OUTBOUND: u16 = 15_001;
/// Pause between two requests.
const PAUSE: Duration = Duration::from_micros(200);
/// Longest wait for an answer or a change.
const DEADLINE: Duration = Duration::from_secs(20);
/// No request has reached an endpoint for so long: none will.
const QUIET: Duration = Duration::from_millis(150);
/// A proxy has given back what it needs no more.
const SETTLED: Duration = Duration::from_secs(8);

/// An address of this machine that is no loopback address, which endpoints may not have; none: it has no network. Nothing is
/// sent.
pub fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|it| it.ip()).filter(|it| !it.is_loopback())
}

/// A running proxy.
pub struct RealProxy(Program);

impl RealProxy {
    /// Starts the proxy of a pod and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn start(
        program: &Path,
        id: &str,
        feed: SocketAddr,
        certs: &Path,
        folder: &Path,
    ) -> Result<RealProxy> {
        let state = folder.join("state");
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state)?;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let health = free_port()?;
        let mut arguments: Vec<String> =
            ["--shards", "1", "--pin", "off", "--log-level", "warn"].map(String::from).into();
        for (flag, value) in [
            ("--id", id.to_owned()),
            ("--feed", feed.to_string()),
            ("--certs", certs.display().to_string()),
            ("--state-dir", state.display().to_string()),
            ("--admin-addr", at(free_port()?)),
            ("--health-addr", at(health)),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        let mut program = Program::start(program, &arguments, &folder.join("dromon-proxy.log"))?;
        let health = SocketAddr::from(([127, 0, 0, 1], health));
        program.until("the proxy to be ready", || is_ready(health, "/healthz/ready"))?;
        Ok(RealProxy(program))
    }

    /// Its resident memory once it has settled, in MiB.
    ///
    /// # Errors
    /// It does not run.
    pub fn settled_memory_mib(&self) -> Result<f64> {
        std::thread::sleep(SETTLED);
        self.0.memory_mib("VmRSS:")
    }

    /// Its resident memory now, in MiB.
    ///
    /// # Errors
    /// It does not run.
    pub fn memory_mib(&self) -> Result<f64> {
        self.0.memory_mib("VmRSS:")
    }
}

/// Whether an address answers 200 there.
pub fn is_ready(address: SocketAddr, path: &str) -> bool {
    let ask = || Client::to(address)?.send("localhost", path);
    ask().is_ok_and(|answer| answer.status == 200)
}

/// What an address answers there.
///
/// # Errors
/// Nobody listens, or the answer is none.
pub fn page(address: SocketAddr, path: &str) -> Result<String> {
    Ok(Client::to(address)?.send("localhost", path)?.body)
}

/// A connection that keeps requests coming.
pub struct Client(BufReader<TcpStream>);

/// An answer.
pub struct Answer {
    status: u16,
    location: String,
    body: String,
}

impl Client {
    /// To the proxy's application side.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn new() -> Result<Client> {
        Client::to(SocketAddr::from(([127, 0, 0, 1], OUTBOUND)))
    }

    fn to(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Client(BufReader::new(stream)))
    }

    /// Asks a proxy, in absolute form.
    fn get(&mut self, host: &str, path: &str) -> Result<Answer> {
        self.send(host, &format!("http://{host}{path}"))
    }

    fn send(&mut self, host: &str, target: &str) -> Result<Answer> {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok()).context("a status line")?;
        let (mut length, mut location) = (0, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "location" => value.clone_into(&mut location),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, location, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Asks a host until it answers at all, as its workload would that begins to use it.
    ///
    /// # Errors
    /// It does not.
    pub fn use_host(&mut self, host: &str) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.get(host, "/route-1/")?.status;
            if status == 200 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{host} answers {status}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks until a redirect leads to `mark`; the moment when the first one that did was read.
    ///
    /// # Errors
    /// None does.
    pub fn until_routed(&mut self, host: &str, mark: &str) -> Result<Instant> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.get(host, "/generation")?;
            let at = Instant::now();
            if answer.location.ends_with(mark) {
                return Ok(at);
            }
            if at > deadline {
                bail!("{host} still answers {} {:?}, not {mark}", answer.status, answer.location);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks until an endpoint, known by its answers, has not been used for a while; the moment when the first request was sent
    /// that began its rest.
    ///
    /// # Errors
    /// It is used on and on.
    pub fn until_unused(&mut self, host: &str, endpoint: &str) -> Result<Instant> {
        let deadline = Instant::now() + DEADLINE;
        let mut rest = Instant::now();
        let mut is_resting = false;
        loop {
            let sent = Instant::now();
            let answer = self.get(host, "/route-1/")?;
            if answer.status != 200 {
                bail!("{host} answers {} {}", answer.status, answer.body);
            }
            if answer.body == endpoint {
                is_resting = false;
            } else if !std::mem::replace(&mut is_resting, true) {
                rest = sent;
            }
            if is_resting && rest.elapsed() > QUIET {
                return Ok(rest);
            }
            if sent > deadline {
                bail!("{host} is still served by {endpoint}");
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Serves on a port of an address for the rest of the run; every answer is the port.
///
/// # Errors
/// The address cannot be used.
pub fn origin(ip: IpAddr) -> Result<u16> {
    let listener = TcpListener::bind((ip, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::Builder::new().name("origin".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, port));
        }
    })?;
    Ok(port)
}

fn serve(stream: TcpStream, port: u16) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let body = port.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            stream.get_mut().write_all(answer.as_bytes())?;
        }
    }
}
