//! A change of root in three steps, none of which breaks a connection.
//!
//! | step | bundle that proxies believe | who signs leaves | may go on when every proxy |
//! |---|---|---|---|
//! | distribute | old and new | old | believes both |
//! | issue | old and new | new | shows a leaf of the new root |
//! | remove | new | new | believes the new one alone |
//!
//! At no time is there a leaf that somebody does not believe: the new root's leaves appear only when all believe it, and
//! the old root goes only when no leaf of it is shown any more. A successor below the same root, an intermediate that is
//! renewed, is no change for those who believe: it is done as it begins.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// How far a change of root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Both roots are given to everybody.
    Distribute,
    /// The new root's leaves replace the old one's.
    Issue,
    /// The old root is taken away.
    Remove,
    /// Nothing is left of the old root.
    Done,
}

impl Step {
    /// Counted from 1; `Done` comes after the third.
    pub fn number(self) -> u8 {
        match self {
            Step::Distribute => 1,
            Step::Issue => 2,
            Step::Remove => 3,
            Step::Done => 4,
        }
    }

    /// What it does, for people.
    pub fn what(self) -> &'static str {
        match self {
            Step::Distribute => "both roots are believed",
            Step::Issue => "certificates come from the new root",
            Step::Remove => "the old root is no longer believed",
            Step::Done => "done",
        }
    }
}

/// A change of root under way. Roots are named by their SHA-256 fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// The root that goes.
    pub old: String,
    /// The root that comes.
    pub new: String,
    /// How far it is.
    pub step: Step,
}

/// What a proxy says that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// Which proxy.
    pub proxy: String,
    /// The roots that it believes.
    pub roots: BTreeSet<String>,
    /// The root that vouches for its leaf; `None` if it does not say or shows none.
    pub vouched_by: Option<String>,
}

impl Rotation {
    /// A change that begins; done already where both roots are the same, since everybody believes what comes.
    pub fn begin(old: String, new: String) -> Rotation {
        let step = if old == new { Step::Done } else { Step::Distribute };
        Rotation { old, new, step }
    }

    /// The roots that go into bundles.
    pub fn bundle(&self) -> Vec<&str> {
        match self.step {
            Step::Distribute | Step::Issue => vec![&self.old, &self.new],
            Step::Remove | Step::Done => vec![&self.new],
        }
    }

    /// The root whose authority signs leaves.
    pub fn issuer(&self) -> &str {
        match self.step {
            Step::Distribute => &self.old,
            Step::Issue | Step::Remove | Step::Done => &self.new,
        }
    }

    /// The proxies for which the step is not in force yet.
    pub fn waits_for<'a>(&self, proxies: &'a [InUse]) -> Vec<&'a str> {
        let late = |proxy: &&InUse| !self.is_in_force_at(proxy);
        proxies.iter().filter(late).map(|proxy| proxy.proxy.as_str()).collect()
    }

    /// The next step, if this one is in force everywhere; itself otherwise.
    pub fn advance(self, proxies: &[InUse]) -> Rotation {
        if !self.waits_for(proxies).is_empty() {
            return self;
        }
        let step = match self.step {
            Step::Distribute => Step::Issue,
            Step::Issue => Step::Remove,
            Step::Remove | Step::Done => Step::Done,
        };
        Rotation { step, ..self }
    }

    fn is_in_force_at(&self, proxy: &InUse) -> bool {
        match self.step {
            Step::Distribute => proxy.roots.contains(&self.old) && proxy.roots.contains(&self.new),
            Step::Issue => proxy.roots.contains(&self.new) && proxy.vouched_by.as_ref() == Some(&self.new),
            Step::Remove => {
                proxy.roots.contains(&self.new)
                    && !proxy.roots.contains(&self.old)
                    && proxy.vouched_by.as_ref() == Some(&self.new)
            }
            Step::Done => true,
        }
    }
}

#[cfg(test)]
mod tests;
