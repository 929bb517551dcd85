//! `dromonctl analyze`: everything that is wrong or suspicious about a folder, before it is put in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dromon_k8s::analyze::analyze;
use dromon_k8s::diagnostic::{Diagnostic, Severity};
use dromon_k8s::mesh::Mesh;
use dromon_k8s::objects::ObjectSet;
use dromon_k8s::others::said_of_others;
use dromon_k8s::translate::translate;

use crate::local::{Gateway, Local, Port, Workload};
use crate::run::options::Output;
use crate::run::plan::Plan;
use crate::run::programs::GATEWAY;
use crate::source::folder::{Batch, Change, FileState, Folder};
use crate::store::files::Files;
use crate::store::identity;

/// Print every problem of a folder of rules, with file, object, field and a hint; exit with 1 if one is an error
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The folder, or one file
    #[arg(value_name = "DIR")]
    pub path: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Prints the findings; true if none is an error.
///
/// # Errors
/// The folder cannot be read.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let findings = findings(&read(&options.path)?);
    let count = |severity| findings.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match options.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&findings)?),
        Output::Text => {
            for found in &findings {
                println!("{found}");
            }
            println!("{}", summary(errors, warnings));
        }
    }
    Ok(errors == 0)
}

fn summary(errors: usize, warnings: usize) -> String {
    let some = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "no problems".into(),
        _ => format!("{}, {}", some(errors, "error"), some(warnings, "warning")),
    }
}

/// What is wrong with files: each on its own, across objects, and for the proxies that a run would start. Worst first.
pub fn findings(files: &Batch) -> Vec<Diagnostic> {
    let mut set = ObjectSet::new();
    let mut findings = Files::default().apply(&mut set, files);
    leave_out_others(&mut findings, files, &set);
    findings.extend(analyze(&set));
    let exact = per_proxy(&mut set);
    // What a proxy's own place makes clear is said once, by who knows.
    let same =
        |a: &Diagnostic, b: &Diagnostic| (&a.object, &a.field, &a.hint) == (&b.object, &b.field, &b.hint);
    findings.retain(|found| found.hint.is_empty() || !exact.iter().any(|it| same(it, found)));
    findings.extend(exact);
    let mut seen = std::collections::HashSet::new();
    findings.retain(|found| seen.insert(found.clone()));
    findings.sort_by(|a, b| {
        (a.severity, &a.file, a.line, &a.object).cmp(&(b.severity, &b.file, b.line, &b.object))
    });
    findings
}

/// What another controller's objects hold is not ours to judge. Which these are is known once all classes were read.
fn leave_out_others(findings: &mut Vec<Diagnostic>, files: &Batch, set: &ObjectSet) {
    for change in &files.changes {
        let FileState::Text(text) = &change.state else { continue };
        let theirs = said_of_others(text, set);
        let same = |a: &Diagnostic, b: &Diagnostic| {
            (&a.object, &a.field, &a.message) == (&b.object, &b.field, &b.message)
        };
        findings.retain(|found| found.file != change.file || !theirs.iter().any(|it| same(it, found)));
    }
}

/// What comes up only when a proxy's configuration is made.
fn per_proxy(set: &mut ObjectSet) -> Vec<Diagnostic> {
    let plan = Plan::new(set);
    let local = imagined(&plan);
    for workload in &local.workloads {
        set.insert_workload(identity::workload(workload));
    }
    let mesh = Mesh::new(set);
    let sidecars = plan.processes.keys().map(|id| format!("sidecar~{id}"));
    let gateway = format!("gateway~{}.{}", GATEWAY.0, GATEWAY.1);
    sidecars
        .chain([gateway])
        .filter_map(|id| identity::identity(&id, Some(&local), &mesh))
        .flat_map(|identity| translate(&mesh, &identity).diagnostics)
        .map(|found| set.located(found))
        .collect()
}

/// The run that a folder would make. Addresses do not matter for what is looked for, as long as they differ.
fn imagined(plan: &Plan) -> Local {
    let workloads = plan.processes.values().zip(0u16..).map(|(process, at)| {
        let [high, low] = at.to_be_bytes();
        Workload {
            name: process.name.clone(),
            namespace: process.namespace.clone(),
            labels: process.labels.clone(),
            service_account: process.service_account.clone(),
            sidecar: [127, 77, high, low].into(),
            application: [127, 78, high, low].into(),
            ports: process
                .life
                .ports
                .iter()
                .map(|(name, number)| Port { name: name.clone(), number: *number })
                .collect(),
            ready: true,
            admin: None,
            mtls: true,
            captured: false,
        }
    });
    Local {
        revision: 0,
        gateway: Some(Gateway {
            name: GATEWAY.0.into(),
            namespace: GATEWAY.1.into(),
            bind: [127, 0, 0, 1].into(),
            ports: BTreeMap::new(),
            refused_below: 0,
            admin: None,
        }),
        workloads: workloads.collect(),
        service_ports: BTreeMap::new(),
        service_addresses: BTreeMap::new(),
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<Batch> {
    if !path.is_file() {
        return Ok(Folder::open(path)?.1);
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let state = match std::fs::read_to_string(path) {
        Ok(text) => FileState::Text(Arc::from(text)),
        Err(error) => FileState::Unreadable(error.to_string()),
    };
    Ok(Batch { changes: vec![Change { file, state }], notes: Vec::new() })
}
