//! Which addresses the processes of a group listen on, by the sockets they hold: how an application that ignores
//! `$DROMON_BIND` is found out.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// State code of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The addresses on which processes of the group `group` listen. Empty where the system does not say.
pub fn of_group(group: u32) -> Vec<SocketAddr> {
    let sockets: HashSet<u64> = processes()
        .filter(|(_, process)| group_of(process) == Some(group))
        .flat_map(|(_, process)| sockets_of(&process))
        .collect();
    let mut found: Vec<SocketAddr> =
        table().filter(|(inode, _)| sockets.contains(inode)).map(|(_, address)| address).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Who listens on an address, or on its port at every address: number and name of a process. None where the system does
/// not say, as it does not of other users' processes.
pub fn owner(address: SocketAddr) -> Option<(u32, String)> {
    let is_there = |bound: SocketAddr| {
        bound.port() == address.port() && (bound.ip() == address.ip() || bound.ip().is_unspecified())
    };
    let inodes: HashSet<u64> =
        table().filter(|(_, bound)| is_there(*bound)).map(|(inode, _)| inode).collect();
    let (pid, process) = processes()
        .find(|(_, process)| sockets_of(process).into_iter().any(|inode| inodes.contains(&inode)))?;
    let name = fs::read_to_string(process.join("comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

/// All listening sockets: inode and local address.
fn table() -> impl Iterator<Item = (u64, SocketAddr)> {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().flat_map(|table| {
        let text = fs::read_to_string(table).unwrap_or_default();
        text.lines().skip(1).filter_map(parse).collect::<Vec<_>>()
    })
}

/// All processes: number and directory.
pub(super) fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, entry.path()))
    })
}

/// One line of `/proc/net/tcp`: the inode and local address of a listening socket.
fn parse(line: &str) -> Option<(u64, SocketAddr)> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    Some((inode, SocketAddr::new(parse_ip(address)?, u16::from_str_radix(port, 16).ok()?)))
}

/// An address as the kernel prints it: 32-bit words in the machine's byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

/// Inodes of the sockets that a process holds.
fn sockets_of(process: &Path) -> Vec<u64> {
    let inode = |descriptor: fs::DirEntry| {
        let target = fs::read_link(descriptor.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    fs::read_dir(process.join("fd")).into_iter().flatten().flatten().filter_map(inode).collect()
}

/// The process group, from `stat`: the third field after the command's closing parenthesis.
fn group_of(process: &Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?.parse().ok()
}
