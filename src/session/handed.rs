//! Which token Claude Desktop was given last, and when.
//!
//! If it asks for another one in the middle of a session just after it was given this one, the gateway has
//! refused it: the token's life says nothing then, and one refresh is due.

use serde::{Deserialize, Serialize};

use super::record::IssuedToken;
use super::state::StateFiles;
use crate::clock;

/// Within this time after a token was handed out, asking again means that it was refused. Also the least time
/// between two refreshes for this reason.
const WINDOW_MS: u64 = 120_000;

/// The note of what was handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handed {
    /// When the token had been obtained, which tells one token from another.
    token_obtained_ms: u64,
    handed_at_ms: u64,
    refreshed_at_ms: u64,
}

impl Handed {
    /// Reads the note.
    pub fn read(files: &StateFiles) -> Self {
        files
            .dir()
            .read(&files.name("handed"), 1024)
            .ok()
            .flatten()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Whether a request in the middle of a session means that this token was refused by the gateway.
    pub fn was_refused(self, token: &IssuedToken) -> bool {
        let now = clock::now_millis();
        let within = |moment: u64| now.checked_sub(moment).is_some_and(|age| age < WINDOW_MS);
        self.token_obtained_ms == token.obtained_at_ms
            && within(self.handed_at_ms)
            && !within(self.refreshed_at_ms)
    }

    /// Notes that a token is handed out now. A note that cannot be written costs a refresh that was due.
    pub fn note(mut self, files: &StateFiles, token: &IssuedToken, refreshed: bool) {
        let now = clock::now_millis();
        self.token_obtained_ms = token.obtained_at_ms;
        self.handed_at_ms = now;
        if refreshed {
            self.refreshed_at_ms = now;
        }
        if let Ok(bytes) = serde_json::to_vec(&self) {
            let _ = files.dir().replace_unsynced(&files.name("handed"), &bytes);
        }
    }
}
