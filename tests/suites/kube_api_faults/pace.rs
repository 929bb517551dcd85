//! How busy the machine is: what a test may hold a duration against.

use std::time::Instant;

/// Ticks of processor time that are used up to see how long they take; a tick is a hundredth of a second.
const TICKS: u64 = 15;

/// How many times as long as on an idle machine a thread's work takes now: the time that passes while it uses up some of a
/// processor's. Never below 1.
pub fn stretch() -> f64 {
    // A tick is counted at its end, so the first one only begins the measurement.
    let first = used();
    while used() == first {
        std::hint::spin_loop();
    }
    let (begun, from) = (Instant::now(), used());
    while used() < from + TICKS {
        std::hint::spin_loop();
    }
    let idle = TICKS as f64 / 100.0;
    (begun.elapsed().as_secs_f64() / idle).max(1.0)
}

/// How many threads want each processor just now, this one included. What many processes do in turn takes as many times as long, though
/// each of them gets its processor soon.
pub fn crowd() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").expect("the kernel tells");
    // proc_loadavg(5): the fourth field is `runnable/all`.
    let running = text.split(' ').nth(3).and_then(|it| it.split('/').next()).and_then(|it| it.parse().ok());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    running.unwrap_or(1.0) / processors as f64
}

/// Ticks that this thread has used.
fn used() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("the kernel tells");
    // proc_pid_stat(5): after the name, in brackets, `utime` and `stime` are the 12th and 13th.
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    let ticks = rest.split(' ').skip(11).take(2).map(|it| it.parse::<u64>().expect("a number"));
    ticks.sum()
}
