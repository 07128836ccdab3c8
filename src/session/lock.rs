//! One writer per profile and user.
//!
//! The kernel releases the lock when its holder ends, however it ends. The lock file is empty and never deleted.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

use super::state::StateFiles;
use crate::caller::Deadline;
use crate::error::{Failure, Id, Result};

/// Shortest and longest pause between two looks at a lock that somebody else holds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));

/// The right to change a session. Released when dropped.
#[derive(Debug)]
pub struct WriterLock(#[expect(dead_code, reason = "held, not read")] File);

impl WriterLock {
    /// Takes the lock if nobody holds it.
    pub fn try_take(files: &StateFiles) -> Result<Option<Self>> {
        let file = open(files)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }

    /// Waits for the lock until the deadline.
    pub fn take(files: &StateFiles, deadline: Deadline) -> Result<Self> {
        let mut pause = PAUSES.0;
        loop {
            if let Some(lock) = Self::try_take(files)? {
                return Ok(lock);
            }
            if deadline.passed() {
                return Err(Failure::new(
                    Id::Unavailable,
                    "another gatepass is still working on this session",
                    "run it again in a moment",
                ));
            }
            thread::sleep(pause.min(deadline.left()));
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

fn open(files: &StateFiles) -> Result<File> {
    files
        .dir()
        .lock_file(&files.name("lock"))
        .map_err(|reason| {
            Failure::config(
                format!(
                    "the lock file in {} is not safe to use: {reason}",
                    files.dir().path().display()
                ),
                format!("chmod -R go= '{}'", files.dir().path().display()),
            )
        })
}

fn unusable(error: &std::io::Error) -> Failure {
    Failure::config(
        format!("the state folder's file system cannot lock files: {error}"),
        "move your home folder to a file system with locks",
    )
}
