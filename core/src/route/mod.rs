//! Which rule takes a request, and where it then goes: pure functions over the table in force.
//!
//! Exact hosts stand in a hash map, wildcard hosts in a suffix trie; a host's rules are tried first to last, with exact and
//! prefix paths indexed so that the cost of a lookup does not grow with the number of rules ([`rank`]). Matching allocates
//! nothing. Paths are matched as the caller gives them, so normalising them is the caller's matter.

pub mod host;
pub mod matcher;
pub mod path;
pub mod rank;
pub mod rewrite;
pub mod rule;
pub mod table;

pub use rule::{Action, CompiledLimit, CompiledRule, HeaderChange, HeaderOps, Targets};
pub use table::{Lookup, Passthrough, Route, Routed, RoutedTcp};
