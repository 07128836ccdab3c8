//! The one active sign-in of a profile: which process holds it, when a tab was opened, how it ended, and until when
//! hosts may open no other (back-off).
//!
//! The process that holds the sign-in lock writes the progress file. Other processes read it, and may leave a request:
//! to open the tab again, to make room, or to stop.

use std::cell::RefCell;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::back_off::STEPS;
use super::lock::{Lock, Polling, Purpose};
use super::state::{Ended, StateFiles};
use crate::caller::Deadline;
use crate::clock;
use crate::error::{Failure, Id, Origin, Result};
use crate::text;

/// Version of the files' formats.
const FORMAT: u32 = 1;

/// Largest file that is read, in bytes.
const LIMIT: u64 = 16 * 1024;

/// The file's name is older than the type's.
const CONTROL: &str = "wish";

/// How long a process that only looks at the lock may keep another from taking it.
const LOOKED_AT: Duration = Duration::from_millis(150);

/// A tab that was opened longer ago than this, in milliseconds, may have been closed by the user: it may be opened
/// again.
const TAB_MS: u64 = 45_000;

/// How often, at most, a tab is opened again for the same authorization request.
const AGAIN: u32 = 3;

/// What every process may know of the last or active sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    v: u32,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When the last tab was opened, in milliseconds since 1970; 0 before the first.
    pub tab_opened_ms: u64,
    /// How many tabs were opened.
    pub tabs: u32,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
    /// How many sign-ins in a row were refused.
    pub refusals: u32,
    /// Until when hosts' calls open no sign-in, in seconds since 1970; 0 if they may.
    pub closed_until: u64,
}

/// What other processes ask of the one that holds the active sign-in, as the file has it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ControlFile {
    open_again: bool,
    replace: bool,
    stop: bool,
}

/// What another process asks of the one that holds the active sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRequest {
    /// Open the same request again.
    OpenAgain,
    /// Make room for another sign-in.
    Replace,
    /// End: the user has signed out.
    Stop,
}

impl ControlRequest {
    /// Leaves the request for the process that holds the active sign-in.
    pub fn leave(self, files: &StateFiles) {
        let mut left: ControlFile = read(files, CONTROL);
        match self {
            Self::OpenAgain => left.open_again = true,
            Self::Replace => left.replace = true,
            Self::Stop => left.stop = true,
        }
        write(files, CONTROL, &left);
    }
}

impl Progress {
    /// Reads the progress file. One that is damaged or missing counts as empty.
    pub fn read(files: &StateFiles) -> Self {
        read(files, "sign-in")
    }

    /// The failure that a host's call gets while a back-off is in force (`sign-in-required`).
    pub fn back_off(&self) -> Option<Failure> {
        let left = self.closed_until.checked_sub(clock::now())?;
        // A clock that was set back must not prolong a back-off beyond the longest one.
        let in_force = left > 0 && left <= STEPS[STEPS.len() - 1];
        in_force.then(|| {
            Failure::new(
                Id::SignInRequired,
                format!(
                    "the last sign-in was refused; none is opened until {}",
                    text::moment(self.closed_until)
                ),
                "gatepass login",
            )
            .told_by_provider()
        })
    }

    /// Whether the tab was opened so long ago that the user may have closed it.
    pub fn may_open_again(&self) -> bool {
        self.tabs > 0
            && self.tabs <= AGAIN
            && clock::now_millis().saturating_sub(self.tab_opened_ms) > TAB_MS
    }
}

/// The right to have a sign-in open. Released when dropped.
#[derive(Debug)]
pub struct ActiveSignIn {
    files: StateFiles,
    progress: RefCell<Progress>,
    _lock: Lock,
}

impl ActiveSignIn {
    /// Begins a sign-in, unless another process has one open.
    ///
    /// # Errors
    /// `config` as [`Lock::try_take`].
    pub fn begin(files: &StateFiles) -> Result<Option<Self>> {
        // A process that only looks holds the lock for a moment, too.
        let until = Deadline::after(LOOKED_AT);
        let mut pause = Polling::default();
        let lock = loop {
            match Lock::try_take(files, Purpose::SignIn)? {
                Some(lock) => break lock,
                None if until.passed() => return Ok(None),
                None => pause.sleep(until),
            }
        };
        let before = Progress::read(files);
        // Earlier requests were for the process that held the lock before.
        write(files, CONTROL, &ControlFile::default());
        let open = Self {
            files: files.clone(),
            progress: RefCell::new(Progress {
                v: FORMAT,
                began_ms: clock::now_millis(),
                refusals: before.refusals,
                closed_until: before.closed_until,
                ..Progress::default()
            }),
            _lock: lock,
        };
        open.save();
        Ok(Some(open))
    }

    /// Forgets earlier refusals: the user asked for this sign-in by name.
    pub fn forgive(&self) {
        self.change(|progress| {
            progress.refusals = 0;
            progress.closed_until = 0;
        });
    }

