//! From plan to kernel and back: install, compare, take away.
//!
//! Each family is one transaction. Where anything fails, what this run has changed is put back as it was: a pod whose capture
//! is not whole must not start, and a former capture that still works must not be lost.

use std::fs;
use std::io;

use dromon_core::capture::{
    Family, Mode, Plan, Settings, TO_APPLICATION_V6,
    iptables::{self, InForce},
    nftables,
};
use thiserror::Error;

use super::args::Backend;
use super::programs::{Iptables, Nft, ProgramError};
use super::report::{Outcome, Report, State};
use crate::sys::loopback;

/// The addresses of this namespace's interfaces; absent where the kernel has no IPv6.
const IPV6_ADDRESSES: &str = "/proc/net/if_inet6";

/// Rules are not as they should be.
#[derive(Debug, Error)]
pub enum Error {
    /// No program to do it with.
    #[error(
        "no iptables is installed (iptables-restore, iptables-nft-restore or iptables-legacy-restore); install it or give --mode nftables"
    )]
    NoIptables,
    /// As above.
    #[error("nft is not installed; install nftables or give --mode iptables")]
    NoNft,
    /// A program failed.
    #[error("{family}: {error}{}", hint(.family))]
    Program {
        /// Whose rules.
        family: &'static str,
        /// What it said.
        error: ProgramError,
    },
    /// The kernel has something else than it was given.
    #[error("{family}: the rules in force are not those that were installed: {difference}")]
    Different {
        /// Whose rules.
        family: &'static str,
        /// How they differ.
        difference: String,
    },
    /// The source address of connections to the application.
    #[error(
        "IPv6: {TO_APPLICATION_V6}/128 cannot be added to lo: {0}; give --no-ipv6 where nothing of the pod uses IPv6"
    )]
    Address(io::Error),
}

fn hint(family: &str) -> &'static str {
    match family {
        "IPv6" => " (CAP_NET_ADMIN is needed; give --no-ipv6 where nothing of the pod uses IPv6)",
        _ => " (CAP_NET_ADMIN is needed)",
    }
}

/// One way to the kernel.
#[derive(Clone, Debug)]
enum Means {
    Iptables(Iptables),
    Nftables(Nft),
}

/// What is in force of one family, by one of the means.
#[derive(Clone, Debug, PartialEq)]
enum Found {
    Iptables(InForce),
    Nftables(Option<String>),
}

/// Netfilter as this network namespace sees it.
pub struct Kernel {
    /// Those to install with, the preferred one first.
    preferred: Vec<Means>,
    /// All that may have installed something before.
    all: Vec<Means>,
}

impl Kernel {
    /// With the programs that are installed.
    ///
    /// # Errors
    /// There is none for the mode.
    pub fn here(mode: Mode, backend: Backend) -> Result<Kernel, Error> {
        let iptables = |backend| Iptables::installed(backend).into_iter().map(Means::Iptables);
        let nft = Nft::installed().map(Means::Nftables);
        let preferred: Vec<Means> = match mode {
            Mode::Iptables => iptables(backend).collect(),
            Mode::Nftables => nft.clone().into_iter().collect(),
        };
        if preferred.is_empty() {
            return Err(if mode == Mode::Iptables { Error::NoIptables } else { Error::NoNft });
        }
        Ok(Kernel { preferred, all: iptables(Backend::Auto).chain(nft).collect() })
    }

