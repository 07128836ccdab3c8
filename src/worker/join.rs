//! Waiting for one refresh or one sign-in, whoever started it.
//!
//! Everybody who needs the work looks for its result; the first one who finds nobody working starts a worker. The
//! provider's answer is everybody's; a failure of the worker's own surroundings is only its starter's.

use std::time::Duration;

use super::Task;
use super::start::{Configuration, Word, Worker};
use crate::caller::Caller;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::reader::{Reader, TokenRequirement};
use crate::session::lock::{Lock, Pause, Purpose};
use crate::session::open_sign_in::{self, Progress};
use crate::session::record::IssuedToken;
use crate::session::state::{Ended, StateFiles};
use crate::store::SecretStore;

/// How long a sign-in that looks who waits may keep a waiter from showing itself.
const LOOKED_AT: Duration = Duration::from_millis(150);

/// Longest wait for a worker to say that it has begun.
const BEGIN: Duration = Duration::from_secs(5);

/// One caller's wait.
pub struct Join<'a> {
    /// The effective configuration.
    pub configuration: Configuration<'a>,
    /// What the caller needs.
    pub need: TokenRequirement,
    /// Who it is.
    pub caller: Caller,
    /// Where the result can be read if there is no cache.
    pub store: &'a dyn SecretStore,
}

/// What a look around has found.
enum Seen {
    /// The end of the wait.
    Result(Result<IssuedToken>),
    /// Somebody works on it.
    Busy,
    /// Nobody works on it.
    Idle,
}

impl Join<'_> {
    fn settings(&self) -> &Settings {
        self.configuration.settings
    }

    /// Waits for a refresh, starting one if nobody else does.
    pub fn refresh(&self) -> Result<IssuedToken> {
        self.wait(
            Task::Refresh,
            |reader, tried| {
                if let Some(result) =
                    self.outcome(reader, reader.state.refreshed.as_ref(), tried)?
                {
                    return Ok(Seen::Result(result));
                }
                let busy = Lock::is_held(&reader.files, Purpose::Write)?;
                Ok(if busy { Seen::Busy } else { Seen::Idle })
            },
            || {
                Failure::new(
                    Id::Unavailable,
                    "the provider has not answered in time; the refresh goes on in the background",
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
    /// `may_open` says whether a browser is the way for this caller.
    pub fn sign_in(&self, may_open: bool) -> Result<IssuedToken> {
        let _waiting = self.show_that_somebody_waits()?;
        self.wait(
            Task::SignIn,
            |reader, tried| {
                let progress = Progress::read(&reader.files);
                if let Some(result) = self.outcome(reader, progress.ended.as_ref(), tried)? {
                    return Ok(Seen::Result(result));
                }
                if Lock::is_held(&reader.files, Purpose::SignIn)? {
                    if progress.may_open_again() {
                        open_sign_in::ask_to_open_again(&reader.files);
                    }
                    return Ok(Seen::Busy);
                }
                Ok(match progress.back_off() {
                    Some(failure) => Seen::Result(Err(failure)),
                    None if may_open => Seen::Idle,
                    None => Seen::Result(Err(Failure::new(
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

    /// Held while this caller waits, so that the person is told whether their application still does.
    fn show_that_somebody_waits(&self) -> Result<Option<Lock>> {
        let files = StateFiles::open(self.settings())?;
        let until = self.caller.deadline.at_most(LOOKED_AT);
        let mut pause = Pause::default();
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
        look: impl Fn(&Reader<'_>, bool) -> Result<Seen>,
        too_late: impl Fn() -> Failure,
    ) -> Result<IssuedToken> {
        let mut worker: Option<Worker> = None;
        let mut tried = false;
        let mut may_die = true;
        let mut pause = Pause::default();
        let mut time_for_a_word = Duration::ZERO;
        loop {
            match worker
                .as_ref()
                .and_then(|started| started.word(time_for_a_word))
            {
                Some(Word::Done(result)) => return result,
                // It was killed. A new one decides on what it finds; a second death is no accident.
                Some(Word::Gone) if may_die => (worker, tried, may_die) = (None, false, false),
                Some(Word::Gone) => return Err(gone()),
                Some(Word::Begun) | None => {}
            }
            let reader = Reader::open(self.settings())?;
            if let Some(token) = reader.cached()
                && self.need.is_met_by(&token, &reader)
            {
                return Ok(token);
            }
            if worker.is_none() {
                match look(&reader, tried)? {
                    Seen::Result(result) => return result,
                    Seen::Idle if !tried => {
                        // Whoever holds this lock is starting a worker for all of us.
                        if let Some(_start) = Lock::try_take(&reader.files, Purpose::Start)?
                            && matches!(look(&reader, tried)?, Seen::Idle)
                        {
                            tried = true;
                            match self.start(task)? {
                                Started::Working(started) => worker = Some(started),
                                Started::Done(result) => return result,
                            }
                        }
                    }
                    Seen::Idle | Seen::Busy => {}
                }
            }
            if self.caller.deadline.passed() {
                return Err(too_late());
            }
            if worker.is_some() {
                // The worker's word ends the pause.
                time_for_a_word = self.caller.deadline.left().min(LOOK);
            } else {
                pause.sleep(self.caller.deadline);
            }
        }
    }

    fn start(&self, task: Task) -> Result<Started> {
        let worker = Worker::start(task, self.configuration, self.need, self.caller)?;
        match worker.word(self.caller.deadline.left().min(BEGIN)) {
            Some(Word::Done(result)) => Ok(Started::Done(result)),
            Some(Word::Gone) => Err(gone()),
            Some(Word::Begun) | None => Ok(Started::Working(worker)),
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

/// How long a starter waits for its worker's word before it looks around itself.
const LOOK: Duration = Duration::from_millis(200);

enum Started {
    Working(Worker),
    Done(Result<IssuedToken>),
}

fn gone() -> Failure {
    Failure::internal("the background worker ended without an answer")
}
