//! Which played proxy has been told of which change: each that should be, and nobody of what is not its own.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use dromon_core::config::model::Kind;
use tokio::sync::{mpsc, oneshot};

use super::DEADLINE;
use super::played::{Came, Told};
use super::world::Size;

/// What shows a change: an object's body that has a text, or has it no more.
#[derive(Clone, Debug)]
pub struct Sign {
    /// The object's kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The text.
    pub text: String,
    /// Whether it is to be there.
    pub is_there: bool,
}

impl Sign {
    fn shows_in(&self, came: &Came) -> bool {
        came.kind == self.kind && came.name == self.name && {
            let body = String::from_utf8_lossy(&came.body);
            body.contains(&self.text) == self.is_there
        }
    }
}

/// A change that proxies are to be told of.
struct Expected {
    sign: Sign,
    missing: BTreeSet<usize>,
    arrived: Vec<Instant>,
    done: oneshot::Sender<Result<Vec<Instant>>>,
}

/// Follows what played proxies tell.
#[derive(Clone)]
pub struct Tracker {
    size: Size,
    expecting: mpsc::UnboundedSender<Expected>,
}

impl Tracker {
    /// Starts to follow.
    pub fn start(size: Size, told: mpsc::UnboundedReceiver<Told>) -> Tracker {
        let (expecting, expected) = mpsc::unbounded_channel();
        tokio::spawn(follow(told, expected));
        Tracker { size, expecting }
    }

    /// From now on expects a change of a service at every proxy that uses it; the answer is when each was told.
    pub fn expect(&self, service: usize, sign: Sign) -> Arrivals {
        let uses = |proxy: &usize| self.size.used_by(*proxy).any(|it| it == service);
        let missing: BTreeSet<usize> = (0..self.size.proxies).filter(uses).collect();
        let what = format!("{:?} {}: {:?}", sign.kind, sign.name, sign.text);
        let (done, arrivals) = oneshot::channel();
        let count = missing.len();
        if missing.is_empty() {
            let _ = done.send(Ok(Vec::new()));
        } else {
            let _ = self.expecting.send(Expected { sign, missing, arrived: Vec::new(), done });
        }
        Arrivals { what, count, arrivals }
    }
}

/// The arrivals of a change to be.
pub struct Arrivals {
    what: String,
    count: usize,
    arrivals: oneshot::Receiver<Result<Vec<Instant>>>,
}

impl Arrivals {
    /// When each proxy was told.
    ///
    /// # Errors
    /// Not all were, or some proxy was told of what is not its own.
    pub async fn all(self) -> Result<Vec<Instant>> {
        let waited = tokio::time::timeout(DEADLINE, self.arrivals).await;
        waited
            .with_context(|| format!("{}: not all of {} proxies were told", self.what, self.count))?
            .context("a proxy was given what is not its own, or all have ended")?
    }
}

async fn follow(mut told: mpsc::UnboundedReceiver<Told>, mut expected: mpsc::UnboundedReceiver<Expected>) {
    let mut open: Vec<Expected> = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(change) = expected.recv() => open.push(change),
            next = told.recv() => match next {
                Some(Told::Came(came)) => arrived(&mut open, &came),
                Some(Told::Fed(_)) => {}
                Some(Told::Foreign(line)) => {
                    for change in open.drain(..) {
                        let _ = change.done.send(foreign(&line));
                    }
                    return;
                }
                None => return,
            },
        }
    }
}

fn foreign(line: &str) -> Result<Vec<Instant>> {
    bail!("{line}")
}

fn arrived(open: &mut Vec<Expected>, came: &Came) {
    for change in open.iter_mut().filter(|it| it.sign.shows_in(came)) {
        if change.missing.remove(&came.proxy) {
            change.arrived.push(came.at);
        }
    }
    let complete = |it: &mut Expected| it.missing.is_empty();
    for change in open.extract_if(.., complete) {
        let _ = change.done.send(Ok(change.arrived));
    }
}
