//! `dromonctl run --capture`: each process and its sidecar in a network namespace of their own, like a pod, on a bridge of the
//! run.
//!
//! Names carry the run's number, so that the guard, and the next run, can tell what belongs to a run that is gone. A pod's
//! admin port is open to nobody but its own loopback: the run relays it from the address that it has without capture.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpListener;

use super::address::Pair;
use super::child;

/// What the names of namespaces begin with; the run's number follows.
const NAMESPACE: &str = "dromon-run-";
/// What the names of interfaces begin with; the run's number follows. Short: a name has 15 bytes.
const INTERFACE: &str = "drm";
/// Where the kernel's named namespaces and their own files of /etc are (ip-netns(8)).
const NAMESPACES: &str = "/run/netns";
const OWN_FILES: &str = "/etc/netns";
/// Pods of a run are 198.18.BLOCK.n and services 198.19.BLOCK.n: a range for tests that no network routes (RFC 2544).
const PODS: [u8; 2] = [198, 18];
const SERVICES: [u8; 2] = [198, 19];
/// The run's own end of the bridge; pods are numbered below it.
const BRIDGE_OCTET: u8 = 254;
/// How long a connection within the machine may take.
const CONNECT: Duration = Duration::from_secs(2);

/// Pods cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// Namespaces and netfilter rules need it.
    #[error(
        "--capture needs root: network namespaces and netfilter rules are not for everybody; leave it out, or use sudo"
    )]
    Root,
    /// A program is missing.
    #[error("--capture needs {0}: install {1}")]
    Missing(&'static str, &'static str),
    /// The bridge has no more addresses.
    #[error("a run with --capture has at most {max} processes", max = BRIDGE_OCTET - 2)]
    Full,
    /// A program refused.
    #[error("{0}")]
    Refused(String),
    /// The system refused.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

/// The pods of one run.
#[derive(Debug)]
pub struct Pods {
    run: u32,
    block: u8,
}

