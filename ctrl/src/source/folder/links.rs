//! Where a path really leads, with every step on the way: the links that lie on it, where each of them leads, and the end.
//!
//! A swap of any of these gives the path another meaning, so each has to be watched. A mounted ConfigMap is such a chain
//! (`a.yaml` → `..data/a.yaml`, `..data` → `..2026_…`), and a link in a folder may lead to one elsewhere.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Links followed for one path, as the kernel counts them (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// A path's way to what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// The links, where they lead, and what is missing if something is; empty for a path without links.
    pub(super) steps: BTreeSet<PathBuf>,
    /// What the path really is. No link lies on it, unless there were too many.
    pub(super) end: PathBuf,
}

enum Step {
    Into(OsString),
    Up,
    Top,
    /// All of a link's target has been walked.
    Led,
}

/// Follows an absolute path. Where it leads nowhere, the first missing name is a step, so that its coming is noticed.
pub(super) fn follow(path: &Path) -> Way {
    let mut way = Way { steps: BTreeSet::new(), end: PathBuf::from("/") };
    let mut left: VecDeque<Step> = steps_of(path);
    let mut links = 0;
    while let Some(step) = left.pop_front() {
        let name = match step {
            Step::Into(name) => name,
            Step::Top => {
                way.end = PathBuf::from("/");
                continue;
            }
            Step::Up => {
                way.end.pop();
                continue;
            }
            Step::Led => {
                way.steps.insert(way.end.clone());
                continue;
            }
        };
        way.end.push(name);
        match std::fs::read_link(&way.end) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                way.steps.insert(way.end.clone());
                way.end.pop();
                let mut further = steps_of(&target);
                further.push_back(Step::Led);
                further.append(&mut left);
                left = further;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                way.steps.insert(way.end.clone());
                return way;
            }
            // No link, or nothing that we could follow.
            _ => {}
        }
    }
    way
}

fn steps_of(path: &Path) -> VecDeque<Step> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::ParentDir => Some(Step::Up),
        Component::RootDir => Some(Step::Top),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}
