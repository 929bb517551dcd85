//! The plan as input of `nft -f`, and what `nft list table` says of the rules in force.
//!
//! A table of its own for each family, replaced in one transaction.

use std::fmt::Write;

use super::{Chain, Cidr, Condition, Family, Hook, Interface, Plan, Rule, Verdict};

/// The name of our tables.
const TABLE: &str = "dromon";

/// What installs the plan in place of whatever is there.
pub fn install(plan: &Plan) -> String {
    replace(plan.family, &listing(plan))
}

/// What puts a listing of the family's table in place of whatever is there.
pub fn replace(family: Family, listing: &str) -> String {
    format!("{}{listing}", remove(family))
}

/// What takes everything of ours away.
pub fn remove(family: Family) -> String {
    // A table can be removed only where it is; to add one that is there is no error.
    let table = table(family);
    format!("add table {table}\ndelete table {table}\n")
}

/// A family's table, as `nft list table` wants it.
pub fn table(family: Family) -> String {
    format!("{} {TABLE}", keyword(family))
}

/// Whether `nft list tables` names a family's table.
pub fn is_listed(tables: &str, family: Family) -> bool {
    let own = table(family);
    tables.lines().any(|line| line.trim().strip_prefix("table ").is_some_and(|it| it.trim() == own))
}

/// How a listing of the family's table differs from a plan, for people; none: it is the plan.
pub fn difference(listed: &str, plan: &Plan) -> Option<String> {
    let wanted = listing(plan);
    let (wanted, found) = (lines(&wanted), lines(listed));
    let mut pairs = wanted.iter().zip(&found);
    if let Some((wanted, found)) = pairs.find(|(wanted, found)| wanted != found) {
        return Some(format!("{found:?} is there in place of {wanted:?}"));
    }
    let counts = (found.len(), wanted.len());
    (counts.0 != counts.1).then(|| format!("the table has {} lines, not {}", counts.0, counts.1))
}

fn keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

/// The plan as `nft list table` shows it. A hook has a chain of its own, since rules lead to ours from elsewhere too.
fn listing(plan: &Plan) -> String {
    let mut text = format!("table {} {{\n", table(plan.family));
    for chain in &plan.chains {
        let _ = writeln!(text, "\tchain {} {{", chain.name);
        for rule in &chain.rules {
            let _ = writeln!(text, "\t\t{}", line(rule, plan.family));
        }
        text.push_str("\t}\n\n");
    }
    for chain in &plan.chains {
        if let Some(hook) = chain.hook {
            write_hook(&mut text, chain, hook);
        }
    }
    text.push_str("}\n");
    text
}

fn write_hook(text: &mut String, chain: &Chain, hook: Hook) {
    let name = match hook {
        Hook::Prerouting => "prerouting",
        Hook::Output => "output",
    };
    // Where the kernel rewrites destinations (NF_IP_PRI_NAT_DST).
    let _ = write!(
        text,
        "\tchain {name} {{\n\t\ttype nat hook {name} priority -100; policy accept;\n\
         \t\tmeta l4proto tcp jump {}\n\t}}\n\n",
        chain.name
    );
}

fn line(rule: &Rule, family: Family) -> String {
    let ip = keyword(family);
    let mut words: Vec<String> = rule
        .conditions
        .iter()
        .map(|condition| match condition {
            Condition::Through(Interface::In(name)) => format!("iifname \"{name}\""),
            Condition::Through(Interface::Out(name)) => format!("oifname \"{name}\""),
            Condition::From(range) => format!("{ip} saddr {}", short(*range)),
            Condition::To(range) => format!("{ip} daddr {}", short(*range)),
            Condition::NotTo(range) => format!("{ip} daddr != {}", short(*range)),
            Condition::Port(port) => format!("tcp dport {port}"),
            Condition::User(id) => format!("meta skuid {id}"),
            Condition::Group(id) => format!("meta skgid {id}"),
        })
        .collect();
    words.push(match rule.verdict {
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Redirect(port) => format!("meta l4proto tcp redirect to :{port}"),
    });
    words.join(" ")
}

/// nft lists a single address without its prefix.
fn short(range: Cidr) -> String {
    if range.is_host() { range.address().to_string() } else { range.to_string() }
}

/// Lines with words that are the same however spaces, addresses and the protocol's number are written.
fn lines(text: &str) -> Vec<String> {
    let canonical = |word: &str| Cidr::parse(word).map_or_else(|| word.to_owned(), |range| range.to_string());
    let line = |line: &str| line.split_whitespace().map(canonical).collect::<Vec<_>>().join(" ");
    let line = |it| line(it).replace("l4proto 6 ", "l4proto tcp ");
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}
