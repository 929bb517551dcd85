//! Steady requests from several connections while a test changes the mesh under them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::{Connection, Response};

/// What a load saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Answers that passed the check.
    pub good: u64,
    /// Texts of what went wrong, at most 20 for each connection.
    pub failures: Vec<String>,
    /// Connections closed by the other side between requests.
    pub drained: u64,
}

/// A running load; [`Load::stop`] ends it.
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Outcome>>,
}

impl Load {
    /// Starts `connections` kept-alive connections that each send a GET, check the answer, pause and go on.
    pub fn start(
        address: SocketAddr,
        connections: usize,
        path: &'static str,
        pause: Duration,
        check: impl Fn(&Response) -> Result<(), String> + Send + Sync + 'static,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let good = Arc::new(AtomicU64::new(0));
        let check = Arc::new(check);
        let run = |_| {
            let (stop, good, check) = (Arc::clone(&stop), Arc::clone(&good), Arc::clone(&check));
            std::thread::spawn(move || client(address, path, pause, &stop, &good, check.as_ref()))
        };
        let threads = (0..connections).map(run).collect();
        Load { stop, good, threads }
    }

    /// Good answers so far.
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// Ends the load and says what it saw.
    ///
    /// # Panics
    /// If a client thread panicked.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Outcome::default();
        for thread in self.threads {
            let one = thread.join().expect("a client thread does not panic");
            sum.good += one.good;
            sum.drained += one.drained;
            sum.failures.extend(one.failures);
        }
        sum
    }
}

fn client(
    address: SocketAddr,
    path: &str,
    pause: Duration,
    stop: &AtomicBool,
    good: &AtomicU64,
    check: &(dyn Fn(&Response) -> Result<(), String> + Send + Sync),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) && outcome.failures.len() < 20 {
        let mut open = match connection.take().map_or_else(|| Connection::open(address), Ok) {
            Ok(open) => open,
            Err(error) => {
                outcome.failures.push(format!("connect: {error}"));
                continue;
            }
        };
        match open.send("GET", path, &[], b"") {
            Ok(response) => {
                match check(&response) {
                    Ok(()) => {
                        outcome.good += 1;
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(why) => outcome.failures.push(why),
                }
                if response.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close")) {
                    outcome.drained += 1;
                } else {
                    connection = Some(open);
                }
            }
            Err(error) => outcome.failures.push(format!("request: {error}")),
        }
        std::thread::sleep(pause);
    }
    outcome
}
