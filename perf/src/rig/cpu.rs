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
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("pinning to processor {cpu}"))
}

/// Raises the soft limit of open descriptors to at least `wanted`, and the hard one too where that is allowed.
pub fn allow_descriptors(wanted: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = now.maximum.map(|maximum| maximum.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).with_context(|| {
        format!(
            "raising the limit of open files to {wanted} (hard limit {:?}); try `ulimit -Hn`",
            now.maximum
        )
    })
}

/// Makes this thread's timed waits as exact as the kernel can: the default slack of 50 µs would show in a latency.
pub fn exact_timers() -> Result<()> {
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).context("setting the timer slack")
}