/// A pod's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    name: String,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Pods {
    /// Makes the run's bridge, after what dead runs have left is gone. `block` is the run's own among those of this machine.
    ///
    /// # Errors
    /// Rights or programs are missing, or the system refuses.
    pub fn new(block: u8) -> Result<Pods, PodError> {
        if !rustix::process::geteuid().is_root() {
            return Err(PodError::Root);
        }
        for (program, package) in
            [("ip", "iproute2"), ("setpriv", "util-linux"), ("iptables-restore", "iptables")]
        {
            let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
            if !path.split(':').any(|place| Path::new(place).join(program).is_file()) {
                return Err(PodError::Missing(program, package));
            }
        }
        sweep();
        let pods = Pods { run: std::process::id(), block };
        let bridge = pods.bridge();
        ip(&["link", "add", &bridge, "type", "bridge", "forward_delay", "0"])?;
        let own = Ipv4Addr::new(PODS[0], PODS[1], block, BRIDGE_OCTET);
        ip(&["address", "add", &format!("{own}/24"), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        Ok(pods)
    }

    fn bridge(&self) -> String {
        format!("{INTERFACE}-{}", self.run)
    }

    /// The virtual address of the run's service number `position`; none are left after 255.
    pub fn service_address(&self, position: usize) -> Option<Ipv4Addr> {
        let number = u8::try_from(position + 1).ok()?;
        Some(Ipv4Addr::new(SERVICES[0], SERVICES[1], self.block, number))
    }

    /// Makes a pod with its rules. `pair` are the addresses that the workload would have without capture; they number it.
    ///
    /// # Errors
    /// A program refuses; nothing of the pod is left.
    pub fn make(&self, pair: Pair, hosts: &str) -> Result<Pod, PodError> {
        let [.., block, number] = pair.sidecar.octets();
        if block != self.block || number >= BRIDGE_OCTET {
            return Err(PodError::Full);
        }
        let name = format!("{NAMESPACE}{}-{number}", self.run);
        let pod = Pod { name, address: Ipv4Addr::new(PODS[0], PODS[1], block, number) };
        let made = self.make_inside(&pod, number, hosts);
        if made.is_err() {
            pod.remove();
        }
        made.map(|()| pod)
    }

    fn make_inside(&self, pod: &Pod, number: u8, hosts: &str) -> Result<(), PodError> {
        let (name, bridge) = (pod.name.as_str(), self.bridge());
        let outer = format!("{INTERFACE}{}-{number}", self.run);
        let own = Ipv4Addr::new(PODS[0], PODS[1], self.block, BRIDGE_OCTET).to_string();
        // One of a former life of this workload.
        pod.remove();
        pod.write_hosts(hosts)?;
        ip(&["netns", "add", name])?;
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        ip(&["link", "set", &outer, "master", &bridge, "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "address", "add", &format!("{}/24", pod.address), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "route", "add", "default", "via", &own])?;
        let proxy = child::find("dromon-proxy", Path::new("."));
        let proxy = proxy.to_string_lossy();
        ip(&["netns", "exec", name, &proxy, "capture"])
    }
}

impl Pod {
    /// What runs a program inside; its command line follows. What it inherits of root's rights stays.
    pub fn enter(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).into()
    }

    /// As [`Pod::enter`], for the sidecar: as the user that capture exempts. The run's directory is closed to that user, so it
    /// keeps the right to pass.
    pub fn enter_as_sidecar(&self) -> Vec<String> {
        let user = dromon_core::capture::PROXY_USER;
        let mut command = self.enter();
        command.extend(["setpriv".to_owned(), format!("--reuid={user}"), format!("--regid={user}")]);
        let rest = [
            "--clear-groups",
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            "--pdeathsig=keep",
        ];
        command.extend(rest.map(str::to_owned));
        command
    }

    /// Writes the names that its programs know, in place: the file is mounted over /etc/hosts there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_hosts(&self, hosts: &str) -> Result<(), PodError> {
        let directory = Path::new(OWN_FILES).join(&self.name);
        let io = |error: io::Error| PodError::Io { path: directory.clone(), error };
        std::fs::create_dir_all(&directory).map_err(io)?;
        std::fs::write(directory.join("hosts"), format!("127.0.0.1 localhost\n::1 localhost\n{hosts}"))
            .map_err(io)
    }

    /// Connects from inside.
    ///
    /// # Errors
    /// Those of connecting; the namespace is gone.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let inside = File::open(Path::new(NAMESPACES).join(&self.name))?;
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread that has moved is of no other use.
        std::thread::spawn(move || {
            let moved = move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network));
            let connected =
                moved.map_err(io::Error::from).and_then(|()| TcpStream::connect_timeout(&to, CONNECT));
            let _ = tell.send(connected);
        });
        told.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Relays connections to `outside` to a port of the pod's loopback, for as long as the run lasts.
    ///
    /// # Errors
    /// The address is taken.
    pub fn relay(&self, outside: SocketAddr) -> io::Result<()> {
        let listener = std::net::TcpListener::bind(outside)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (pod, inside) = (self.clone(), SocketAddr::new(Ipv4Addr::LOCALHOST.into(), outside.port()));
        tokio::task::spawn_local(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let pod = pod.clone();
                tokio::task::spawn_local(async move {
                    let Ok(stream) = pod.connect(inside).await else { return };
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(mut stream) = tokio::net::TcpStream::from_std(stream)
                    {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut stream).await;
                    }
                });
            }
        });
        Ok(())
    }

    /// Takes it away with everything in it but its programs, which have to have ended.
    pub fn remove(&self) {
        remove_namespace(&self.name);
    }
}

/// Takes away what a run has made: for the guard.
pub fn remove_of(run: u32) {
    let prefix = format!("{NAMESPACE}{run}-");
    for name in names(NAMESPACES).chain(names(OWN_FILES)).filter(|name| name.starts_with(&prefix)) {
        remove_namespace(&name);
    }
    let bridge = format!("{INTERFACE}-{run}");
    if Path::new("/sys/class/net").join(&bridge).exists() {
        let _ = ip(&["link", "del", &bridge]);
    }
}

/// Takes away what runs that are gone, guard and all, have left.
fn sweep() {
    let of_namespace = |name: String| name.strip_prefix(NAMESPACE)?.split('-').next()?.parse::<u32>().ok();
    let of_bridge = |name: String| name.strip_prefix(INTERFACE)?.strip_prefix('-')?.parse::<u32>().ok();
    let namespaces = names(NAMESPACES).chain(names(OWN_FILES)).filter_map(of_namespace);
    for run in namespaces.chain(names("/sys/class/net").filter_map(of_bridge)) {
        if !Path::new("/proc").join(run.to_string()).exists() {
            remove_of(run);
        }
    }
}

fn names(directory: &str) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn remove_namespace(name: &str) {
    if Path::new(NAMESPACES).join(name).exists() {
        let _ = ip(&["netns", "del", name]);
    }
    let _ = std::fs::remove_dir_all(Path::new(OWN_FILES).join(name));
}

fn ip(arguments: &[&str]) -> Result<(), PodError> {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().map_err(|error| PodError::Io { path: "ip".into(), error })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(PodError::Refused(format!("ip {}: {said}", arguments.join(" "))))
}
