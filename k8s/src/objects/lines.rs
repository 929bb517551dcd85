//! Where in its file each field of an object stands.

/// Fields kept per object; larger ones know only their first line.
pub(crate) const FIELDS_MAX: usize = 4_096;

/// Lines of one object's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    first: u32,
    /// Sorted by path.
    fields: Vec<(Box<str>, u32)>,
}

impl Lines {
    /// From the object's first line and its fields' paths, e.g. `spec.http[0].match`.
    pub fn new(first: u32, mut fields: Vec<(Box<str>, u32)>) -> Lines {
        if fields.len() > FIELDS_MAX {
            fields = Vec::new();
        }
        fields.sort();
        fields.dedup_by(|a, b| a.0 == b.0);
        Lines { first, fields }
    }

    /// Line of a field, or of the nearest one around it; none when nothing is known.
    pub fn of(&self, path: &str) -> Option<u32> {
        let mut path = path;
        while !path.is_empty() {
            if let Ok(at) = self.fields.binary_search_by(|(field, _)| (**field).cmp(path)) {
                return Some(self.fields[at].1);
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
        (self.first > 0).then_some(self.first)
    }

    /// Lines of the part of an object under a path, e.g. `items[3]` of a List.
    pub fn under(&self, prefix: &str) -> Lines {
        let first = self.of(prefix).unwrap_or(self.first);
        let fields = self
            .fields
            .iter()
            .filter_map(|(path, line)| {
                let rest = path.strip_prefix(prefix)?.strip_prefix('.')?;
                Some((Box::from(rest), *line))
            })
            .collect();
        Lines { first, fields }
    }
}
