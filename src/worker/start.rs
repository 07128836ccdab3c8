//! Starting a worker.

use std::ffi::OsString;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::event::WorkerEvent;
use super::{COMMAND, Task};
use crate::caller::Caller;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::logging;
use crate::platform::detached::start_detached;
use crate::reader::{Renew, TokenRequirement};

/// Longest wait for the log of a worker that is done.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What the caller of a worker may be told of the configuration: only where it is.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    /// The effective configuration.
    pub settings: &'a Settings,
    /// `--config`, if it was given.
    pub file: Option<&'a Path>,
}

/// A worker that was started.
#[derive(Debug)]
pub struct Worker {
    events: Receiver<WorkerEvent>,
    /// Ends when the last of its log lines has been passed on.
    log: Option<Receiver<()>>,
}

impl Worker {
    /// Starts a worker and waits until it has begun (or ended).
    ///
    /// # Errors
    /// `internal` where no process can be started.
    pub fn start(
        task: Task,
        configuration: Configuration<'_>,
        need: TokenRequirement,
        caller: Caller,
    ) -> Result<Self> {
        let settings = configuration.settings;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&[COMMAND, task_name(task)]);
        add(&["--profile", settings.profile.as_str()]);
        add(&["--min-validity", &settings.min_validity.to_string()]);
        add(&["--asked-at", &need.asked_at_ms.to_string()]);
        let within = caller.deadline.left().as_millis().to_string();
        add(&["--within", &within]);
        add(&["--caller", caller.host.option().as_str()]);
        if !caller.may_prompt {
            add(&["--silent"]);
        }
        match need.renew {
            Renew::IfNeeded => {}
            Renew::Forced => add(&["--force"]),
            // A worker of an earlier version knows the first of them.
            Renew::RefusedByGateway => add(&["--force", "--refused"]),
        }
        if let Some(file) = configuration.file {
            let file = std::path::absolute(file).map_err(|error| {
                Failure::internal(format!("no worker could be started: {error}"))
            })?;
            arguments.extend(["--config".into(), file.into()]);
        }
        let worker = start_detached(&arguments, logging::is_on_stderr())
            .map_err(|error| Failure::internal(format!("no worker could be started: {error}")))?;
        let mut log = None;
        if let Some(lines) = worker.log {
            let (end, log_ended) = mpsc::channel();
            log = Some(log_ended);
            thread::spawn(move || {
                forward(lines);
                drop(end);
            });
        }
        let (event, events) = mpsc::channel();
        let digest = settings.token_digest.clone();
        let (output, wait) = (worker.output, worker.wait);
        thread::spawn(move || {
            let mut lines = BufReader::new(output);
            while let Some(line) = WorkerEvent::read(&mut lines, &digest) {
                if event.send(line).is_err() {
                    break;
                }
            }
            // Reaps the worker if it ends while we are here.
            wait();
        });
        Ok(Self { events, log })
    }

    /// Waits for what the worker says next, at most this long.
    ///
    /// # Errors
    /// `Timeout` where it has said nothing in this time, `Disconnected` where it has ended without an answer.
    pub fn event(&self, time: Duration) -> Result<WorkerEvent, RecvTimeoutError> {
        let event = self.events.recv_timeout(time)?;
        // What it logged on the way comes before what we say about its end.
        if let (WorkerEvent::Done(_), Some(log)) = (&event, &self.log) {
            let _ = log.recv_timeout(LAST_WORDS);
        }
        Ok(event)
    }
}

pub(super) fn task_name(task: Task) -> &'static str {
    match task {
        Task::Refresh => "refresh",
        Task::SignIn => "sign-in",
    }
}

/// The worker's log lines, while we are here to pass them on. They were cleaned when they were written.
fn forward(mut from: impl Read) {
    let _ = std::io::copy(&mut from, &mut std::io::stderr());
}
