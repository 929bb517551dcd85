//! The rules, before any program's syntax.

use super::{Cidr, DNS_PORT, Family, OWN_PORTS, Ports, Ranges, Settings, to_application};

/// The chains of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whose rules these are.
    pub family: Family,
    /// The chains that hooks lead to come first.
    pub chains: Vec<Chain>,
}

/// Rules that are tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name without a program's prefix.
    pub name: &'static str,
    /// The hook that leads new TCP connections here; none: other chains do.
    pub hook: Option<Hook>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// Where the kernel shows connections to the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Arrived from outside.
    Prerouting,
    /// Made here.
    Output,
}

/// One rule: where all conditions hold, the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub verdict: Verdict,
}

/// Something that a rule asks of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It came in by, or goes out by, this interface.
    Through(Interface),
    /// It comes from this range.
    From(Cidr),
    /// It goes to this range.
    To(Cidr),
    /// It goes anywhere but to this range.
    NotTo(Cidr),
    /// It goes to this port.
    Port(u16),
    /// Its socket is this user's.
    User(u32),
    /// Its socket is this group's.
    Group(u32),
}

/// An interface by direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The interface that a connection came in by.
    In(String),
    /// The interface that a connection goes out by.
    Out(String),
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Back to the chain that led here; from a hook's own chain: left alone.
    Return,
    /// To another chain, and back here from its end.
    Jump(&'static str),
    /// To this port of this machine.
    Redirect(u16),
}

/// What arrives for the workload.
const INBOUND: &str = "inbound";
/// What the pod sends.
const OUTBOUND: &str = "outbound";
/// To the proxy's inbound port.
const TO_INBOUND: &str = "to_inbound";
/// To the proxy's outbound port.
const TO_OUTBOUND: &str = "to_outbound";

impl Plan {
    /// The rules of a family.
    pub fn new(settings: &Settings, family: Family) -> Plan {
        let chains = vec![
            Chain { name: INBOUND, hook: Some(Hook::Prerouting), rules: inbound(settings) },
            Chain { name: OUTBOUND, hook: Some(Hook::Output), rules: outbound(settings, family) },
            Chain {
                name: TO_INBOUND,
                hook: None,
                rules: vec![rule([], Verdict::Redirect(settings.inbound_to))],
            },
            Chain {
                name: TO_OUTBOUND,
                hook: None,
                rules: vec![rule([], Verdict::Redirect(settings.outbound_to))],
            },
        ];
        Plan { family, chains }
    }
}

fn rule(conditions: impl Into<Vec<Condition>>, verdict: Verdict) -> Rule {
    Rule { conditions: conditions.into(), verdict }
}

fn inbound(settings: &Settings) -> Vec<Rule> {
    let mut rules = Vec::new();
    for name in &settings.excluded_interfaces {
        rules.push(rule([Condition::Through(Interface::In(name.clone()))], Verdict::Return));
    }
    let mut own = OWN_PORTS.to_vec();
    for port in [settings.inbound_to, settings.outbound_to].iter().chain(&settings.excluded_inbound_ports) {
        if !own.contains(port) {
            own.push(*port);
        }
    }
    rules.extend(own.into_iter().map(|port| rule([Condition::Port(port)], Verdict::Return)));
    match &settings.inbound_ports {
        Ports::All => rules.push(rule([], Verdict::Jump(TO_INBOUND))),
        Ports::Only(ports) => {
            rules.extend(ports.iter().map(|port| rule([Condition::Port(*port)], Verdict::Jump(TO_INBOUND))));
        }
    }
    rules
}

fn outbound(settings: &Settings, family: Family) -> Vec<Rule> {
    let out = |name: &str| Condition::Through(Interface::Out(name.to_owned()));
    let of_family = |range: &&Cidr| range.family() == family;
    let mut rules = vec![rule(
        // The proxy hands a connection to its application, at the address that it was for.
        [out("lo"), Condition::From(Cidr::host(to_application(family)))],
        Verdict::Return,
    )];
    // The proxy calls its own pod as one of a service's endpoints: the call arrives like anybody's.
    for own in [Condition::User(settings.proxy_uid), Condition::Group(settings.proxy_gid)] {
        let elsewhere = Condition::NotTo(Cidr::loopback(family));
        rules.push(rule([out("lo"), elsewhere, own], Verdict::Jump(INBOUND)));
    }
    // The pod to itself, by its own address or a loopback one.
    rules.push(rule([out("lo")], Verdict::Return));
    rules.push(rule([Condition::User(settings.proxy_uid)], Verdict::Return));
    rules.push(rule([Condition::Group(settings.proxy_gid)], Verdict::Return));
    rules.extend(settings.excluded_interfaces.iter().map(|name| rule([out(name)], Verdict::Return)));
    let excluded = settings.excluded_outbound_ports.iter().filter(|port| **port != DNS_PORT);
    for port in [DNS_PORT].iter().chain(excluded) {
        rules.push(rule([Condition::Port(*port)], Verdict::Return));
    }
    for range in settings.excluded_outbound_ranges.iter().filter(of_family) {
        rules.push(rule(to(*range), Verdict::Return));
    }
    for port in &settings.included_outbound_ports {
        rules.push(rule([Condition::Port(*port)], Verdict::Jump(TO_OUTBOUND)));
    }
    match &settings.outbound_ranges {
        Ranges::All => rules.push(rule([], Verdict::Jump(TO_OUTBOUND))),
        Ranges::Only(ranges) => {
            let ranges = ranges.iter().filter(of_family);
            rules.extend(ranges.map(|range| rule(to(*range), Verdict::Jump(TO_OUTBOUND))));
        }
    }
    rules
}

/// Netfilter's programs list no condition for a range of everything.
fn to(range: Cidr) -> Vec<Condition> {
    if range.is_everything() { Vec::new() } else { vec![Condition::To(range)] }
}
