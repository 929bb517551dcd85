//! Which names in a folder are ours to read.

/// Whether a name is hidden, as editors' swap files and a ConfigMap's inner directories are.
pub(super) fn hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Whether a file of this name holds objects: `.yaml`, `.yml` or `.json`, and no editor's temporary copy.
pub(super) fn wanted(name: &str) -> bool {
    let temporary = hidden(name) || name.starts_with('#') || name.ends_with('~') || name.ends_with('#');
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    !temporary && matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
}
