//! A provider, a gateway, and gatepass between them: what the demo shows and what `test --native` proves.
//!
//! What is shown runs in a process of its own, which notices when the one that a person started has ended: a Ctrl-C, a
//! closed window or a kill leaves nothing behind either.

pub(crate) mod browser;
pub(crate) mod place;
pub(crate) mod processes;
#[cfg(target_os = "linux")]
mod secret_service;

use std::ffi::OsString;
use std::io::Read;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use gatepass_testkit::gateway::Gateway;
use gatepass_testkit::provider::{Provider, Settings};

use crate::process;

use browser::{ACCOUNT, Browser};
use place::Place;

const CLIENT: &str = "gatepass-demo";

/// How long the person has.
const SIGN_IN: Duration = Duration::from_secs(300);

/// How long one run may take that waits for no person. Windows programs under Wine are slow to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long signing out may take after a failure.
const LAST_LOGOUT: Duration = Duration::from_secs(10);

/// Whoever started this process has gone.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Everything that has to be gone afterwards.
pub(crate) struct Stage {
    pub(crate) provider: Provider,
    pub(crate) gateway: Gateway,
    pub(crate) place: Place,
    pub(crate) gatepass: PathBuf,
    signed_in: bool,
}

/// What a run of gatepass did.
pub(crate) struct Asked {
    /// Nothing where it had to be ended.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) elapsed: Duration,
}

impl Asked {
    /// The one token on standard output, of a run that had nothing else to say.
    pub(crate) fn token(&self) -> Option<&str> {
        let token = self.stdout.strip_suffix('\n')?;
        let bare = !token.is_empty() && !token.contains(char::is_whitespace);
        (self.code == Some(0) && bare).then_some(token)
    }

    /// What a failure's text says of it: nothing that stood on standard output.
    pub(crate) fn in_words(&self) -> String {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        let said: Vec<&str> = self.stderr.lines().map(str::trim).collect();
        format!("exit code {code}, {}", said.join("; "))
    }
}

/// A run of gatepass. It is ended where nobody waits for it any more, with the worker that would go on without it.
pub(crate) struct Running {
    child: Option<Child>,
    program: PathBuf,
    started: Instant,
    streams: [Receiver<Vec<u8>>; 2],
}

impl Running {
    /// Starts it; what it says is read while it runs.
    pub(crate) fn start(mut command: Command) -> Result<Self, String> {
        let program = PathBuf::from(command.get_program());
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("gatepass cannot be run: {error}"))?;
        let streams = [
            read(child.stdout.take().expect("a pipe")),
            read(child.stderr.take().expect("a pipe")),
        ];
        Ok(Self {
            child: Some(child),
            program,
            started,
            streams,
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The workers that work for it.
    pub(crate) fn workers(&self) -> Vec<u32> {
        processes::workers_of(self.id(), &self.program)
    }

    /// Ends it, as a host does that waits no longer, and leaves its worker alone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for its end and that of what it says; one that takes longer is ended.
    pub(crate) fn end(mut self, limit: Duration) -> Asked {
        let ends = Instant::now() + limit;
        let mut in_time = true;
        let [stdout, stderr] = [0, 1].map(|stream: usize| {
            let left = ends.saturating_duration_since(Instant::now());
            let said = self.streams[stream].recv_timeout(left);
            in_time &= said.is_ok();
            String::from_utf8_lossy(&said.unwrap_or_default()).into_owned()
        });
        let elapsed = self.started.elapsed();
        if !in_time {
            return Asked {
                code: None,
                stdout,
                stderr: format!("{stderr}it did not end within {} s", limit.as_secs()),
                elapsed,
            };
        }
        let status = self.child.take().map(|mut child| child.wait());
        Asked {
            code: status.and_then(Result::ok).and_then(|status| status.code()),
            stdout,
            stderr,
            elapsed,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.is_some() {
            let workers = self.workers();
            self.kill();
            workers.into_iter().for_each(processes::end);
        }
    }
}

/// Reads a stream to its end.
fn read(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (said, wait) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = said.send(bytes);
    });
    wait
}

impl Stage {
    pub(crate) fn set(gatepass: &Path, browser: &Browser, place: Place) -> Result<Self, String> {
        let settings = Settings {
            client_id: Some(CLIENT.to_owned()),
            account: ACCOUNT.to_owned(),
            access_token_seconds: 3600,
            id_token_seconds: 3600,
            ..Settings::default()
        };
        let audience = settings.audience.clone();
        let provider = Provider::start(settings);
        let gateway = Gateway::start(&provider.issuer(), &audience);
        let limit = SIGN_IN.as_secs();
        place.configure(&format!(
            "issuer = \"{}\"\nclient_id = \"{CLIENT}\"\ngateway_url = \"{}\"\n\
             display_name = \"the demo provider\"\nlogin_hint = \"{ACCOUNT}\"\n\
             interactive_timeout = {limit}\nsign_in_timeout = {limit}\n{}",
            provider.issuer(),
            gateway.url(),
            browser.config(&place.mailbox())?,
        ))?;
        Ok(Self {
            provider,
            gateway,
            place,
            gatepass: gatepass.to_path_buf(),
            signed_in: false,
        })
    }

