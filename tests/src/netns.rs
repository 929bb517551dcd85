//! Network namespaces that stand for pods and for the node between them.
//!
//! Needs root and iproute2. A namespace goes with the value that made it, and with the next run where a test was killed.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the names of our namespaces begin with; the process's number and a count follow.
const PREFIX: &str = "dromon-test-";

/// Why namespaces cannot be made here; none: they can. `programs` are looked for too.
pub fn obstacle(programs: &[&str]) -> Option<String> {
    let installed = |program: &&&str| {
        let places = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        places.split(':').any(|place| Path::new(place).join(program).is_file())
    };
    let needed = ["ip", "setpriv"];
    if let Some(missing) = needed.iter().chain(programs).find(|program| !installed(program)) {
        return Some(format!("{missing} is not installed"));
    }
    // One probe for all tests of the process, which run at the same time.
    static PROBED: OnceLock<Result<(), String>> = OnceLock::new();
    let probe = || {
        let name = format!("{PREFIX}{}-probe", std::process::id());
        ip(&["netns", "add", &name]).and_then(|()| ip(&["netns", "del", &name]))
    };
    let made = PROBED.get_or_init(probe);
    made.as_ref().err().map(|error| format!("no network namespace can be made: {error}"))
}

/// Runs `ip`.
fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// A network namespace with its loopback interface up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new() -> Namespace {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace { name };
        ip(&["netns", "add", &namespace.name]).expect("a namespace can be made");
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `ip` inside, one command a line.
    ///
    /// # Panics
    /// If one fails.
    pub fn ip(&self, commands: &str) {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(commands.as_bytes()).expect("ip reads");
        drop(input);
        assert!(child.wait().expect("ip ends").success(), "{commands}");
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// As [`Namespace::command`], with this user and group. It may read files of others, since a build's folder may be closed
    /// to them.
    pub fn command_as(&self, user: u32, group: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.command("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={group}")]);
        command.args(["--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]);
        command.arg(program);
        command
    }

    /// Does something inside, on a thread of its own. Sockets that are made there stay there, whoever uses them.
    ///
    /// # Panics
    /// If the namespace is gone, or the work panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        run_in(&Path::new("/run/netns").join(&self.name), work)
    }
}

/// Does something in the network namespace that a file stands for, on a thread of its own, which threads that it starts share.
/// Sockets that are made there stay there, whoever uses them.
///
/// # Panics
/// If there is no such namespace, or the work panics.
pub fn run_in<T: Send>(namespace: &Path, work: impl FnOnce() -> T + Send) -> T {
    let inside = File::open(namespace).expect("the namespace is there");
    let enter = || {
        move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("the namespace can be entered");
        work()
    };
    std::thread::scope(|scope| match scope.spawn(enter).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

impl Default for Namespace {
    fn default() -> Namespace {
        Namespace::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Removes the namespaces of test programs that were killed.
fn sweep() {
    let Ok(names) = std::fs::read_dir("/run/netns") else { return };
    for name in names.flatten().filter_map(|it| it.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// A node: pods hang on its bridge, and what has no sidecar lives here.
#[derive(Debug)]
pub struct Node {
    /// The node's own namespace.
    pub namespace: Namespace,
    pods: AtomicU32,
}

/// A pod's namespace, with the interface `eth0`.
#[derive(Debug)]
pub struct Pod {
    /// The namespace.
    pub namespace: Namespace,
    /// Its addresses.
    pub v4: Ipv4Addr,
    /// As above.
    pub v6: Ipv6Addr,
}

impl Node {
    /// The node's addresses on the bridge.
    pub const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    /// As above.
    pub const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);

    /// A node without pods.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn new() -> Node {
        let namespace = Namespace::new();
        namespace.ip(&format!(
            "link add br0 type bridge forward_delay 0\nlink set br0 up\naddr add {}/24 dev br0\n\
             addr add {}/64 dev br0 nodad\n",
            Node::V4,
            Node::V6
        ));
        Node { namespace, pods: AtomicU32::new(0) }
    }

    /// A new pod. What has no route of its own goes to the node.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn pod(&self) -> Pod {
        let number = 10 + self.pods.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace::new();
        let v4 = Ipv4Addr::new(10, 77, 0, u8::try_from(number).expect("few pods"));
        let v6 = Ipv6Addr::from_bits(Node::V6.to_bits() - 1 + u128::from(number));
        self.namespace.ip(&format!(
            "link add pod{number} type veth peer name eth0 netns {}\nlink set pod{number} master br0 up\n",
            namespace.name
        ));
        namespace.ip(&format!(
            "addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\nlink set eth0 up\n\
             route add default via {}\nroute add default via {}\n",
            Node::V4,
            Node::V6
        ));
        Pod { namespace, v4, v6 }
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::new()
    }
}

impl Pod {
    /// Its address in the family of another.
    pub fn like(&self, other: IpAddr) -> IpAddr {
        if other.is_ipv4() { self.v4.into() } else { self.v6.into() }
    }
}
