//! Keeping memory small: few arenas, and giving back what only the start, or a new table on its way, needed.

use std::fs;

/// A mapping of this process: where it begins and how long it is, in bytes.
type Mapping = (usize, usize);

/// Has the allocator make no more arenas than this, its first one included; to be called before any other thread runs.
///
/// By itself it gives every thread one of its own. What lives on in the arena of a thread that compiles a table, say, then lies
/// among what that thread has freed, and neither has room for the other's.
pub fn limit_arenas(count: usize) {
    // SAFETY: sets a number of the allocator's own, under its lock (mallopt(3)); it makes arenas only for further threads.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, libc::c_int::try_from(count.max(1)).unwrap_or(libc::c_int::MAX))
    };
}

/// Drops the pages of this process that are clean copies of files (code, constants) from its resident set, and the
/// allocator's free pages with them. Starting touches most of the program (command line, configuration, compiling) and an
/// idle proxy very little of it; what is needed again comes back from the page cache by itself, one minor fault at a time.
pub fn give_back() {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (start, length) in clean(&smaps) {
        // SAFETY: the range is a private mapping of a file that cannot be written and of which no page differs from the file,
        // in memory or in swap, so a later access reads the same bytes again. A mapping that has changed meanwhile makes the
        // call fail, no more: the program unloads no code, and what the loader relocates it has relocated before `main`.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    // SAFETY: takes the allocator's own locks and touches only what it knows to be free.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// The mappings of `/proc/self/smaps` (proc_pid_smaps(5)) that are files, read-only, and as the files are.
fn clean(smaps: &str) -> Vec<Mapping> {
    let mut clean = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        match line.split_once(':') {
            Some(("Anonymous" | "Swap", amount)) if amount.trim() != "0 kB" => candidate = None,
            // The last line of each.
            Some(("VmFlags", _)) => clean.extend(candidate.take()),
            Some((name, _)) if !name.contains('-') => {}
            _ => candidate = read_only(line),
        }
    }
    clean
}

/// A mapping's first line, if it maps a file that it cannot write to.
fn read_only(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if !matches!(permissions, "r-xp" | "r--p") || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests;
