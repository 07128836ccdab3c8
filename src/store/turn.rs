//! Calls to the keychain take turns, in all processes of a user: some keychains (macOS at times) refuse a read that
//! overlaps another one, and on such systems the keychain is the cache as well.
//!
//! A turn is no right: a process that has waited long enough asks all the same, since the process whose turn it is may
//! hang. Calls that may show a prompt take no turn: the others would have to wait for the user.

use std::fs::{File, TryLockError};
use std::time::Duration;

use crate::caller::Deadline;
use crate::platform::files::PrivateDir;
use crate::platform::paths;
use crate::session::lock::Polling;

/// The file that is locked. It has no content and is never deleted.
const NAME: &str = "keychain-lock";

/// Longest wait for a turn: on a busy machine, fifty calls take that long one after another.
const LONGEST: Duration = Duration::from_secs(15);

/// A turn. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: Option<File>,
}

impl Turn {
    /// Waits for a turn, at most for half of what is left until the deadline.
    pub(super) fn wait(deadline: Deadline) -> Self {
        let until = Deadline::after((deadline.left() / 2).min(LONGEST));
        Self { _lock: take(until) }
    }
}

/// The lock; nothing where there is no state folder, where files cannot be locked, or when the time is over.
fn take(until: Deadline) -> Option<File> {
    let dir = PrivateDir::open(&paths::state_dir().ok()?).ok()??;
    let file = dir.lock_file(NAME).ok()?;
    let mut pause = Polling::default();
    loop {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) if !until.passed() => pause.sleep(until),
            Err(_) => return None,
        }
    }
}
