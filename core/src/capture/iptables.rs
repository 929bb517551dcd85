//! The plan as input of `iptables-restore --noflush`, and what `iptables-save` says of the rules in force.
//!
//! One transaction a family: the kernel has the rules of before or those of after, never a part. Rules of others in the same
//! table stay as they are.

use std::fmt::Write;

use super::{Chain, Cidr, Condition, Hook, Interface, Plan, Rule, Verdict};

/// What the names of our chains begin with.
const PREFIX: &str = "DROMON_";

/// What of a plan is in force, as `iptables-save -t nat` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Our chains, with their rules as listed.
    chains: Vec<(String, Vec<String>)>,
    /// Rules of the table's own chains that lead to ours, as listed, and whether each is its chain's first rule.
    jumps: Vec<(String, bool)>,
}

impl InForce {
    /// Reads what `iptables-save` or `ip6tables-save` has written; other tables than `nat` are passed over.
    pub fn read(saved: &str) -> InForce {
        let mut found = InForce::default();
        let mut is_nat = false;
        let mut begun: Vec<&str> = Vec::new();
        for line in saved.lines().map(str::trim) {
            if let Some(table) = line.strip_prefix('*') {
                is_nat = table == "nat";
            } else if !is_nat {
                continue;
            } else if let Some(chain) = line.strip_prefix(':') {
                let name = chain.split_whitespace().next().unwrap_or_default();
                if name.starts_with(PREFIX) {
                    found.chains.push((name.to_owned(), Vec::new()));
                }
            } else if let Some(rest) = line.strip_prefix("-A ") {
                let name = rest.split_whitespace().next().unwrap_or_default();
                let is_first = !begun.contains(&name);
                begun.push(name);
                let own = found.chains.iter_mut().find(|(chain, _)| chain == name);
                match own {
                    Some((_, rules)) => rules.push(line.to_owned()),
                    None if leads_to_ours(rest) => found.jumps.push((line.to_owned(), is_first)),
                    None => {}
                }
            }
        }
        found
    }

    /// Nothing of ours is there.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.jumps.is_empty()
    }

    /// How this differs from a plan, for people; none: it is the plan.
    pub fn difference(&self, plan: &Plan) -> Option<String> {
        let wanted: Vec<String> = plan.chains.iter().filter_map(jump).collect();
        for jump in &wanted {
            match self
                .jumps
                .iter()
                .filter(|(found, _)| same(found, &format!("-A {jump}")))
                .collect::<Vec<_>>()[..]
            {
                [] => return Some(format!("there is no rule {jump:?}")),
                [(_, true)] => {}
                [(_, false)] => return Some(format!("other rules come before {jump:?}")),
                _ => return Some(format!("the rule {jump:?} is there more than once")),
            }
        }
        if self.jumps.len() != wanted.len() {
            return Some("other rules lead to the chains of the capture".to_owned());
        }
        for chain in &plan.chains {
            let name = chain_name(chain.name);
            let Some((_, found)) = self.chains.iter().find(|(found, _)| *found == name) else {
                return Some(format!("there is no chain {name}"));
            };
            let wanted: Vec<String> = rules(chain).collect();
            if found.len() != wanted.len() {
                return Some(format!("chain {name} has {} rules, not {}", found.len(), wanted.len()));
            }
            if let Some((found, wanted)) =
                found.iter().zip(&wanted).find(|(found, wanted)| !same(found, wanted))
            {
                return Some(format!("chain {name} has {found:?} in place of {wanted:?}"));
            }
        }
        let stray = |name: &&String| !plan.chains.iter().any(|chain| chain_name(chain.name) == **name);
        let stray = self.chains.iter().map(|(name, _)| name).find(stray);
        stray.map(|name| format!("chain {name} is there too"))
    }
}

/// What brings a family from what is in force to the plan.
pub fn install(plan: &Plan, in_force: &InForce) -> String {
    let chains = plan.chains.iter().map(|chain| (chain_name(chain.name), rules(chain).collect()));
    let jumps = plan.chains.iter().filter_map(jump).map(|jump| (format!("-A {jump}"), true));
    replace(in_force, &InForce { chains: chains.collect(), jumps: jumps.collect() })
}

