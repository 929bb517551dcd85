//! `dromonctl status`: who is connected, who has what is in force, what is refused or waits.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Which, list, page, text};
use crate::run::options::Output;
use crate::run::supervisor::Ready;

/// Print how a running local mesh is: proxies with what they have, routes that wait, what is refused; exit with 1 if
/// anything is amiss
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Which run
    #[command(flatten)]
    pub which: Which,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Prints the status; true if all is well.
///
/// # Errors
/// No run is found, or its controller does not answer.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let run = options.which.find()?;
    let controller = page(run.controller, "/status").await?;
    let mut proxies = Map::new();
    for (name, address) in &run.admin {
        let answer = page(*address, "/stats?format=json").await;
        let ready = answer.as_ref().ok().and_then(|stats| stats["ready"].as_bool()).unwrap_or(false);
        let why = match &answer {
            Ok(stats) => text(stats, "/notReadyBecause").to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let known = entry(&controller, name);
        proxies.insert(
            name.clone(),
            json!({
                "admin": address,
                "ready": ready,
                "notReadyBecause": why,
                "synced": known.map(|known| known["synced"] == controller["version"]),
                "nacks": known.map(|known| known["nacks"].clone()),
            }),
        );
    }
    let well = is_well(&run, &controller, &proxies);
    match options.output {
        Output::Json => {
            let status = json!({
                "runDir": run.run_dir,
                "controller": controller,
                "proxies": proxies,
                "processes": run.processes,
            });
            println!("{status:#}");
        }
        Output::Text => print!("{}", describe(&run, &controller, &proxies)),
    }
    Ok(well)
}

/// What the controller knows of a proxy.
fn entry<'a>(controller: &'a Value, name: &str) -> Option<&'a Value> {
    let is_it = |id: &str| match id.split_once('~') {
        Some(("gateway", _)) => name == "gateway",
        Some((_, workload)) => workload == name,
        None => false,
    };
    list(controller, "/proxies").iter().find(|proxy| is_it(text(proxy, "/proxy")))
}

fn is_well(run: &Ready, controller: &Value, proxies: &Map<String, Value>) -> bool {
    let processes = run.processes.iter().all(|process| process.ready);
    let proxies = proxies
        .values()
        .all(|proxy| proxy["ready"] == true && proxy["synced"] == true && list(proxy, "/nacks").is_empty());
    let nothing = |what: &str| controller[what].as_object().is_none_or(Map::is_empty);
    processes && proxies && ["held", "kept", "unresolved"].into_iter().all(nothing)
}

fn describe(run: &Ready, controller: &Value, proxies: &Map<String, Value>) -> String {
    let mut out = format!(
        "run {}: version {}, {} objects\n",
        run.run_dir.display(),
        controller["version"],
        controller["objects"]
    );
    let width = proxies.keys().map(String::len).max().unwrap_or(0);
    for (name, proxy) in proxies {
        let ready = if proxy["ready"] == true { "ready" } else { "not ready" };
        let synced = match proxy["synced"].as_bool() {
            Some(true) => "has what is in force",
            Some(false) => "is behind",
            None => "is not connected",
        };
        let admin = text(proxy, "/admin");
        out.push_str(&format!("{name:width$}  {admin:17}  {ready}, {synced}\n"));
        let why = text(proxy, "/notReadyBecause");
        if !why.is_empty() {
            out.push_str(&format!("{:width$}  {why}\n", ""));
        }
        if run.processes.iter().any(|process| process.name == *name && !process.ready) {
            out.push_str(&format!("{:width$}  its process is not ready and gets no requests\n", ""));
        }
        for nack in list(proxy, "/nacks") {
            let (kind, refused) = (text(nack, "/kind"), text(nack, "/name"));
            out.push_str(&format!("{:width$}  refuses {kind} {refused}: {}\n", "", text(nack, "/reason")));
        }
    }
    let told = [
        ("held", "waits for"),
        ("kept", "is defined no more and stays until no route names it:"),
        ("unresolved", "names what does not exist:"),
    ];
    for (what, verb) in told {
        for (object, missing) in controller[what].as_object().into_iter().flatten() {
            let missing: Vec<&str> = list(missing, "").iter().filter_map(Value::as_str).collect();
            out.push_str(&format!("{object} {verb} {}\n", missing.join(", ")));
        }
    }
    let findings = list(controller, "/diagnostics").len();
    if findings > 0 {
        out.push_str(&format!("{findings} findings about the rules: see dromonctl analyze\n"));
    }
    out
}
