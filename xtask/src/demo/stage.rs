//! The provider, the gateway, and gatepass between them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gatepass_testkit::gateway::Gateway;
use gatepass_testkit::provider::{Provider, Settings};

use super::browser::{ACCOUNT, Browser};
use super::pause;
use super::place::{self, Place};

const CLIENT: &str = "gatepass-demo";

/// How long the person has.
const SIGN_IN: Duration = Duration::from_secs(300);

/// How long signing out may take after a failure.
const LAST_LOGOUT: Duration = Duration::from_secs(10);

/// Everything that has to be gone afterwards.
pub(super) struct Stage {
    pub(super) provider: Provider,
    pub(super) gateway: Gateway,
    pub(super) place: Place,
    gatepass: PathBuf,
    signed_in: bool,
}

/// What a run of gatepass did.
pub(super) struct Asked {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) elapsed: Duration,
}

impl Asked {
    fn new(output: &Output, elapsed: Duration) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            elapsed,
        }
    }
}

/// A run that is ended where nobody waits for it any more, with the worker that would go on without it.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let workers = place::children(child.id());
            let _ = child.kill();
            let _ = child.wait();
            workers.into_iter().for_each(place::end);
        }
    }
}

impl Stage {
    pub(super) fn set(gatepass: &Path, browser: &Browser) -> Result<Self, String> {
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
        let place = Place::new()?;
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
    fn host(&self, context: &str) -> Command {
        let mut command = self.place.command(&self.gatepass);
        command
            .env("CLAUDE_HELPER_CONTEXT", context)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// One call of the host.
    pub(super) fn ask(&self, context: &str) -> Result<Asked, String> {
        finished(&mut self.host(context))
    }

    /// One call of the host; until it ends, somebody attends to the browser, whose address comes to the mailbox.
    pub(super) fn ask_while(
        &mut self,
        context: &str,
        mut attend: impl FnMut(&Path) -> Result<(), String>,
    ) -> Result<Asked, String> {
        let mailbox = self.place.mailbox();
        let started = Instant::now();
        let child = self.host(context).spawn().map_err(not_started)?;
        self.signed_in = true;
        let mut running = Running(Some(child));
        while let Some(child) = &mut running.0
            && matches!(child.try_wait(), Ok(None))
        {
            attend(&mailbox)?;
            pause()?;
        }
        let elapsed = started.elapsed();
        let child = running.0.take().expect("it was there");
        let output = child.wait_with_output().map_err(not_started)?;
        Ok(Asked::new(&output, elapsed))
    }

    /// Signs out.
    pub(super) fn logout(&mut self) -> Result<Asked, String> {
        let said = finished(&mut self.logout_command())?;
        self.signed_in &= said.code != Some(0);
        Ok(said)
    }

    fn logout_command(&self) -> Command {
        let mut command = self.place.command(&self.gatepass);
        command.arg("logout").stdin(Stdio::null());
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.signed_in {
            return;
        }
        // The kernel's keyring outlives the home: only signing out empties it. It need not work any more, so it does
        // not get all the time that it would take.
        let mut logout = self.logout_command();
        logout.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running(logout.spawn().ok());
        let ends = Instant::now() + LAST_LOGOUT;
        while let Some(child) = &mut running.0
            && matches!(child.try_wait(), Ok(None))
            && Instant::now() < ends
        {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn finished(command: &mut Command) -> Result<Asked, String> {
    let started = Instant::now();
    let output = command.output().map_err(not_started)?;
    Ok(Asked::new(&output, started.elapsed()))
}

fn not_started(error: std::io::Error) -> String {
    format!("gatepass cannot be run: {error}")
}
