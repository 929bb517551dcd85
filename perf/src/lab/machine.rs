//! Which machine this is, for the report.

use std::fs;

use anyhow::{Result, bail};
use dromon_core::date::civil;

use super::result::Machine;
use crate::rig::cpu;

/// Describes this machine and chooses the processors: the last one for the proxy, the one before for the rig.
pub fn describe() -> Result<Machine> {
    let allowed = cpu::allowed()?;
    let [.., rig_cpu, proxy_cpu] = allowed.as_slice() else {
        bail!("the lab needs two processors: one for the proxy alone, one for generator and origin");
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |text: &str, name: &str, separator: char| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(separator)
            .map(|(_, value)| value.trim().trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let kilobytes = super::proc::parse_kilobytes(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0);
    let virtual_machine = cpuinfo.contains(" hypervisor");
    Ok(Machine {
        processor: field(&cpuinfo, "model name", ':'),
        processors: allowed.len(),
        proxy_cpu: *proxy_cpu,
        rig_cpu: *rig_cpu,
        memory_mib: kilobytes / (1024 * 1024),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        hypervisor: if virtual_machine { "virtual machine".into() } else { String::new() },
        system: field(&read("/etc/os-release"), "PRETTY_NAME", '='),
    })
}

/// Now, as UTC in ISO 8601.
pub fn now() -> String {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(since / 86_400);
    let (hour, minute) = (since / 3_600 % 24, since / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z")
}
