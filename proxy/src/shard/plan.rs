//! How many shards there are, and which processors they run on.

use dromon_core::settings::Pin;

/// What this process may use.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Processors it may run on.
    pub processors: Vec<usize>,
    /// Processors it has paid for, where its control group has a quota.
    pub quota: Option<usize>,
}

/// Shards of a sidecar unless told otherwise: it shares its machine with the application it serves.
const SIDECAR_SHARDS_MAX: usize = 2;

/// One entry a shard: the processor it is pinned to, if any. A sidecar's shards float unless a list says otherwise; a
/// gateway's are pinned where each can have a processor to itself.
pub fn plan(wanted: Option<u16>, pin: &Pin, gateway: bool, machine: &Machine) -> Vec<Option<usize>> {
    let usable = machine.quota.unwrap_or(usize::MAX).min(machine.processors.len()).max(1);
    let default = if gateway { usable } else { usable.min(SIDECAR_SHARDS_MAX) };
    let count = wanted.map_or(default, usize::from);
    let list: &[usize] = match pin {
        Pin::List(list) => list,
        Pin::Auto if gateway && machine.quota.is_none() && count <= machine.processors.len() => {
            &machine.processors
        }
        Pin::Auto | Pin::Off => &[],
    };
    (0..count).map(|shard| list.get(shard % list.len().max(1)).copied()).collect()
}

#[cfg(test)]
mod tests;
