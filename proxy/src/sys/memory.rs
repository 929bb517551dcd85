//! Giving back memory that only the start needed.

use std::fs;

/// A mapping of this process: where it begins and how long it is, in bytes.
type Mapping = (usize, usize);

/// Drops the code pages of this process from its resident set, and the allocator's free pages with them. Starting touches
/// most of the program (command line, configuration, compiling) and an idle proxy very little of it; what is needed again
/// comes back from the page cache by itself, one minor fault at a time.
pub fn give_back() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(code) {
        // SAFETY: the range is a mapping of a file, executable and not writable, so its pages are clean copies of the file
        // and a later access reads them again. A mapping that has changed meanwhile makes the call fail, no more: the
        // program unloads no code.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    // SAFETY: takes the allocator's own locks and touches only what it knows to be free.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// A line of `/proc/self/maps` (proc_pid_maps(5)), if it maps a file's code.
fn code(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if permissions != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests;
