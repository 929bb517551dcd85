//! Commands that ask a running local mesh: what is in force where, and what would happen to a request.
//!
//! The run is found through its run directory; the answers come from the proxies and the controller themselves, so they are
//! about what is in force and not about what was meant.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hyper::body::Bytes;
use serde_json::Value;

use crate::run::command::RUN_FILE;
use crate::run::supervisor::Ready;
use crate::run::{paths, probe};

pub mod certs;
pub mod certs_cluster;
pub mod explain;
pub mod routes;
pub mod status;
#[cfg(test)]
mod tests;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Which run is asked.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// The run's directory; that of the run started last unless given
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}

impl Which {
    /// What the run said when it was ready.
    ///
    /// # Errors
    /// No run is found, or it is not ready yet.
    pub fn find(&self) -> anyhow::Result<Ready> {
        let directory = match &self.run_dir {
            Some(directory) => directory.clone(),
            None => match paths::living().into_iter().next() {
                Some(directory) => directory,
                None => bail!(
                    "no run is found below {}: start one with `dromonctl run`, or name it with --run-dir",
                    paths::base().display()
                ),
            },
        };
        if !paths::alive(&directory) {
            bail!("no run lives in {}", directory.display());
        }
        let path = directory.join(RUN_FILE);
        read(&path).with_context(|| format!("the run in {} is not ready yet", directory.display()))
    }
}

fn read(path: &Path) -> anyhow::Result<Ready> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// The admin address of a proxy: `gateway`, `NAME.NAMESPACE`, or `NAME` where that is clear.
///
/// # Errors
/// There is none of that name, or several.
pub fn admin_of(run: &Ready, name: &str) -> anyhow::Result<SocketAddr> {
    let mut found = run
        .admin
        .iter()
        .filter(|(known, _)| *known == name || known.split_once('.').is_some_and(|(short, _)| short == name));
    match (found.next(), found.next()) {
        (Some((_, address)), None) => Ok(*address),
        (Some(_), Some(_)) => bail!("several proxies are called {name}: add the namespace"),
        (None, _) => {
            let names: Vec<&str> = run.admin.keys().map(String::as_str).collect();
            bail!("no proxy {name}; there are: {}", names.join(", "))
        }
    }
}

/// A page as JSON.
///
/// # Errors
/// Nobody answers, or not with JSON.
pub async fn page(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let (status, body) = probe::http(http::Method::GET, address, path, ANSWER)
        .await
        .with_context(|| format!("http://{address}{path}"))?;
    understood(address, path, status, &body)
}

/// The answer to a question in JSON, as JSON.
///
/// # Errors
/// Nobody answers, or the question is refused.
pub async fn ask(address: SocketAddr, path: &str, question: &Value) -> anyhow::Result<Value> {
    let (status, body) = probe::post(address, path, Bytes::from(question.to_string()), ANSWER)
        .await
        .with_context(|| format!("http://{address}{path}"))?;
    understood(address, path, status, &body)
}

fn understood(address: SocketAddr, path: &str, status: u16, body: &[u8]) -> anyhow::Result<Value> {
    if status != 200 {
        bail!("{}", String::from_utf8_lossy(body).trim());
    }
    serde_json::from_slice(body).with_context(|| format!("http://{address}{path} does not answer in JSON"))
}

/// A text field, empty where it is not there.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list, empty where it is not there.
fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
