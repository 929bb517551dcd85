//! `dromon-proxy wait` and `dromon-proxy drain`: what a pod's lifecycle hooks run beside the proxy that serves.
//!
//! Short-lived programs of their own that ask the proxy's endpoints of this pod and nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one question may take.
const QUESTION_MAX: Duration = Duration::from_secs(5);
/// Most that an answer may be, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// `dromon-proxy wait`.
#[derive(Clone, Debug, clap::Args)]
pub struct Wait {
    /// Where the proxy tells its readiness
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15021")]
    pub health_addr: SocketAddr,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub at_most: u64,
}

/// `dromon-proxy drain`.
#[derive(Clone, Debug, clap::Args)]
pub struct Drain {
    /// The proxy's admin endpoints
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15000")]
    pub admin_addr: SocketAddr,
    /// Stay until no request and no TCP connection is under way
    #[arg(long)]
    pub until_idle: bool,
    /// With --until-idle: stay at least so long, since an application that is told to end may still begin something
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub at_least: u64,
    /// With --until-idle: stay at most so long
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    pub at_most: u64,
}

/// Waits for readiness; says on standard error what it waits for if that takes long.
pub fn wait(args: &Wait) -> ExitCode {
    let until = Instant::now() + Duration::from_secs(args.at_most);
    let mut last = String::new();
    loop {
        match ask(args.health_addr, "GET", "/healthz/ready") {
            Ok((200, _)) => return ExitCode::SUCCESS,
            Ok((_, why)) | Err(why) => {
                if why != last {
                    eprintln!("waiting for the proxy: {}", why.trim_end());
                    last = why;
                }
            }
        }
        if Instant::now() >= until {
            eprintln!("the proxy is not ready after {} s", args.at_most);
            return ExitCode::FAILURE;
        }
        sleep(PAUSE);
    }
}

/// Has the proxy drain. A proxy that does not answer has ended, so there is nothing to drain.
pub fn drain(args: &Drain) -> ExitCode {
    let begun = Instant::now();
    if let Err(why) = ask(args.admin_addr, "POST", "/drain") {
        eprintln!("nothing to drain: {why}");
        return ExitCode::SUCCESS;
    }
    let (least, most) = (Duration::from_secs(args.at_least), Duration::from_secs(args.at_most));
    while args.until_idle && begun.elapsed() < most {
        let idle = match ask(args.admin_addr, "GET", "/stats?format=json") {
            Ok((_, page)) => under_way(&page) == Some(0),
            Err(_) => return ExitCode::SUCCESS,
        };
        if idle && begun.elapsed() >= least {
            break;
        }
        sleep(PAUSE);
    }
    ExitCode::SUCCESS
}

/// Requests, streams and TCP connections under way, as `/stats` tells them. An idle connection is none: it has nothing to lose.
fn under_way(page: &str) -> Option<u64> {
    let page: serde_json::Value = serde_json::from_str(page).ok()?;
    let shards = page.get("shards")?.as_array()?;
    shards.iter().map(|shard| shard.pointer("/counts/requests_active")?.as_u64()).sum()
}

/// One request over a connection of its own: status and body.
fn ask(address: SocketAddr, method: &str, path: &str) -> Result<(u16, String), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, QUESTION_MAX).map_err(text)?;
    stream.set_read_timeout(Some(QUESTION_MAX)).map_err(text)?;
    stream.set_write_timeout(Some(QUESTION_MAX)).map_err(text)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(text)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
    let status =
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("an answer without a status")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests;
