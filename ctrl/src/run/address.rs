//! Loopback addresses for the sidecars of one run: 127.77.a.b, with 127.78.a.b for the application behind it.
//!
//! A run owns whole blocks (one `a`), so that two runs on one machine never meet. Ownership is an abstract unix socket:
//! it has the same scope as the loopback network (the network namespace) and dies with its process.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Second octet of sidecars' addresses.
const SIDECAR: u8 = 77;
/// Second octet of applications' addresses.
const APPLICATION: u8 = 78;
/// Last octets that a block hands out: 1 to this.
const LAST: u8 = 254;

/// The addresses of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Where its sidecar listens.
    pub sidecar: Ipv4Addr,
    /// Where the application listens.
    pub application: Ipv4Addr,
}

/// No addresses are left.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Every block is owned by a run, or has ports in use.
    #[error("no free block of addresses 127.77.0.0 to 127.77.255.0: end another `dromonctl run`")]
    NoneLeft,
    /// Something listens on all addresses.
    #[error("port {0} is taken on every address 127.77.x.1: end what listens on 0.0.0.0:{0} (`ss -ltnp`)")]
    PortTaken(u16),
}

/// Hands out addresses, always the same one to the same name.
#[derive(Debug, Default)]
pub struct Addresses {
    blocks: Vec<Block>,
    by_name: BTreeMap<String, Pair>,
    next: u8,
    /// Held while the run has the well-known ports of 127.0.0.1.
    well_known: Option<UnixListener>,
}

#[derive(Debug)]
struct Block {
    octet: u8,
    /// Held for as long as the run lasts.
    _owned: UnixListener,
}

impl Addresses {
    /// The addresses of a name, new ones if it has none.
    ///
    /// # Errors
    /// None are left.
    pub fn of(&mut self, name: &str) -> Result<Pair, AddressError> {
        if let Some(pair) = self.by_name.get(name) {
            return Ok(*pair);
        }
        if self.blocks.is_empty() || self.next > LAST {
            let from = self.blocks.last().map_or(0, |block| u16::from(block.octet) + 1);
            self.blocks.push(claim(from)?);
            self.next = 1;
        }
        let Some(block) = self.blocks.last() else { return Err(AddressError::NoneLeft) };
        let pair = Pair {
            sidecar: Ipv4Addr::new(127, SIDECAR, block.octet, self.next),
            application: Ipv4Addr::new(127, APPLICATION, block.octet, self.next),
        };
        self.next += 1;
        self.by_name.insert(name.to_owned(), pair);
        Ok(pair)
    }

    /// Whether this run has the well-known ports (15000 and its like) of 127.0.0.1: the first run on a machine does.
    pub fn well_known(&mut self) -> bool {
        if self.well_known.is_none() {
            self.well_known = own(&Ipv4Addr::LOCALHOST.to_string());
        }
        self.well_known.is_some()
    }
}

/// Owns a name on this machine's loopback network until the listener is dropped; none when somebody else does.
fn own(name: &str) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("dromon/{name}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

/// Takes the first free block at or after `from`.
fn claim(from: u16) -> Result<Block, AddressError> {
    let mut error = AddressError::NoneLeft;
    for octet in from..=255 {
        let Ok(octet) = u8::try_from(octet) else { break };
        let Ok(name) = SocketAddr::from_abstract_name(format!("dromon/127.{SIDECAR}.{octet}")) else {
            continue;
        };
        let Ok(owned) = UnixListener::bind_addr(&name) else { continue };
        // A run that was killed may have left a process that is still on its way out.
        match taken(octet) {
            None => return Ok(Block { octet, _owned: owned }),
            Some(port) => error = AddressError::PortTaken(port),
        }
    }
    Err(error)
}

fn taken(octet: u8) -> Option<u16> {
    [15_000, 15_001].into_iter().find(|port| {
        let address = SocketAddrV4::new(Ipv4Addr::new(127, SIDECAR, octet, 1), *port);
        matches!(TcpListener::bind(address), Err(error) if error.kind() == io::ErrorKind::AddrInUse)
    })
}
