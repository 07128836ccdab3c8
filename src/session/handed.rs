//! Which token Claude Desktop was given last, and when.
//!
//! If it asks for another one in the middle of a session just after it was given this one, the gateway has
//! refused it: the token's life says nothing then, and one refresh is due.

use super::record::IssuedToken;
use super::state::StateFiles;
use crate::clock;

/// Within this time after a token was handed out, asking again means that it was refused. Also the least time
/// between two refreshes for this reason.
const WINDOW_MS: u64 = 120_000;

/// Length of the note, in bytes: three numbers. It is written over in place on every call of Claude Desktop,
/// which costs a fraction of replacing a file; a torn one says nothing that matters.
const LENGTH: usize = 24;

/// The note of what was handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// When the token had been obtained, which tells one token from another.
    token_obtained_ms: u64,
    handed_at_ms: u64,
    refreshed_at_ms: u64,
}

impl Handed {
    /// Reads the note.
    pub fn read(files: &StateFiles) -> Self {
        let bytes = files.dir().read(&files.name("handed"), LENGTH as u64);
        let Some(bytes) = bytes.ok().flatten().filter(|bytes| bytes.len() == LENGTH) else {
            return Self::default();
        };
        let number = |index: usize| {
            let place = bytes.iter().skip(index * 8).take(8).rev();
            place.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Self {
            token_obtained_ms: number(0),
            handed_at_ms: number(1),
            refreshed_at_ms: number(2),
        }
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
    pub fn note(mut self, files: &StateFiles, token: &IssuedToken) {
        self.token_obtained_ms = token.obtained_at_ms;
        self.handed_at_ms = clock::now_millis();
        self.save(files);
    }

    /// Notes that a refresh is tried because the gateway has refused the token.
    pub fn note_refresh(&mut self, files: &StateFiles) {
        self.refreshed_at_ms = clock::now_millis();
        self.save(files);
    }

    fn save(self, files: &StateFiles) {
        let mut bytes = [0; LENGTH];
        let numbers = [
            self.token_obtained_ms,
            self.handed_at_ms,
            self.refreshed_at_ms,
        ];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let _ = files.dir().overwrite(&files.name("handed"), &bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::tests::sample;

    #[test]
    fn a_token_asked_for_again_at_once_was_refused_once() {
        let base = tempfile::tempdir().unwrap();
        let files = StateFiles::at(base.path(), "k").unwrap();
        let token = sample().token.unwrap();
        assert!(!Handed::read(&files).was_refused(&token));
        Handed::read(&files).note(&files, &token);
        let mut handed = Handed::read(&files);
        assert!(handed.was_refused(&token));
        handed.note_refresh(&files);
        assert!(!Handed::read(&files).was_refused(&token));
    }
}
