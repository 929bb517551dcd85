//! Where this process runs and how much it may open: affinity, descriptor limit, timer slack.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The numbers of the processors that this process may use, in rising order.
pub fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("reading this process's CPU affinity")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Pins the calling thread, and what it starts from now on, to one processor.
pub fn pin(cpu: usize) -> Result<()> {
    pin_to(&[cpu])
}

/// Pins the calling thread, and what it starts from now on, to these processors.
pub fn pin_to(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|&cpu| set.set(cpu));
    sched_setaffinity(None, &set).with_context(|| format!("pinning to processors {cpus:?}"))
}

/// Raises the soft limit of open descriptors to `wanted`, or as near to it as the hard limit allows, and returns it.
pub fn allow_descriptors(wanted: u64) -> Result<u64> {
    let now = getrlimit(Resource::Nofile);
    let Some(current) = now.current.filter(|&current| current < wanted) else {
        return Ok(now.current.unwrap_or(u64::MAX));
    };
    let attainable = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let higher = Rlimit { current: Some(wanted), maximum: now.maximum.map(|maximum| maximum.max(wanted)) };
    if setrlimit(Resource::Nofile, higher).is_ok() {
        return Ok(wanted);
    }
    let within = Rlimit { current: Some(attainable), maximum: now.maximum };
    setrlimit(Resource::Nofile, within)
        .with_context(|| format!("raising the limit of open files from {current} to {attainable}"))?;
    Ok(attainable)
}

/// Makes this thread's timed waits as exact as the kernel can: the default slack of 50 µs would show in a latency.
pub fn exact_timers() -> Result<()> {
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).context("setting the timer slack")
}

/// Gives this process, and what it starts from now on, precedence over all others that have no priority of their own.
pub fn first_in_line() -> Result<()> {
    rustix::process::setpriority_process(None, -20)
        .context("raising the scheduling priority; only root may")?;
    // Where the kernel groups by session, a priority counts within the session only and the group has one of its own.
    let group = "/proc/self/autogroup";
    if std::path::Path::new(group).exists() {
        std::fs::write(group, "-20").with_context(|| format!("writing {group}"))?;
    }
    Ok(())
}
