//! Kernel locks (`flock`, `LockFileEx`): one writer, one active sign-in, one start of a worker, any number of waiting
//! callers, per profile and user.
//!
//! The kernel releases a lock when its holder ends, however it ends. Lock files are empty and never deleted.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

use super::state::StateFiles;
use crate::caller::Deadline;
use crate::error::{Failure, Id, Result};
use crate::platform::files::Unsafe;

/// Shortest and longest pause between two polls of something that another process is busy with.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(25));

/// What a lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Changing the session.
    Write,
    /// Having a sign-in open.
    SignIn,
    /// Starting a worker, so that many callers at once start one.
    Start,
    /// Waiting for a sign-in. Many callers share it; the sign-in looks whether any does.
    Wait,
}

impl Purpose {
    /// Name of the lock's file. A process that changes a session locks the whole profile: sessions of all its issuers and
    /// clients take the same entry in the secret store.
    fn file(self, files: &StateFiles) -> String {
        match self {
            Self::Write => files.profile_name("lock"),
            Self::SignIn => files.name("sign-in-lock"),
            Self::Start => files.name("start-lock"),
            Self::Wait => files.name("wait-lock"),
        }
    }
}

/// A lock that is held. Released when dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock if no other process holds it.
    ///
    /// # Errors
    /// `config` where the lock file is not safe to use, or its file system has no locks.
    pub fn try_take(files: &StateFiles, purpose: Purpose) -> Result<Option<Self>> {
        let file = open(files, purpose)?;
        match file.try_lock() {
            // A lock on a file that was removed or replaced between opening and locking excludes no process: the next
            // try opens the file that is there now.
            Ok(()) => {
                let lock = Self(file);
                Ok(lock.is_in_force(files, purpose).then_some(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }

    /// Waits for the lock until the deadline.
    ///
    /// # Errors
    /// `unavailable` where another process holds it until then; `config` as [`Lock::try_take`].
    pub fn take(files: &StateFiles, purpose: Purpose, deadline: Deadline) -> Result<Self> {
        let mut pause = Polling::default();
        loop {
            if let Some(lock) = Self::try_take(files, purpose)? {
                return Ok(lock);
            }
            if deadline.passed() {
                return Err(Failure::new(
                    Id::Unavailable,
                    "another gatepass is still working on this session",
                    "run it again in a moment",
                ));
            }
            pause.sleep(deadline);
        }
    }

    /// Holds the lock together with others, unless a process has it alone at this moment.
    ///
    /// # Errors
    /// `config` as [`Lock::try_take`].
    pub fn share(files: &StateFiles, purpose: Purpose) -> Result<Option<Self>> {
        let file = open(files, purpose)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }

    /// Whether another process shares the lock at this moment.
    ///
    /// # Errors
    /// `config` as [`Lock::try_take`].
    pub fn is_shared(files: &StateFiles, purpose: Purpose) -> Result<bool> {
        Ok(Self::try_take(files, purpose)?.is_none())
    }

    /// Whether others still meet at this lock: its file is the one that is found under its name. If another
    /// process deletes the state folder meanwhile, this is a lock on nothing.
    pub fn is_in_force(&self, files: &StateFiles, purpose: Purpose) -> bool {
        files.dir().is_named(&purpose.file(files), &self.0)
    }

    /// Whether a process holds the lock at this moment. Looking keeps no other process from looking.
    ///
    /// # Errors
    /// `config` as [`Lock::try_take`].
    pub fn is_held(files: &StateFiles, purpose: Purpose) -> Result<bool> {
        match open(files, purpose)?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(unusable(&error)),
        }
    }
}

/// Polling with pauses that grow, for what another process does.
#[derive(Clone, Copy, Debug)]
pub struct Polling(Duration);

impl Default for Polling {
    fn default() -> Self {
        Self(PAUSES.0)
    }
}

impl Polling {
    /// Sleeps for a moment, never past the deadline.
    pub fn sleep(&mut self, deadline: Deadline) {
        thread::sleep(self.0.min(deadline.left()));
        self.0 = (self.0 * 2).min(PAUSES.1);
    }
}

fn open(files: &StateFiles, purpose: Purpose) -> Result<File> {
    files
        .dir()
        .lock_file(&purpose.file(files))
        .map_err(|reason| {
            let folder = files.dir().path().display();
            Failure::config(
                format!("a lock file in {folder} is not safe to use: {reason}"),
                match reason {
                    Unsafe::Mode | Unsafe::Owner => format!("chmod -R go= '{folder}'"),
                    _ => format!("make sure that you can write to '{folder}'"),
                },
            )
        })
}

fn unusable(error: &std::io::Error) -> Failure {
    Failure::config(
        format!("the state folder's file system cannot lock files: {error}"),
        "move your home folder to a file system with locks",
    )
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::{Lock, Purpose};
    use crate::session::state::StateFiles;

    #[test]
    fn a_lock_on_a_file_that_is_gone_or_another_excludes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let files = StateFiles::at(folder.path(), "k").unwrap();
        let take = || Lock::try_take(&files, Purpose::Write).unwrap();
        let path = files.dir().path().join(files.profile_name("lock"));
        let first = take().unwrap();
        assert!(first.is_in_force(&files, Purpose::Write));
        assert!(take().is_none());

        std::fs::remove_file(&path).unwrap();
        assert!(!first.is_in_force(&files, Purpose::Write));
        let second = take().unwrap();
        assert!(second.is_in_force(&files, Purpose::Write));
        assert!(!first.is_in_force(&files, Purpose::Write));

        let elsewhere = path.with_extension("other");
        std::fs::write(&elsewhere, "").unwrap();
        std::fs::rename(&elsewhere, &path).unwrap();
        assert!(!second.is_in_force(&files, Purpose::Write));
    }
}
