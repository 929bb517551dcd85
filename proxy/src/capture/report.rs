//! What was done, for people and programs.

use std::fmt;

use dromon_core::capture::{Family, Mode, Plan, Settings, TO_APPLICATION_V6, iptables, nftables};
use serde_json::{Value, json};

/// What was done, or would be.
#[derive(Debug)]
pub struct Report {
    /// What carries the rules to the kernel, with the back-end of iptables.
    pub means: String,
    /// By family.
    pub families: Vec<Outcome>,
}

/// What became of a family's rules.
#[derive(Debug)]
pub struct Outcome {
    /// The family.
    pub family: Family,
    /// In a word.
    pub state: State,
    /// Why, or what to know besides; may be empty.
    pub detail: String,
}

/// What became of a family's rules, in a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// They were installed.
    Installed,
    /// They were in force already.
    Unchanged,
    /// There were some and they are gone.
    Removed,
    /// There were none and there are none.
    Absent,
    /// They are left out.
    Skipped,
    /// This is what would be installed.
    Printed(String),
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Installed => "installed",
            State::Unchanged => "unchanged",
            State::Removed => "removed",
            State::Absent => "absent",
            State::Skipped => "skipped",
            State::Printed(_) => "printed",
        }
    }
}

impl Report {
    /// As one JSON object.
    pub fn json(&self) -> Value {
        let family = |outcome: &Outcome| {
            let (family, state) = (outcome.family.name(), outcome.state.name());
            let mut value = json!({ "family": family, "state": state, "detail": outcome.detail });
            if let (State::Printed(rules), Some(fields)) = (&outcome.state, value.as_object_mut()) {
                fields.insert("rules".to_owned(), json!(rules));
            }
            value
        };
        json!({ "means": self.means, "families": self.families.iter().map(family).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Outcome { family, state, detail } in &self.families {
            if let State::Printed(rules) = state {
                writeln!(f, "# {}: {detail}", family.name())?;
                f.write_str(rules)?;
                continue;
            }
            let means = match state {
                State::Installed | State::Unchanged => format!(" ({})", self.means),
                _ => String::new(),
            };
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            writeln!(f, "{}: {}{means}{detail}", family.name(), state.name())?;
        }
        Ok(())
    }
}

/// What would be installed where nothing is.
pub fn print(settings: &Settings) -> Report {
    let families = Family::ALL.into_iter().filter(|family| settings.ipv6 || *family == Family::V4);
    let outcome = |family| {
        let plan = Plan::new(settings, family);
        let (rules, program) = match (settings.mode, family) {
            (Mode::Iptables, Family::V4) => {
                (iptables::install(&plan, &Default::default()), "iptables-restore --noflush")
            }
            (Mode::Iptables, Family::V6) => {
                (iptables::install(&plan, &Default::default()), "ip6tables-restore --noflush")
            }
            (Mode::Nftables, _) => (nftables::install(&plan), "nft -f -"),
        };
        let detail = match family {
            Family::V4 => program.to_owned(),
            Family::V6 => format!("{program}, with {TO_APPLICATION_V6}/128 added to lo"),
        };
        Outcome { family, state: State::Printed(rules), detail }
    };
    Report { means: settings.mode.name().to_owned(), families: families.map(outcome).collect() }
}
