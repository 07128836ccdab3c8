//! Waiting for one refresh or one sign-in, whichever caller started it (single flight).
//!
//! Each caller that needs the work looks for its result; the first one that finds no process at work starts a worker.
//! The provider's answer is every caller's; a failure of the worker's own environment is only its starter's.

use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
use std::time::Duration;

use super::Task;
use super::event::WorkerEvent;
use super::start::{Configuration, Worker};
use crate::caller::Caller;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::reader::{Reader, TokenRequirement};
use crate::session::active_sign_in::{ControlRequest, Progress};
use crate::session::lock::{Lock, Polling, Purpose};
use crate::session::record::IssuedToken;
use crate::session::state::{Ended, StateFiles};
use crate::store::SecretStore;

/// How long a sign-in that looks whether a caller waits may keep one from showing itself.
const LOOKED_AT: Duration = Duration::from_millis(150);

/// Longest wait for a worker to say that it has begun.
const BEGIN: Duration = Duration::from_secs(5);

/// One caller's wait.
pub struct WorkerClient<'a> {
    /// The effective configuration.
    pub configuration: Configuration<'a>,
    /// What the caller needs.
    pub need: TokenRequirement,
    /// Which caller it is.
    pub caller: Caller,
    /// Where the result can be read if there is no cache.
    pub store: &'a dyn SecretStore,
}

/// How far the work has come, as the files say.
enum Work {
    /// The end of the wait.
    Result(Result<IssuedToken>),
    /// Another process works on it.
    Busy,
    /// No process works on it.
    Idle,
}