    /// Installs the rules by the first of the means that works, compares, and takes away what others have left.
    ///
    /// # Errors
    /// Any step fails; everything is as it was before.
    pub fn install(&self, settings: &Settings) -> Result<Report, Error> {
        let mut first = None;
        for means in &self.preferred {
            match self.install_by(means, settings) {
                Ok(report) => return Ok(report),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(Error::NoIptables))
    }

    /// Takes away whatever any of the means has installed.
    ///
    /// # Errors
    /// A program fails.
    pub fn remove(&self) -> Result<Report, Error> {
        let mut families = Vec::new();
        for family in Family::ALL {
            let mut state = State::Absent;
            for means in &self.all {
                if clear(means, family)? {
                    state = State::Removed;
                }
            }
            families.push(Outcome { family, state, detail: String::new() });
        }
        // Where it is not, there is nothing to take away.
        let _ = loopback::remove(TO_APPLICATION_V6);
        Ok(Report { means: String::new(), families })
    }

    fn install_by(&self, means: &Means, settings: &Settings) -> Result<Report, Error> {
        let mut undo: Vec<(Family, Found)> = Vec::new();
        let result = self.install_families(means, settings, &mut undo);
        if result.is_err() {
            for (family, before) in undo.into_iter().rev() {
                // The first error is what people need; this one would only follow from it.
                let _ = means.put_back(family, &before);
            }
        }
        result
    }

    fn install_families(
        &self,
        means: &Means,
        settings: &Settings,
        undo: &mut Vec<(Family, Found)>,
    ) -> Result<Report, Error> {
        let mut families = Vec::new();
        for family in Family::ALL {
            let skipped = match family {
                Family::V4 => None,
                Family::V6 => ipv6_left_out(means, settings),
            };
            let outcome = match skipped {
                Some(detail) => Outcome { family, state: State::Skipped, detail },
                None => install_family(means, settings, family, undo)?,
            };
            families.push(outcome);
        }
        for (family, skipped) in families.iter().map(|it| (it.family, it.state == State::Skipped)) {
            for other in &self.all {
                if skipped || !means.is(other) {
                    clear(other, family)?;
                }
            }
        }
        Ok(Report { means: means.name(), families })
    }
}

fn install_family(
    means: &Means,
    settings: &Settings,
    family: Family,
    undo: &mut Vec<(Family, Found)>,
) -> Result<Outcome, Error> {
    let plan = Plan::new(settings, family);
    let told = |error| Error::Program { family: family.name(), error };
    let before = means.found(family).map_err(told)?;
    let state = if difference(&before, &plan).is_none() {
        State::Unchanged
    } else {
        undo.push((family, before.clone()));
        means.carry_out(family, &script(&before, &plan)).map_err(told)?;
        let after = means.found(family).map_err(told)?;
        if let Some(difference) = difference(&after, &plan) {
            return Err(Error::Different { family: family.name(), difference });
        }
        State::Installed
    };
    if family == Family::V6 {
        match loopback::add(TO_APPLICATION_V6) {
            Ok(()) => {}
            // Without IPv6 on lo no connection of it can be made to the pod itself.
            Err(_) if ipv6_addresses().is_some_and(|addresses| addresses.is_empty()) => {}
            Err(error) => return Err(Error::Address(error)),
        }
    }
    Ok(Outcome { family, state, detail: String::new() })
}

/// Why IPv6 has no rules; none: it has.
fn ipv6_left_out(means: &Means, settings: &Settings) -> Option<String> {
    if !settings.ipv6 {
        return Some("--no-ipv6 was given".to_owned());
    }
    let Some(addresses) = ipv6_addresses() else { return Some("this kernel has no IPv6".to_owned()) };
    // An address that others could reach makes what fails here a hole.
    let is_reachable = addresses.iter().any(|address| !is_local(address));
    match means.found(Family::V6) {
        Err(error) if !is_reachable => {
            Some(format!("{error}, and no interface has an IPv6 address that others reach"))
        }
        _ => None,
    }
}

/// Addresses of all interfaces as the kernel lists them, 32 hexadecimal digits each; none without IPv6.
fn ipv6_addresses() -> Option<Vec<String>> {
    let listed = fs::read_to_string(IPV6_ADDRESSES).ok()?;
    Some(listed.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect())
}

/// Loopback and link-local addresses (RFC 4291, sections 2.5.3 and 2.5.6), and our own.
fn is_local(address: &str) -> bool {
    let bits = u128::from_str_radix(address, 16).unwrap_or_default();
    bits == 1 || bits == TO_APPLICATION_V6.to_bits() || bits >> 118 == 0xfe80 >> 6
}

/// Takes away what one of the means has installed; whether there was anything.
fn clear(means: &Means, family: Family) -> Result<bool, Error> {
    let told = |error| Error::Program { family: family.name(), error };
    let found = match means.found(family) {
        Ok(found) => found,
        // What cannot be read by a program that is not there was not installed by it either.
        Err(ProgramError::Missing(_)) => return Ok(false),
        Err(_) if family == Family::V6 && ipv6_addresses().is_none() => return Ok(false),
        Err(error) => return Err(told(error)),
    };
    let nothing = match &found {
        Found::Iptables(found) => found.is_empty(),
        Found::Nftables(found) => found.is_none(),
    };
    if !nothing {
        means.carry_out(family, &removal(&found, family)).map_err(told)?;
    }
    Ok(!nothing)
}

fn difference(found: &Found, plan: &Plan) -> Option<String> {
    match found {
        Found::Iptables(found) => found.difference(plan),
        Found::Nftables(Some(listed)) => nftables::difference(listed, plan),
        Found::Nftables(None) => Some("there is no table of ours".to_owned()),
    }
}

fn script(before: &Found, plan: &Plan) -> String {
    match before {
        Found::Iptables(in_force) => iptables::install(plan, in_force),
        Found::Nftables(_) => nftables::install(plan),
    }
}

fn removal(found: &Found, family: Family) -> String {
    match found {
        Found::Iptables(in_force) => iptables::remove(in_force),
        Found::Nftables(_) => nftables::remove(family),
    }
}

impl Means {
    fn name(&self) -> String {
        match self {
            Means::Iptables(iptables) => format!("iptables, {}", iptables.backend()),
            Means::Nftables(_) => "nftables".to_owned(),
        }
    }

    fn is(&self, other: &Means) -> bool {
        match (self, other) {
            (Means::Iptables(one), Means::Iptables(other)) => one.backend() == other.backend(),
            (Means::Nftables(_), Means::Nftables(_)) => true,
            _ => false,
        }
    }

    fn found(&self, family: Family) -> Result<Found, ProgramError> {
        match self {
            Means::Iptables(iptables) => Ok(Found::Iptables(InForce::read(&iptables.saved(family)?))),
            Means::Nftables(nft) => {
                if !nftables::is_listed(&nft.ask(&["list", "tables"])?, family) {
                    return Ok(Found::Nftables(None));
                }
                let table = nftables::table(family);
                let words: Vec<&str> = ["list", "table"].into_iter().chain(table.split(' ')).collect();
                Ok(Found::Nftables(Some(nft.ask(&words)?)))
            }
        }
    }

    fn carry_out(&self, family: Family, script: &str) -> Result<(), ProgramError> {
        match self {
            Means::Iptables(iptables) => iptables.restore(family, script),
            Means::Nftables(nft) => nft.carry_out(script),
        }
    }

    fn put_back(&self, family: Family, before: &Found) -> Result<(), ProgramError> {
        let script = match (self.found(family)?, before) {
            (Found::Iptables(now), Found::Iptables(before)) => iptables::replace(&now, before),
            (_, Found::Nftables(Some(listed))) => nftables::replace(family, listed),
            _ => nftables::remove(family),
        };
        self.carry_out(family, &script)
    }
}