    /// As Claude Desktop runs it: no arguments, and one variable that says why.
    pub(crate) fn host(&self, context: &str) -> Command {
        let mut command = self.place.command(&self.gatepass);
        command.env("CLAUDE_HELPER_CONTEXT", context);
        command
    }

    /// As a person types it.
    pub(crate) fn typed(&self, words: &[&str]) -> Command {
        let mut command = self.place.command(&self.gatepass);
        command.args(words);
        command
    }

    /// One call of the host.
    pub(crate) fn ask(&self, context: &str) -> Result<Asked, String> {
        finished(self.host(context))
    }

    /// One call of the host; until it ends, somebody attends to the browser, whose address comes to the mailbox.
    pub(crate) fn ask_while(
        &mut self,
        context: &str,
        mut attend: impl FnMut(&Path) -> Result<(), String>,
    ) -> Result<Asked, String> {
        let mailbox = self.place.mailbox();
        self.signed_in = true;
        let mut running = Running::start(self.host(context))?;
        while running.runs() {
            attend(&mailbox)?;
            pause()?;
        }
        Ok(running.end(PATIENCE))
    }

    /// Signs out.
    pub(crate) fn logout(&mut self) -> Result<Asked, String> {
        let said = finished(self.typed(&["logout"]))?;
        self.signed_in &= said.code != Some(0);
        Ok(said)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Outside the home, in the kernel's keyring and in keychains, only signing out empties anything. It need not
        // work any more, so it does not get all the time that it would take.
        if self.signed_in
            && let Ok(running) = Running::start(self.typed(&["logout"]))
        {
            running.end(LAST_LOGOUT);
        }
    }
}

/// A run to its end.
pub(crate) fn finished(command: Command) -> Result<Asked, String> {
    Ok(Running::start(command)?.end(PATIENCE))
}

/// Runs this very program with these words, in a process that notices when this one ends, and returns how it ended. It
/// has told of a failure by then.
pub(crate) fn in_own_process(words: &[OsString]) -> Result<ExitStatus, String> {
    let myself = process::itself()?;
    let mut show = Command::new(myself);
    // The pipe closes when this process ends, however it ends; Ctrl-C goes to this process alone.
    show.args(words).stdin(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut show, 0);
    let mut show = show
        .spawn()
        .map_err(|e| format!("this program cannot be started again: {e}"))?;
    let pipe = show.stdin.take();
    let ended = show.wait();
    drop(pipe);
    ended.map_err(|e| format!("this program cannot be waited for: {e}"))
}

/// Ends this process as the one ended that it has waited for, without a further word.
pub(crate) fn end_like(status: ExitStatus) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    std::process::exit(status.code().unwrap_or(1))
}

/// Does what [`in_own_process`] started this process for; whatever happens in it, it ends in order.
pub(crate) fn guarded(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        INTERRUPTED.store(true, Ordering::Relaxed);
    });
    // The testkit stops by a panic; what it says becomes the one line at the end.
    panic::set_hook(Box::new(|_| {}));
    caught(work)
}

/// The work's result; what a panic of the testkit says becomes an error.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(text.unwrap_or_else(|| "something unexpected happened".to_owned()))
    })
}

/// Whether the person has ended it.
pub(crate) fn interrupted() -> Result<(), String> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        Err("it was interrupted".to_owned())
    } else {
        Ok(())
    }
}

/// Waits a little, and says whether it goes on.
pub(crate) fn pause() -> Result<(), String> {
    thread::sleep(Duration::from_millis(10));
    interrupted()
}
