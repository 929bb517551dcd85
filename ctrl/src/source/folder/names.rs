//! Which names in a folder are ours to read.

use std::path::Path;

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

/// Whether an editor that is about to write `file` anew renames it so: `a.yaml~` (vim, Emacs, Kate), `a.yaml.~1~` (Emacs,
/// numbered), `a.yaml___jb_old___` (JetBrains), in the same directory.
pub(super) fn is_backup(backup: &Path, file: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let (Some(old), Some(new)) = (name(file), name(backup)) else { return false };
    let Some(rest) = new.strip_prefix(old.as_str()) else { return false };
    let numbered = rest.strip_prefix(".~").and_then(|rest| rest.strip_suffix('~'));
    let numbered = numbered.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    file.parent() == backup.parent() && (numbered || matches!(rest, "~" | "___jb_old___"))
}
