//! Which large files were found to be in order as a whole, so that the next run looks only at what concerns it.
//!
//! A note in the state folder keeps their stamps, and nothing of what they say: that is always read from the files
//! themselves. Whoever forges the note keeps a mistake in another profile's table from being found, and no more.

use crate::platform::files::{PrivateDir, Stamp};
use crate::platform::paths;

/// The note's name in the state folder.
const NAME: &str = "in-order";

/// Largest note that is read, in bytes.
const LIMIT: u64 = 4 * 1024;

/// So many files are remembered.
const FILES: usize = 8;

/// The line that stands for a file in this state. Another version of gatepass may know other keys.
fn line(stamp: &Stamp) -> String {
    format!("{} {stamp}", env!("CARGO_PKG_VERSION"))
}

/// The state folder if it is there, and the note in it.
fn read() -> Option<(PrivateDir, String)> {
    let dir = PrivateDir::open(&paths::state_dir().ok()?).ok()??;
    let bytes = dir.read(NAME, LIMIT).ok()?.unwrap_or_default();
    Some((dir, String::from_utf8(bytes).ok()?))
}

/// Whether the file was in order when it was in this state.
pub(super) fn is_known(stamp: &Stamp) -> bool {
    let line = line(stamp);
    read().is_some_and(|(_, note)| note.lines().any(|known| known == line))
}

/// Notes that the file is in order in this state. Where that cannot be noted, the next run looks again.
pub(super) fn note(stamp: &Stamp) {
    let Some((dir, note)) = read() else {
        return;
    };
    let mut lines = vec![line(stamp)];
    lines.extend(note.lines().take(FILES - 1).map(str::to_owned));
    let _ = dir.replace(NAME, (lines.join("\n") + "\n").as_bytes());
}