/// What takes everything of ours away.
pub fn remove(in_force: &InForce) -> String {
    replace(in_force, &InForce::default())
}

/// What brings a family from one state to another.
pub fn replace(from: &InForce, to: &InForce) -> String {
    let mut script = String::from("*nat\n");
    let stale = |(name, _): &&(String, _)| !to.chains.iter().any(|(wanted, _)| wanted == name);
    let stale: Vec<&String> = from.chains.iter().filter(stale).map(|(name, _)| name).collect();
    // To name a chain is to empty it.
    let named = to.chains.iter().map(|(name, _)| name).chain(stale.iter().copied());
    write_lines(&mut script, named.map(|name| format!(":{name} - [0:0]")));
    write_lines(&mut script, from.jumps.iter().map(|(jump, _)| jump.replacen("-A ", "-D ", 1)));
    write_lines(&mut script, to.chains.iter().flat_map(|(_, rules)| rules.iter().cloned()));
    write_lines(&mut script, stale.iter().map(|name| format!("-X {name}")));
    // Last, and first in their chains: a rule of others before them would keep connections from them.
    let at_first = |jump: &str| {
        let mut words = jump.splitn(3, ' ');
        let (_, chain, rest) =
            (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        format!("-I {chain} 1 {rest}")
    };
    write_lines(&mut script, to.jumps.iter().map(|(jump, _)| at_first(jump)));
    script.push_str("COMMIT\n");
    script
}

fn write_lines(script: &mut String, lines: impl Iterator<Item = String>) {
    for line in lines {
        script.push_str(&line);
        script.push('\n');
    }
}

fn chain_name(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// The rule that leads from a hook to its chain, without `-A`.
fn jump(chain: &Chain) -> Option<String> {
    let from = match chain.hook? {
        Hook::Prerouting => "PREROUTING",
        Hook::Output => "OUTPUT",
    };
    Some(format!("{from} -p tcp -j {}", chain_name(chain.name)))
}

fn rules(chain: &Chain) -> impl Iterator<Item = String> {
    chain.rules.iter().map(|rule| format!("-A {}{}", chain_name(chain.name), text(rule)))
}

/// A rule as `iptables-save` lists it: addresses, interfaces, protocol, matches, target.
fn text(rule: &Rule) -> String {
    let (mut addresses, mut interfaces, mut matches) = (String::new(), String::new(), String::new());
    let is_port = |condition: &Condition| matches!(condition, Condition::Port(_));
    let is_tcp = rule.conditions.iter().any(is_port) || matches!(rule.verdict, Verdict::Redirect(_));
    for condition in &rule.conditions {
        let _ = match condition {
            Condition::From(range) => write!(addresses, " -s {range}"),
            Condition::To(range) => write!(addresses, " -d {range}"),
            Condition::NotTo(range) => write!(addresses, " ! -d {range}"),
            Condition::Through(Interface::In(name)) => write!(interfaces, " -i {name}"),
            Condition::Through(Interface::Out(name)) => write!(interfaces, " -o {name}"),
            Condition::Port(port) => write!(matches, " -m tcp --dport {port}"),
            Condition::User(id) => write!(matches, " -m owner --uid-owner {id}"),
            Condition::Group(id) => write!(matches, " -m owner --gid-owner {id}"),
        };
    }
    let protocol = if is_tcp { " -p tcp" } else { "" };
    let target = match rule.verdict {
        Verdict::Return => "RETURN".to_owned(),
        Verdict::Jump(chain) => chain_name(chain),
        Verdict::Redirect(port) => format!("REDIRECT --to-ports {port}"),
    };
    format!("{addresses}{interfaces}{protocol}{matches} -j {target}")
}

fn leads_to_ours(rule: &str) -> bool {
    let mut words = rule.split_whitespace();
    words.any(|word| matches!(word, "-j" | "-g")) && words.next().is_some_and(|it| it.starts_with(PREFIX))
}

/// Whether two rules are the same but for how they spell addresses.
fn same(found: &str, wanted: &str) -> bool {
    let canonical = |word: &str| Cidr::parse(word).map_or_else(|| word.to_owned(), |range| range.to_string());
    found.split_whitespace().map(canonical).eq(wanted.split_whitespace().map(canonical))
}
