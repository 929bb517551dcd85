//! Traffic capture: which connections of a pod go through its sidecar, as netfilter rules.
//!
//! A pure plan: [`Settings`] in, [`Plan`] out, which [`iptables`] and [`nftables`] print. Nothing here runs a program; `dromon-proxy
//! capture` installs what is printed and compares it with what the kernel says afterwards. Both back-ends print one plan, and the
//! tests walk that plan with simulated packets, so a rule means the same whichever of them carries it out.
//!
//! Only new TCP connections meet the rules (tables of type nat), and UDP, so DNS, never does. What comes from outside passes
//! `PREROUTING`; what the pod sends, to itself included, passes `OUTPUT`; a connection that has passed `OUTPUT` is not shown
//! to `PREROUTING` again when it comes back over `lo`.

mod cidr;
pub mod iptables;
pub mod nftables;
mod plan;
mod settings;
#[cfg(test)]
mod tests;

pub use cidr::{Cidr, Family};
pub use plan::{Chain, Condition, Hook, Interface, Plan, Rule, Verdict};
pub use settings::{CaptureError, Mode, Ports, Ranges, Settings};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Source address of what the proxy sends to its own application, by which the rules tell it from the proxy's calls to
/// its own pod as one of a service's endpoints. Istio's convention; no application listens there by chance.
pub const TO_APPLICATION_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// As [`TO_APPLICATION_V4`]. IPv6 has one loopback address only, which programs trust more than they should (`pg_hba.conf`), so
/// this one is added to `lo`.
pub const TO_APPLICATION_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// User and group that the proxy runs as.
pub const PROXY_USER: u32 = 1337;
/// Where outbound connections are taken.
pub const OUTBOUND_PORT: u16 = 15_001;
/// Where inbound connections are taken.
pub const INBOUND_PORT: u16 = 15_006;
/// The proxy's own ports, which inbound capture leaves alone: the kubelet's probes and Prometheus come through `PREROUTING`.
pub const OWN_PORTS: [u16; 6] = [15_000, OUTBOUND_PORT, INBOUND_PORT, 15_020, 15_021, 15_090];
/// DNS over TCP, which outbound capture leaves alone: names are needed before the sidecar is ready.
pub const DNS_PORT: u16 = 53;

/// The source address for connections to the application, in its own family.
pub fn to_application(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(TO_APPLICATION_V4),
        Family::V6 => IpAddr::V6(TO_APPLICATION_V6),
    }
}
