//! `SHA256SUMS` over all that lies among the finished packages, in the form that `sha256sum --check` reads.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::write;

/// The name of the file.
pub(super) const FILE: &str = "SHA256SUMS";

/// Writes the sums.
pub(super) fn write_file(folder: &Path) -> Result<(), String> {
    write(&folder.join(FILE), of(folder)?)
}

/// The sums as text, sorted by name.
pub(super) fn of(folder: &Path) -> Result<String, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut lines = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(FILE) || !entry.path().is_file() {
            continue;
        }
        let bytes = fs::read(entry.path()).map_err(|e| format!("{name}: {e}"))?;
        let sum: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        lines.push((name, sum));
    }
    lines.sort();
    Ok(lines
        .into_iter()
        .map(|(name, sum)| format!("{sum}  {name}\n"))
        .collect())
}
