//! What people see of a run: each process's lines on standard error under its name, progress while it starts.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest line passed on in one piece, in bytes; a longer one is cut there.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Writes a line about the run itself.
pub fn say(line: &str) {
    write(&format!("dromonctl: {line}\n"));
}

/// Writes a line in another process's name.
pub fn said(name: &str, line: &str) {
    write(&format!("{name} | {line}\n"));
}

/// How the start is going, on a terminal only; the next line replaces it.
pub fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        write(&format!("\r\x1b[2K{text}\r"));
    }
}

fn write(text: &str) {
    // One write per line keeps the lines of several writers whole; nobody can be told that standard error is gone.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Passes on what a process writes, line by line, until it closes its end; lines with one of `muted` in them are left out.
pub async fn follow(name: String, from: impl AsyncRead + Unpin, muted: &[&str]) {
    let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, from);
    let mut line = Vec::new();
    loop {
        let (taken, complete, closed) = match reader.fill_buf().await {
            Ok([]) | Err(_) => (0, !line.is_empty(), true),
            Ok(buffer) => match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(buffer.get(..end).unwrap_or_default());
                    (end + 1, true, false)
                }
                None => {
                    line.extend_from_slice(buffer);
                    (buffer.len(), line.len() >= LINE_BYTES_MAX, false)
                }
            },
        };
        reader.consume(taken);
        if complete {
            let text = String::from_utf8_lossy(&line);
            if !muted.iter().any(|muted| text.contains(muted)) {
                said(&name, text.trim_end_matches('\r'));
            }
            line.clear();
        }
        if closed {
            return;
        }
    }
}

/// A duration as people say it.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
