//! Starting a worker.

use std::io::{BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::answer::Answer;
use super::{COMMAND, Task};
use crate::caller::Caller;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::logging;
use crate::platform;
use crate::session::record::IssuedToken;
use crate::writer::refresh::Need;

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
    answers: Receiver<Answer>,
}

impl Worker {
    /// Starts a worker and waits until it has begun (or ended).
    pub fn start(
        task: Task,
        configuration: Configuration<'_>,
        need: Need,
        caller: Caller,
    ) -> Result<Self> {
        let settings = configuration.settings;
        let mut command = platform::this_program()
            .map_err(|error| Failure::internal(format!("gatepass cannot find itself: {error}")))?;
        command.args([COMMAND, task_name(task)]);
        command.args(["--profile", settings.profile.as_str()]);
        if let Some(file) = configuration.file {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            command.arg("--config").arg(file);
        }
        // Not the caller's folder: the worker would keep it busy.
        if cfg!(unix) {
            command.current_dir("/");
        }
        command.args(["--min-validity", &settings.min_validity.to_string()]);
        command.args(["--asked-at", &need.asked_at_ms.to_string()]);
        let within = caller.deadline.left().as_millis().to_string();
        command.args([
            "--within",
            &within,
            "--caller",
            caller.host.option().as_str(),
        ]);
        if !caller.may_prompt {
            command.arg("--silent");
        }
        if need.force {
            command.arg("--force");
        }
        let log = logging::is_on_stderr();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Never our own standard error: a host may wait until everybody has closed it.
            .stderr(if log { Stdio::piped() } else { Stdio::null() });
        platform::keep_descriptors();
        let mut child = command
            .spawn()
            .map_err(|error| Failure::internal(format!("no worker could be started: {error}")))?;
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || forward(stderr));
        }
        let (answer, answers) = mpsc::channel();
        let digest = settings.token_digest.clone();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut lines = BufReader::new(stdout);
                while let Some(line) = Answer::read(&mut lines, &digest) {
                    if answer.send(line).is_err() {
                        break;
                    }
                }
                // Reaps the worker if it ends while we are here.
                let _ = child.wait();
            });
        }
        Ok(Self { answers })
    }

    /// Waits for the worker's next word, at most this long. `None` if there was none yet.
    pub fn word(&self, time: Duration) -> Option<Word> {
        match self.answers.recv_timeout(time) {
            Ok(Answer::Begun) => Some(Word::Begun),
            Ok(Answer::Done(result)) => Some(Word::Done(result)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Word::Gone),
        }
    }
}

/// What is known of a worker.
#[derive(Debug)]
pub enum Word {
    /// It holds the lock and works.
    Begun,
    /// It is done.
    Done(Result<IssuedToken>),
    /// It has ended without a word.
    Gone,
}

fn task_name(task: Task) -> &'static str {
    match task {
        Task::Refresh => "refresh",
        Task::SignIn => "sign-in",
    }
}

/// The worker's log lines, while we are here to pass them on. They were cleaned when they were written.
fn forward(mut from: impl Read) {
    let _ = std::io::copy(&mut from, &mut std::io::stderr());
}
