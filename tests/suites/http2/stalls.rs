//! Upstreams that take a part of a body, then nothing, and say nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use dromon_core::config::model::Protocol;
use dromon_tests::frames::{PREFACE, frame, kind};
use dromon_tests::skip;

use crate::start;

/// More than windows and buffers on the way hold.
const BODY_BYTES: usize = 32 * 1024 * 1024;

/// One that accepts connections, and reads none where its clients speak HTTP/1.
fn one_that_takes_nothing(http2: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            match http2 {
                true => drop(std::thread::spawn(move || without_window(stream))),
                false => kept.push(stream),
            }
        }
    });
    address
}

/// Reads what comes, answers pings and gives no window back.
fn without_window(mut stream: TcpStream) {
    let mut preface = [0; PREFACE.len()];
    let greeting = [frame(kind::SETTINGS, 0, 0, &[]), frame(kind::SETTINGS, 1, 0, &[])].concat();
    if stream.read_exact(&mut preface).is_err() || stream.write_all(&greeting).is_err() {
        return;
    }
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).is_err() {
            return;
        }
        let asks = head[3] == kind::PING && head[4] == 0;
        if asks && stream.write_all(&frame(kind::PING, 1, 0, &payload)).is_err() {
            return;
        }
    }
}

/// The client is told after the time that a stalled receiver has, where no rule has a timeout.
pub fn uploads(driver: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("body");
    std::fs::write(&file, vec![b'x'; BODY_BYTES]).expect("writable");
    let body = file.as_path();
    std::thread::scope(|scope| {
        for (program, upstream) in [
            ("curl", Protocol::Http2),
            ("curl", Protocol::Http),
            ("nghttp", Protocol::Http2),
            ("nghttp", Protocol::Http),
        ] {
            scope.spawn(move || {
                let address = one_that_takes_nothing(upstream == Protocol::Http2);
                let (_proxy, front) = start(driver, address, upstream, |_| {});
                let began = Instant::now();
                let mut command = Command::new(program);
                match program {
                    "curl" => {
                        command.args(["-sS", "-i", "--max-time", "90", "-H", "expect:", "--data-binary"])
                    }
                    // curl takes it ill that an answer ends before its upload.
                    _ => command.args(["-nv", "--timeout", "90", "-d"]),
                };
                let body = if program == "curl" {
                    format!("@{}", body.display())
                } else {
                    body.display().to_string()
                };
                let output = command.arg(body).arg(format!("http://{front}/")).output();
                let Ok(output) = output else { return skip("uploads", "curl or nghttp is missing") };
                let told = String::from_utf8_lossy(&output.stdout).into_owned();
                let answered = told.contains("HTTP/1.1 503") || told.contains(":status: 503");
                assert!(answered, "{driver}, {program} to {upstream:?}: {output:?}");
                assert!(began.elapsed() > Duration::from_secs(20), "{driver}: it had its time");
            });
        }
    });
}
