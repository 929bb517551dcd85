//! What the kernel says of a process tree and of the machine, read from `/proc`.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

/// The kernel's unit of `utime` and `stime`: Linux reports 100 ticks a second to user space on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of a process tree since it started, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// All of it, from the scheduler's exact account (`schedstat`).
    pub total: f64,
    /// In user space, in ticks of 10 ms.
    pub user: f64,
    /// In the kernel, in ticks of 10 ms.
    pub system: f64,
}

/// Memory of a process tree in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Resident, pages shared between its processes counted for each.
    pub rss: u64,
    /// Resident, shared pages divided among those that share them.
    pub pss: u64,
}

/// A processor's account since boot, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Processor {
    /// Time that it did anything.
    pub busy: f64,
    /// Time that the host gave to others.
    pub steal: f64,
}

/// The process and all its descendants.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = BTreeSet::from([pid]);
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        for task in tasks(parent) {
            let children =
                fs::read_to_string(format!("/proc/{parent}/task/{task}/children")).unwrap_or_default();
            for child in children.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
                if found.insert(child) {
                    open.push(child);
                }
            }
        }
    }
    found.into_iter().collect()
}

fn tasks(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Processor time of every thread of these processes.
pub fn cpu_time(pids: &[u32]) -> CpuTime {
    let mut sum = CpuTime::default();
    for &pid in pids {
        for task in tasks(pid) {
            let base = format!("/proc/{pid}/task/{task}");
            let schedstat = fs::read_to_string(format!("{base}/schedstat")).unwrap_or_default();
            sum.total += parse_schedstat(&schedstat).unwrap_or(0.0);
            let stat = fs::read_to_string(format!("{base}/stat")).unwrap_or_default();
            if let Some((user, system)) = parse_stat(&stat) {
                sum.user += user;
                sum.system += system;
            }
        }
    }
    sum
}

/// Time on a processor, in seconds: the first number of `schedstat`, in nanoseconds.
pub(super) fn parse_schedstat(text: &str) -> Option<f64> {
    Some(text.split_ascii_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

/// User and system time in seconds: fields 14 and 15 of `stat`, counted after the name, which may hold anything.
pub(super) fn parse_stat(text: &str) -> Option<(f64, f64)> {
    let (_, after) = text.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    Some((fields.next()?? / TICKS_PER_SECOND, fields.next()?? / TICKS_PER_SECOND))
}

/// Memory of these processes together.
pub fn memory(pids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for &pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        sum.rss += parse_kilobytes(&rollup, "Rss:").unwrap_or(0);
        sum.pss += parse_kilobytes(&rollup, "Pss:").unwrap_or(0);
    }
    sum
}

/// The value of a `Name:  123 kB` line in bytes.
pub(super) fn parse_kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// One processor's account.
pub fn processor(number: usize) -> Result<Processor> {
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    parse_processor(&stat, number).with_context(|| format!("no processor {number} in /proc/stat"))
}

pub(super) fn parse_processor(stat: &str, number: usize) -> Option<Processor> {
    let name = format!("cpu{number} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name))?;
    let fields: Vec<f64> = line.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = fields.as_slice() else {
        return None;
    };
    let busy = (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
    Some(Processor { busy, steal: steal / TICKS_PER_SECOND })
}
