//! Which addresses the processes of a group listen on, by the sockets they hold: how an application that ignores
//! `$DROMON_BIND` is found out.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// State code of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The addresses on which processes of the group `group` listen. Empty where the system does not say.
pub fn of_group(group: u32) -> Vec<SocketAddr> {
    let sockets = sockets_of(group);
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        found.extend(
            text.lines()
                .skip(1)
                .filter_map(parse)
                .filter(|(inode, _)| sockets.contains(inode))
                .map(|(_, address)| address),
        );
    }
    found.sort_unstable();
    found.dedup();
    found
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

/// Inodes of the sockets that the group's processes hold.
fn sockets_of(group: u32) -> HashSet<u64> {
    let mut sockets = HashSet::new();
    let Ok(processes) = fs::read_dir("/proc") else { return sockets };
    for process in processes.flatten() {
        let is_process = process.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_process || group_of(&process.path()) != Some(group) {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target
                .to_str()
                .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
            sockets.extend(inode);
        }
    }
    sockets
}

/// The process group, from `stat`: the third field after the command's closing parenthesis.
fn group_of(process: &std::path::Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?.parse().ok()
}
