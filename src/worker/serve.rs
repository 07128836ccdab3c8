//! What a worker does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::Task;
use super::answer::Answer;
use super::desktop::{self, AtDesktop};
use crate::audit;
use crate::caller::{Caller, Deadline, Host};
use crate::clock;
use crate::config::settings::{Interactive, Settings};
use crate::error::{Failure, Id, Result};
use crate::oidc::loopback::LoopbackServer;
use crate::platform;
use crate::platform::environment::Environment;
use crate::reader::TokenRequirement;
use crate::session::open_sign_in::OpenSignIn;
use crate::session::record::IssuedToken;
use crate::session::state::StateFiles;
use crate::store::{self, Prompting};
use crate::writer::renewal::AtProvider;
use crate::writer::sign_in::{Replace, SignIn, Way};
use crate::writer::{Budget, Writer};

/// Least time before the caller's deadline at which a worker gives up what it can still give up.
const RESERVE: Duration = Duration::from_millis(500);

/// Time to finish what was begun when the caller's time is over: one request and one write to the keychain.
const FINISH: Duration = Duration::from_secs(60);

/// How long people who finish an expired sign-in are told so.
const LATE: Duration = Duration::from_secs(120);

/// Runs a worker to its end.
pub fn serve(
    task: Task,
    settings: &Settings,
    need: TokenRequirement,
    caller: Caller,
) -> Result<()> {
    platform::become_session_leader();
    if let Err(failure) = permitted(task, settings, caller) {
        Answer::Done(Err(failure.clone())).write(io::stdout());
        return Err(failure);
    }
    match task {
        Task::Refresh => {
            let mut end_is_news = false;
            let result = refresh(settings, need, caller, &mut end_is_news);
            Answer::Done(result.clone()).write(io::stdout());
            // Only now: whoever waits has its answer.
            if let (true, Err(failure)) = (end_is_news, &result) {
                desktop::tell_the_end(settings, caller.host, failure);
            }
        }
        Task::SignIn => {
            let mut expired_server = None;
            let result = sign_in(settings, caller.host, &mut expired_server);
            Answer::Done(result).write(io::stdout());
            if let Some(expired_server) = expired_server {
                std::thread::sleep(LATE);
                expired_server.close();
            }
        }
    }
    Ok(())
}

/// Whether this work may be done and its result handed over. A worker can be started by anybody who may run
/// programs here, so it asks what the visible process has asked; and what it hands over goes through the pipe that its
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
    if task == Task::SignIn && settings.interactive == Interactive::Never {
        return Err(Failure::new(
            Id::SignInRequired,
            "a sign-in is needed, and `interactive` is \"never\"",
            "gatepass login",
        ));
    }
    let (caller, task) = (caller.host, super::start::task_name(task));
    audit::note(settings, audit::Event::Worker { caller, task });
    Ok(())
}

/// `end_is_news` says whether the session turned out to have ended, in a call that may not prompt, and nobody has
/// been told yet.
fn refresh(
    settings: &Settings,
    need: TokenRequirement,
    caller: Caller,
    end_is_news: &mut bool,
) -> Result<IssuedToken> {
    let answer_by = caller.deadline.less(RESERVE);
    let store = store::open(settings, Prompting::Forbidden);
    let budget = Budget::finishing(answer_by, Deadline::after(answer_by.left() + FINISH));
    let files = StateFiles::open(settings)?;
    let mut writer = Writer::take(settings, &files, &*store, budget)?;
    Answer::Begun.write(io::stdout());
    let provider = AtProvider {
        settings,
        files: &files,
        began_ms: clock::now_millis(),
        budget,
    };
    let result = writer.refresh(need, &provider);
    if let Err(failure) = &result {
        *end_is_news = settings.notify && !caller.may_prompt && writer.end_is_news(failure);
    }
    result
}

/// Keeps a browser sign-in open, for as long as a sign-in lasts, whatever becomes of the caller. `expired_server` is the
/// redirect of one that has expired.
fn sign_in(
    settings: &Settings,
    host: Host,
    expired_server: &mut Option<LoopbackServer>,
) -> Result<IssuedToken> {
    let files = StateFiles::open(settings)?;
    let Some(open) = OpenSignIn::begin(&files)? else {
        return Err(Failure::new(
            Id::SignInRequired,
            "a sign-in is already open",
            "finish it in your browser",
        ));
    };
    Answer::Begun.write(io::stdout());
    let store = store::open(settings, Prompting::Allowed);
    let sign_in = SignIn {
        settings,
        store: &*store,
        deadline: Deadline::after(settings.sign_in_timeout),
        host,
        environment: Environment::look(),
        person: &AtDesktop { settings, host },
        open: &open,
        replace: Replace::Never,
        expired_server: RefCell::default(),
        secret_headers: BTreeMap::new(),
    };
    let result = sign_in.run(Way::Browser);
    *expired_server = sign_in.expired_server.take();
    open.end(result.as_ref().err());
    result.map(|signed_in| signed_in.token)
}