    /// A tab was opened.
    pub fn tab_opened(&self) {
        let mut left: ControlFile = read(&self.files, CONTROL);
        if std::mem::take(&mut left.open_again) {
            write(&self.files, CONTROL, &left);
        }
        self.change(|progress| {
            progress.tabs += 1;
            progress.tab_opened_ms = clock::now_millis();
        });
    }

    /// The profile's files.
    pub fn files(&self) -> &StateFiles {
        &self.files
    }

    /// What another process asks for, the most far-reaching request first.
    pub fn requested(&self) -> Option<ControlRequest> {
        let left: ControlFile = read(&self.files, CONTROL);
        let progress = self.progress.borrow();
        if left.stop {
            Some(ControlRequest::Stop)
        } else if left.replace {
            Some(ControlRequest::Replace)
        } else if left.open_again && progress.may_open_again() {
            Some(ControlRequest::OpenAgain)
        } else {
            None
        }
    }

    /// The sign-in has ended. After a refusal, once a tab was opened, hosts' calls open none for a while (back-off).
    pub fn end(self, failure: Option<&Failure>) {
        self.change(|progress| {
            progress.ended = Some(Ended::now(failure));
            match failure {
                None => {
                    progress.refusals = 0;
                    progress.closed_until = 0;
                }
                Some(failure) if progress.tabs > 0 && failure.origin == Origin::Provider => {
                    let step = usize::try_from(progress.refusals).unwrap_or(usize::MAX);
                    let time = STEPS[step.min(STEPS.len() - 1)];
                    progress.closed_until = clock::now() + time;
                    progress.refusals = progress.refusals.saturating_add(1);
                }
                Some(_) => {}
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.borrow_mut());
        self.save();
    }

    fn save(&self) {
        write(&self.files, "sign-in", &*self.progress.borrow());
    }
}

/// These files only coordinate processes; one that cannot be read or written is no reason to stop.
fn read<T: Default + for<'de> Deserialize<'de>>(files: &StateFiles, kind: &str) -> T {
    files
        .dir()
        .read(&files.name(kind), LIMIT)
        .ok()
        .flatten()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn write(files: &StateFiles, kind: &str, content: &impl Serialize) {
    let written = serde_json::to_vec(content)
        .map_err(std::io::Error::from)
        .and_then(|bytes| files.dir().replace(&files.name(kind), &bytes));
    if let Err(error) = written {
        log::warn!("a file beside the session could not be written: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_lasts_one_five_fifteen_and_sixty_minutes() {
        let base = tempfile::tempdir().unwrap();
        let files = StateFiles::at(base.path(), "k").unwrap();
        let refused = Failure::new(Id::SignInFailed, "no", "x").told_by_provider();
        for minutes in [1, 5, 15, 60, 60] {
            let open = ActiveSignIn::begin(&files).unwrap().unwrap();
            assert!(
                ActiveSignIn::begin(&files).unwrap().is_none(),
                "one at a time"
            );
            open.tab_opened();
            open.end(Some(&refused));
            let left = Progress::read(&files).closed_until - clock::now();
            assert!(
                (minutes * 60 - 2..=minutes * 60).contains(&left),
                "{minutes} {left}"
            );
            assert!(Progress::read(&files).back_off().is_some());
        }
        let open = ActiveSignIn::begin(&files).unwrap().unwrap();
        open.forgive();
        assert!(Progress::read(&files).back_off().is_none());
        open.end(None);
        assert_eq!(Progress::read(&files).refusals, 0);
    }

    #[test]
    fn failures_of_the_environment_and_before_any_tab_start_no_back_off() {
        let base = tempfile::tempdir().unwrap();
        let files = StateFiles::at(base.path(), "k").unwrap();
        let open = ActiveSignIn::begin(&files).unwrap().unwrap();
        open.end(Some(
            &Failure::new(Id::SignInFailed, "no", "x").told_by_provider(),
        ));
        let open = ActiveSignIn::begin(&files).unwrap().unwrap();
        open.tab_opened();
        open.end(Some(&Failure::new(Id::Keychain, "no", "x")));
        assert_eq!(Progress::read(&files).closed_until, 0);
    }

    #[test]
    fn requests_are_for_the_sign_in_that_is_open() {
        let base = tempfile::tempdir().unwrap();
        let files = StateFiles::at(base.path(), "k").unwrap();
        ControlRequest::Stop.leave(&files);
        let open = ActiveSignIn::begin(&files).unwrap().unwrap();
        assert_eq!(open.requested(), None);
        open.tab_opened();
        ControlRequest::OpenAgain.leave(&files);
        assert_eq!(open.requested(), None, "the tab is young");
        open.change(|progress| progress.tab_opened_ms -= TAB_MS + 1);
        assert_eq!(open.requested(), Some(ControlRequest::OpenAgain));
        open.change(|progress| progress.tabs = AGAIN + 1);
        assert_eq!(open.requested(), None, "often enough");
        ControlRequest::Stop.leave(&files);
        assert_eq!(open.requested(), Some(ControlRequest::Stop));
    }
}
