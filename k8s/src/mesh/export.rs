//! `exportTo`: the namespaces that see an object.

use std::collections::BTreeSet;

/// Namespaces that see an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// All.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Export {
    /// From `exportTo`: namespaces, `.` for the object's own, `*` for all, `~` for none; where empty, from the
    /// mesh's default, and where that is empty too, all.
    pub fn new(export_to: &[String], mesh_default: &[String], namespace: &str) -> Export {
        let list = if export_to.is_empty() { mesh_default } else { export_to };
        if list.is_empty() || list.iter().any(|it| it == "*") {
            return Export::All;
        }
        let names = list.iter().filter(|it| *it != "~");
        Export::Only(names.map(|it| if it == "." { namespace.to_owned() } else { it.clone() }).collect())
    }

    /// Whether a namespace sees the object.
    pub fn to(&self, namespace: &str) -> bool {
        match self {
            Export::All => true,
            Export::Only(names) => names.contains(namespace),
        }
    }
}
