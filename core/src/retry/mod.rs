//! Whether, when and how often a request is tried again.
//!
//! A configured `retries` tries again on the conditions it names, for any method, from a replayable body, until the first
//! byte of the response head has gone downstream. Where no rule asks, only what provably was not processed is tried
//! again (R40). Every retry withdraws from its destination's budget.

mod backoff;
mod budget;
mod policy;

pub use backoff::backoff_ms;
pub use budget::RetryToken;
pub use policy::{Failure, Method, Policy};

#[cfg(test)]
mod tests;