impl WorkerClient<'_> {
    fn settings(&self) -> &Settings {
        self.configuration.settings
    }

    /// Waits for a refresh, starting one if no other process does.
    ///
    /// # Errors
    /// `unavailable` where the provider has not answered by the caller's deadline; else the attempt's own failure.
    pub fn refresh(&self) -> Result<IssuedToken> {
        self.wait(
            Task::Refresh,
            |reader, tried| {
                if let Some(result) =
                    self.outcome(reader, reader.state.refreshed.as_ref(), tried)?
                {
                    return Ok(Work::Result(result));
                }
                let busy = Lock::is_held(&reader.files, Purpose::Write)?;
                Ok(if busy { Work::Busy } else { Work::Idle })
            },
            || {
                Failure::new(
                    Id::Unavailable,
                    "the refresh takes longer than this caller waits; it goes on in the background",
                    "run it again in a moment",
                )
            },
        )
    }

    /// Has a worker look at the session, and waits for nothing.
    pub fn in_background(&self) {
        let started = Worker::start(Task::Refresh, self.configuration, self.need, self.caller);
        if let Err(failure) = started {
            log::warn!("{}", failure.what);
        }
    }

    /// Waits for a sign-in, opening one if none is open and none was just refused.
    ///
    /// `may_open` says whether this caller may have a browser opened.
    ///
    /// # Errors
    /// `sign-in-required` where the sign-in is not finished by the caller's deadline, a back-off is in force, or none
    /// may be opened; else the attempt's own failure.
    pub fn sign_in(&self, may_open: bool) -> Result<IssuedToken> {
        let _waiting = self.show_that_a_caller_waits()?;
        self.wait(
            Task::SignIn,
            |reader, tried| {
                let progress = Progress::read(&reader.files);
                if let Some(result) = self.outcome(reader, progress.ended.as_ref(), tried)? {
                    return Ok(Work::Result(result));
                }
                if Lock::is_held(&reader.files, Purpose::SignIn)? {
                    if progress.may_open_again() {
                        ControlRequest::OpenAgain.leave(&reader.files);
                    }
                    return Ok(Work::Busy);
                }
                Ok(match progress.back_off() {
                    Some(failure) => Work::Result(Err(failure)),
                    None if may_open => Work::Idle,
                    None => Work::Result(Err(Failure::new(
                        Id::SignInRequired,
                        "the sign-in that was open has ended without a result",
                        "gatepass login",
                    ))),
                })
            },
            || {
                Failure::new(
                    Id::SignInRequired,
                    "a sign-in is open in the browser and not finished",
                    "finish it there, then run it again",
                )
                .told_by_provider()
            },
        )
    }

    /// Held while this caller waits, so that the result page can say whether the user's application still does.
    fn show_that_a_caller_waits(&self) -> Result<Option<Lock>> {
        let files = StateFiles::open(self.settings())?;
        let until = self.caller.deadline.at_most(LOOKED_AT);
        let mut pause = Polling::default();
        loop {
            let shared = Lock::share(&files, Purpose::Wait)?;
            if shared.is_some() || until.passed() {
                return Ok(shared);
            }
            // A sign-in looks at this very moment.
            pause.sleep(until);
        }
    }

    fn wait(
        &self,
        task: Task,
        look: impl Fn(&Reader<'_>, bool) -> Result<Work>,
        too_late: impl Fn() -> Failure,
    ) -> Result<IssuedToken> {
        let mut worker: Option<Worker> = None;
        let mut tried = false;
        let mut may_die = true;
        let mut pause = Polling::default();
        let mut listen_for = Duration::ZERO;
        loop {
            match worker.as_ref().map(|started| started.event(listen_for)) {
                Some(Ok(WorkerEvent::Done(result))) => return result,
                // It was killed. A new one decides on what it finds; a second death is no accident.
                Some(Err(Disconnected)) if may_die => {
                    (worker, tried, may_die) = (None, false, false)
                }
                Some(Err(Disconnected)) => return Err(gone()),
                Some(Ok(WorkerEvent::Begun) | Err(Timeout)) | None => {}
            }
            let reader = Reader::open(self.settings())?;
            if let Some(token) = reader.cached()
                && self.need.is_met_by(&token, &reader)
            {
                return Ok(token);
            }
            if worker.is_none() {
                match look(&reader, tried)? {
                    Work::Result(result) => return result,
                    Work::Idle if !tried => {
                        // The holder of this lock is starting a worker for all callers.
                        if let Some(_start) = Lock::try_take(&reader.files, Purpose::Start)?
                            && matches!(look(&reader, tried)?, Work::Idle)
                        {
                            tried = true;
                            match self.start(task)? {
                                Started::Working(started) => worker = Some(started),
                                Started::Done(result) => return result,
                            }
                        }
                    }
                    Work::Idle | Work::Busy => {}
                }
            }
            if self.caller.deadline.passed() {
                return Err(too_late());
            }
            if worker.is_some() {
                // What the worker says ends the pause.
                listen_for = self.caller.deadline.left().min(LISTEN);
            } else {
                pause.sleep(self.caller.deadline);
            }
        }
    }

    fn start(&self, task: Task) -> Result<Started> {
        let worker = Worker::start(task, self.configuration, self.need, self.caller)?;
        match worker.event(self.caller.deadline.left().min(BEGIN)) {
            Ok(WorkerEvent::Done(result)) => Ok(Started::Done(result)),
            Err(Disconnected) => Err(gone()),
            Ok(WorkerEvent::Begun) | Err(Timeout) => Ok(Started::Working(worker)),
        }
    }

    /// The end of an attempt that this caller waited for, as far as it is this caller's answer.
    fn outcome(
        &self,
        reader: &Reader<'_>,
        ended: Option<&Ended>,
        tried: bool,
    ) -> Result<Option<Result<IssuedToken>>> {
        let Some(ended) =
            ended.filter(|ended| clock::has_been_since(ended.at_ms, self.need.asked_at_ms))
        else {
            return Ok(None);
        };
        match ended.failure.clone().map(Failure::from) {
            Some(failure) if tried || ended.shared_failure().is_some() => Ok(Some(Err(failure))),
            Some(_) => Ok(None),
            // It succeeded, and there is no cache: the record has the token.
            None => {
                let record = reader.stored(self.store, self.caller.deadline)?;
                Ok(record
                    .and_then(|record| record.token_for(self.settings()))
                    .filter(|token| self.need.is_met_by(token, reader))
                    .map(Ok))
            }
        }
    }
}

/// How long a starter listens to its worker before it looks at the files itself.
const LISTEN: Duration = Duration::from_millis(200);

enum Started {
    Working(Worker),
    Done(Result<IssuedToken>),
}

fn gone() -> Failure {
    Failure::internal("the background worker ended without an answer")
}
