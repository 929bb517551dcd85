//! Packets that walk a plan's chains as the kernel would have them.

use super::*;

/// A pod's addresses in one family.
#[derive(Clone, Debug)]
pub struct Pod {
    pub family: Family,
    pub address: IpAddr,
    /// Another pod.
    pub peer: IpAddr,
    /// A service that this pod is an endpoint of.
    pub service: IpAddr,
}

/// The first packet of a TCP connection, at the hook that shows it.
#[derive(Clone, Debug)]
pub struct Packet {
    pub hook: Hook,
    /// The interface that it came in by, or goes out by.
    pub through: String,
    pub from: IpAddr,
    pub to: IpAddr,
    pub port: u16,
    /// Of its socket; none for what comes from outside, and for what the kernel itself sends.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Untouched,
    Redirected(u16),
}

impl Pod {
    pub fn plan(&self, settings: &Settings) -> Plan {
        Plan::new(settings, self.family)
    }

    /// The loopback address that programs use.
    pub fn loopback(&self) -> IpAddr {
        if self.family == Family::V4 { address("127.0.0.1") } else { address("::1") }
    }

    /// A connection from another pod.
    pub fn arriving(&self, port: u16) -> Packet {
        let (hook, through) = (Hook::Prerouting, "eth0".to_owned());
        Packet { hook, through, from: self.peer, to: self.address, port, uid: None, gid: None }
    }

    /// A connection of one of the pod's users. What goes to one of the pod's own addresses goes over `lo`, and comes from
    /// that address unless its sender says otherwise.
    pub fn sent(&self, uid: u32, to: IpAddr, port: u16) -> Packet {
        let is_own = to == self.address || Cidr::loopback(self.family).contains(to);
        let through = if is_own { "lo" } else { "eth0" }.to_owned();
        let from = if is_own { to } else { self.address };
        Packet { hook: Hook::Output, through, from, to, port, uid: Some(uid), gid: Some(uid) }
    }

    pub fn random(&self, rng: &mut Rng, settings: &Settings) -> Packet {
        let ports = [22, 53, 80, 443, 3306, 8080, 9090, 15_001, 15_006, 15_021];
        let port = *pick(rng, &ports);
        let users = [APPLICATION, settings.proxy_uid, settings.proxy_gid, 0];
        let mut packet = if rng.below(3) == 0 {
            self.arriving(port)
        } else {
            let outside = if self.family == Family::V4 { "192.0.2.7" } else { "2001:db8::7" };
            let to = [self.address, self.loopback(), self.peer, self.service, address(outside)];
            let mut packet = self.sent(*pick(rng, &users), *pick(rng, &to), port);
            packet.gid = Some(*pick(rng, &users));
            packet
        };
        if packet.through == "eth0" && rng.below(4) == 0 {
            packet.through = "net1".to_owned();
        }
        if packet.through == "lo" && rng.below(4) == 0 {
            packet.from = to_application(self.family);
        }
        packet
    }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.below(from.len() as u32) as usize]
}

pub fn random_settings(rng: &mut Rng) -> Settings {
    let some = |rng: &mut Rng| -> Vec<u16> {
        let all = [22, 53, 80, 443, 3306, 8080, 9090];
        all.into_iter().filter(|_| rng.below(4) == 0).collect()
    };
    let ranges = |rng: &mut Rng| -> Vec<Cidr> {
        let all = [
            "10.0.0.0/8",
            "10.96.0.0/16",
            "192.0.2.7",
            "0.0.0.0/0",
            "fd00::/8",
            "fd00:96::/32",
            "2001:db8::7",
            "::/0",
        ];
        all.into_iter().filter(|_| rng.below(5) == 0).map(|text| Cidr::parse(text).unwrap()).collect()
    };
    Settings {
        proxy_uid: *pick(rng, &[1337, 4711]),
        proxy_gid: *pick(rng, &[1337, 4712]),
        inbound_ports: if rng.below(2) == 0 { Ports::All } else { Ports::Only(some(rng)) },
        excluded_inbound_ports: some(rng),
        included_outbound_ports: some(rng),
        excluded_outbound_ports: some(rng),
        outbound_ranges: if rng.below(2) == 0 { Ranges::All } else { Ranges::Only(ranges(rng)) },
        excluded_outbound_ranges: ranges(rng),
        excluded_interfaces: if rng.below(3) == 0 { vec!["net1".to_owned()] } else { Vec::new() },
        ..Settings::default()
    }
}

/// Walks the chain that the packet's hook leads to.
pub fn walk(plan: &Plan, packet: &Packet) -> Fate {
    let chain = plan.chains.iter().find(|chain| chain.hook == Some(packet.hook));
    let fate = chain.and_then(|chain| walk_chain(plan, chain, packet, 0));
    fate.unwrap_or(Fate::Untouched)
}

/// None: the chain has returned.
fn walk_chain(plan: &Plan, chain: &Chain, packet: &Packet, depth: usize) -> Option<Fate> {
    assert!(depth < plan.chains.len(), "chains lead to each other in a circle");
    for rule in &chain.rules {
        if !rule.conditions.iter().all(|condition| holds(condition, packet)) {
            continue;
        }
        match rule.verdict {
            Verdict::Return => return None,
            Verdict::Redirect(port) => return Some(Fate::Redirected(port)),
            Verdict::Jump(name) => {
                let to = plan.chains.iter().find(|chain| chain.name == name).expect("a chain of the plan");
                if let Some(fate) = walk_chain(plan, to, packet, depth + 1) {
                    return Some(fate);
                }
            }
        }
    }
    None
}

fn holds(condition: &Condition, packet: &Packet) -> bool {
    match condition {
        Condition::Through(Interface::In(name)) => packet.hook == Hook::Prerouting && packet.through == *name,
        Condition::Through(Interface::Out(name)) => packet.hook == Hook::Output && packet.through == *name,
        Condition::From(range) => range.contains(packet.from),
        Condition::To(range) => range.contains(packet.to),
        Condition::NotTo(range) => !range.contains(packet.to),
        Condition::Port(port) => packet.port == *port,
        Condition::User(id) => packet.uid == Some(*id),
        Condition::Group(id) => packet.gid == Some(*id),
    }
}
