//! What a worker does.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::Task;
use super::desktop::{self, AtDesktop};
use super::event::WorkerEvent;
use crate::audit;
use crate::caller::{Caller, Deadline, Host};
use crate::clock;
use crate::config::settings::{Flow, Interactive, Kind, Settings};
use crate::error::{Failure, Id, Result};
use crate::platform;
use crate::platform::environment::Environment;
use crate::reader::TokenRequirement;
use crate::session::active_sign_in::{ActiveSignIn, Progress};
use crate::session::record::IssuedToken;
use crate::session::state::StateFiles;
use crate::store::{self, Prompting};
use crate::writer::install::SignedIn;
use crate::writer::renewal::AtProvider;
use crate::writer::sign_in::{NotSignedIn, Replace, SignInMethod, SignInRequest};
use crate::writer::{Budget, Writer};

/// Least time before the caller's deadline at which a worker gives up what it can still give up.
const RESERVE: Duration = Duration::from_millis(500);

/// Time to finish what was begun when the caller's time is over: one request and one write to the keychain.
const FINISH: Duration = Duration::from_secs(60);

/// How long the page of an expired sign-in stays, to tell a user who finishes too late.
const LATE: Duration = Duration::from_secs(120);

/// Runs a worker to its end. What comes of the work goes through the pipe; a failure of the work is no error here.
///
/// # Errors
/// `usage` where it was not gatepass that started it; `config` and `sign-in-required` where the policy does not allow
/// the work; `internal` where the answer cannot be written.
pub fn serve(
    task: Task,
    settings: &Settings,
    need: TokenRequirement,
    caller: Caller,
) -> Result<()> {
    platform::become_session_leader();
    if let Err(failure) = permitted(task, settings, caller) {
        WorkerEvent::Done(Err(failure.clone())).write(io::stdout())?;
        return Err(failure);
    }
    match task {
        Task::Refresh => {
            let result = refresh(settings, need, caller);
            let answer = match &result {
                Ok(token) => Ok(token.clone()),
                Err(ended) => Err(ended.failure.clone()),
            };
            WorkerEvent::Done(answer).write(io::stdout())?;
            // Only now: the caller that waits has its answer.
            if let Err(FailedRefresh {
                failure,
                end_is_news: true,
            }) = &result
            {
                desktop::tell_the_end(settings, caller.host, failure);
            }
        }
        Task::SignIn => {
            let (answer, expired_server) = match sign_in(settings, caller.host) {
                Ok(signed_in) => (Ok(signed_in.token), None),
                Err(ended) => (Err(ended.failure), ended.expired_server),
            };
            WorkerEvent::Done(answer).write(io::stdout())?;
            if let Some(server) = expired_server {
                std::thread::sleep(LATE);
                server.close();
            }
        }
    }
    Ok(())
}

/// Whether this work may be done and its result handed over. Any program of the user can start a worker,
/// so it asks what the visible process has asked; and what it hands over goes through the pipe that its
/// starter made for it, never into a file, a socket or a terminal.
fn permitted(task: Task, settings: &Settings, caller: Caller) -> Result<()> {
    if !platform::stdout_is_pipe() {
        return Err(Failure::new(
            Id::Usage,
            "this command is started by gatepass itself",
            "gatepass token",
        ));
    }
    settings.check_enabled()?;
    if task == Task::SignIn {
        may_open_a_tab(settings)?;
    }
    let (caller, task) = (caller.host, super::start::task_name(task));
    audit::note(settings, audit::Event::Worker { caller, task });
    Ok(())
}

/// Whether a sign-in in the browser may be opened without a person who has asked for it by name.
fn may_open_a_tab(settings: &Settings) -> Result<()> {
    let refused = |why: &str| Err(Failure::new(Id::SignInRequired, why, "gatepass login"));
    if settings.interactive == Interactive::Never {
        return refused("a sign-in is needed, and `interactive` is \"never\"");
    }
    if settings.kind == Kind::Key || settings.flow == Flow::Device {
        return refused("a sign-in is needed, and the configuration allows none in the browser");
    }
    match Progress::read(&StateFiles::open(settings)?).back_off() {
        Some(refused) => Err(refused),
        None => Ok(()),
    }
}

/// A refresh that brought no token.
struct FailedRefresh {
    failure: Failure,
    /// The session has ended, in a call that may not prompt, and the user has not been told yet.
    end_is_news: bool,
}

impl From<Failure> for FailedRefresh {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            end_is_news: false,
        }
    }
}

fn refresh(
    settings: &Settings,
    need: TokenRequirement,
    caller: Caller,
) -> Result<IssuedToken, FailedRefresh> {
    let answer_by = caller.deadline.less(RESERVE);
    let store = store::open(settings, Prompting::Forbidden);
    let budget = Budget::finishing(answer_by, Deadline::after(answer_by.left() + FINISH));
    let files = StateFiles::open(settings)?;
    let mut writer = Writer::take(settings, &files, &*store, budget)?;
    WorkerEvent::Begun.write(io::stdout())?;
    let provider = AtProvider {
        settings,
        files: &files,
        began_ms: clock::now_millis(),
        budget,
    };
    writer
        .refresh(need, &provider)
        .map_err(|failure| FailedRefresh {
            end_is_news: settings.notify && !caller.may_prompt && writer.end_is_news(&failure),
            failure,
        })
}

/// Keeps a browser sign-in open, for as long as a sign-in lasts, whatever becomes of the caller.
fn sign_in(settings: &Settings, host: Host) -> Result<SignedIn, NotSignedIn> {
    let files = StateFiles::open(settings)?;
    let Some(active) = ActiveSignIn::begin(&files)? else {
        let open = Failure::new(
            Id::SignInRequired,
            "a sign-in is already open",
            "finish it in your browser",
        );
        return Err(open.into());
    };
    WorkerEvent::Begun.write(io::stdout())?;
    let request = SignInRequest {
        settings,
        method: SignInMethod::Browser,
        host,
        environment: Environment::look(),
        why: None,
        deadline: Deadline::after(settings.sign_in_timeout),
        ui: &AtDesktop { settings, host },
        replace: Replace::Never,
        secret_headers: BTreeMap::new(),
    };
    request.run(active)
}
