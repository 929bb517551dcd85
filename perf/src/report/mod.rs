//! Reports of a run: a table for the terminal, JSON, CSV, Markdown, and one page of HTML with plots. All are made from
//! [`crate::lab::result::Lab`] alone, so that a report can be made again from the JSON file.

pub mod csv;
pub mod html;
pub mod markdown;
pub mod plot;
pub mod table;
pub mod view;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::lab::result::Lab;

/// Writes all reports into a folder and returns their paths.
pub fn write(lab: &Lab, folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let files = [
        ("lab.json", serde_json::to_string_pretty(lab)?),
        ("lab.csv", csv::samples(lab)),
        ("lab.html", html::page(lab)),
        ("lab.txt", table::text(lab)),
        ("lab.md", markdown::text(lab)),
    ];
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// Reads the JSON file of a run.
pub fn read(path: &Path) -> Result<Lab> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a run of the lab", path.display()))
}
