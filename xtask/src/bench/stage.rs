//! What gatepass needs around it: a provider, a keychain, a home. All private, all gone at the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use gatepass_testkit::lab::{Home, Keyring};
use gatepass_testkit::provider::{Fault, Hook, Provider, Settings};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use super::time;
use crate::process::{self, find};

/// How long a sign-in is left alone.
const SETTLED: Duration = Duration::from_secs(3);

/// Programs that have to be there, and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 8] = [
    ("dbus-daemon", "dbus"),
    ("dbus-send", "dbus"),
    ("gnome-keyring-daemon", "gnome-keyring"),
    ("nsenter", "util-linux"),
    ("secret-tool", "libsecret-tools"),
    ("setpriv", "util-linux"),
    ("strace", "strace"),
    ("valgrind", "valgrind"),
];

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A usual lifetime, and one that is over soon, in seconds.
const LIFETIME: u64 = 3600;
const SHORT_LIFETIME: u64 = 1;

/// Makes the tokens about as long as those of large organisations: 1.8 kB.
const PADDING: usize = 1000;

/// Makes a token almost as long as one can be: 16 KiB.
const LONG_PADDING: usize = 11_850;

/// The longest token that is printed, in bytes.
const LONGEST: usize = 16 * 1024;

/// The profile that has such a token.
const LONG: &str = "long";

/// The profile whose session is another program's.
const SPARE: &str = "spare";

/// How long the provider thinks before it answers a crowd.
const THOUGHT: Duration = Duration::from_millis(100);

/// How long a process may go on after its caller got its answer.
const SETTLING: Duration = Duration::from_secs(30);

/// Where the token to print is cached.
#[derive(Clone, Copy)]
pub(super) enum Cache {
    Auto,
    Keychain,
}

pub(super) struct Stage {
    pub(super) provider: Provider,
    keyring: Keyring,
    home: Home,
    program: PathBuf,
    empty: PathBuf,
    /// Processes that stay until the end.
    parts: BTreeSet<i32>,
}

impl Stage {
    pub(super) fn set(program: PathBuf) -> Result<Self, String> {
        let missing: BTreeSet<&str> = PROGRAMS
            .iter()
            .filter(|(name, _)| find(name).is_none())
            .map(|(_, package)| *package)
            .collect();
        if !missing.is_empty() {
            let packages: Vec<&str> = missing.into_iter().collect();
            return Err(format!(
                "what is measured with is missing: apt-get install --no-install-recommends {}",
                packages.join(" ")
            ));
        }
        // Processes that outlive their caller become ours, so that they can be waited for and their time counts.
        set_child_subreaper(Some(getpid()))
            .map_err(|e| format!("orphans cannot be taken in: {e}"))?;
        let home = Home::new();
        let mut stage = Self {
            provider: Provider::start(Settings {
                auto_approve: true,
                access_token_seconds: LIFETIME,
                access_token_padding: PADDING,
                ..Settings::default()
            }),
            keyring: Keyring::start(),
            empty: empty_program(home.path())?,
            home,
            program,
            parts: BTreeSet::new(),
        };
        stage.parts = children();
        stage.configure(Cache::Auto);
        // After it no folder has to be made any more.
        time::once(&mut stage.gatepass(&[]), 4)?;
        Ok(stage)
    }

    /// Where files can be put.
    pub(super) fn folder(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn configure(&self, cache: Cache) {
        let cache = match cache {
            Cache::Auto => "auto",
            Cache::Keychain => "keychain",
        };
        self.home.config(&self.configuration(cache));
    }

    /// What the configuration file says.
    fn configuration(&self, cache: &str) -> String {
        let browser = process::itself().expect("this program's path");
        format!(
            "issuer = {:?}\nclient_id = \"gatepass\"\ncache = \"{cache}\"\nbrowser = [{browser:?}, \"bench\", \"visit\"]\n",
            self.provider.issuer(),
        )
    }

    /// A run of gatepass that ends as soon as it begins: no profile can have this name.
    pub(super) fn at_once(&self) -> Command {
        let mut command = self.gatepass(&[]);
        command.env("GATEPASS_PROFILE", "!");
        command
    }

    /// A run of gatepass that prints one of the longest tokens, and one that prints a usual one in the same way.
    pub(super) fn long_token(&self) -> Result<(Command, Command), String> {
        let configured = self.configuration("auto");
        self.home
            .config(&format!("{configured}[profile.{LONG}]\n[profile.usual]\n"));
        let mut runs = Vec::new();
        for (profile, padding) in [(LONG, LONG_PADDING), ("usual", PADDING)] {
            let padded = |padding| {
                self.provider
                    .set(|settings| settings.access_token_padding = padding);
            };
            padded(padding);
            let signed_in = self.succeed(&["--profile", profile, "login", "--browser"]);
            padded(PADDING);
            signed_in?;
            let mut command = self.gatepass(&[]);
            command.env("GATEPASS_PROFILE", profile);
            runs.push(command);
        }
        let Ok([mut long, usual]) = <[Command; 2]>::try_from(runs) else {
            return Err("two runs".to_owned());
        };
        let printed = long.stdout(Stdio::piped()).output();
        let length = printed.map_or(0, |output| output.stdout.len());
        long.stdout(Stdio::null());
        if (LONGEST - 512..=LONGEST + 1).contains(&length) {
            Ok((long, usual))
        } else {
            Err(format!("the long token has {length} bytes"))
        }
    }

    /// A run of gatepass as a host starts it when nobody is known to be present.
    pub(super) fn gatepass(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        command
            .args(arguments)
            .env("CLAUDE_HELPER_CONTEXT", "background");
        command
    }

    /// A run of the program that does nothing: no program can be quicker.
    pub(super) fn empty(&self) -> Command {
        self.command(&self.empty)
    }

    /// A refresh whose answer takes its time.
    pub(super) fn slow_refresh(&self) -> Command {
        self.provider
            .script(Hook::RefreshGrant, Fault::Delay(Duration::from_secs(1)));
        self.gatepass(&["token", "--force-refresh"])
    }

    /// The usual program that reads what gatepass stored in the keychain.
    pub(super) fn secret_tool(&self) -> Result<Command, String> {
        let program = find("secret-tool").ok_or("secret-tool is not installed")?;
        let mut command = self.command(&program);
        command.args(["lookup", "service", "gatepass", "username", "default"]);
        Ok(command)
    }

    /// A command that sees the same as gatepass.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .envs(self.keyring.env())
            .env("HOME", self.home.path())
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Signs in, and waits until what the keychain and the file system do afterwards disturbs no measurement.
    pub(super) fn sign_in(&self) -> Result<(), String> {
        self.succeed(&["login", "--browser"])?;
        thread::sleep(SETTLED);
        Ok(())
    }

    pub(super) fn sign_out(&self) -> Result<(), String> {
        self.succeed(&["logout"])
    }

    /// A refresh token for another program: that of a sign-in which nobody else uses.
    pub(super) fn spare_refresh_token(&self) -> Result<String, String> {
        let configured = self.configuration("auto");
        self.home
            .config(&format!("{configured}[profile.{SPARE}]\n"));
        self.succeed(&["--profile", SPARE, "login", "--browser"])?;
        self.configure(Cache::Auto);
        let program = find("secret-tool").ok_or("secret-tool is not installed")?;
        let output = self
            .command(&program)
            .args(["lookup", "service", "gatepass", "username", SPARE])
            .stdout(Stdio::piped())
            .output()
            .map_err(|e| format!("secret-tool cannot be started: {e}"))?;
        let record: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|e| format!("the session: {e}"))?;
        let token = record.get("refresh_token").and_then(|token| token.as_str());
        token
            .map(str::to_owned)
            .ok_or_else(|| "the session has no refresh token".to_owned())
    }

    /// Ends the sessions of every profile.
    pub(super) fn sign_out_everywhere(&self) -> Result<(), String> {
        self.succeed(&["logout", "--all"])
    }

    fn succeed(&self, arguments: &[&str]) -> Result<(), String> {
        let output = self
            .gatepass(arguments)
            .stderr(Stdio::piped())
            .output()
            .map_err(|e| format!("gatepass cannot be started: {e}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("gatepass {}: {said}", arguments.join(" ")));
        }
        self.settle()
    }

    /// Waits for the end of processes that outlived their caller.
    pub(super) fn settle(&self) -> Result<(), String> {
        let ends = Instant::now() + SETTLING;
        loop {
            let mut left = children();
            left.retain(|id| !self.parts.contains(id));
            left.retain(|id| {
                let ended = waitpid(Pid::from_raw(*id), WaitOptions::NOHANG);
                // Nothing: it still runs.
                matches!(ended, Ok(None))
            });
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > ends {
                return Err(format!("these processes do not end: {left:?}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sees to it that the stored token has expired.
    pub(super) fn expire(&self) -> Result<(), String> {
        let lifetime = |seconds| {
            self.provider
                .set(|settings| settings.access_token_seconds = seconds);
        };
        lifetime(SHORT_LIFETIME);
        let refreshed = self.succeed(&["token", "--force-refresh"]);
        lifetime(LIFETIME);
        // Clocks count whole seconds.
        thread::sleep(Duration::from_millis(1000 * (SHORT_LIFETIME + 1) + 100));
        refreshed
    }

    /// So many callers at once, while the provider thinks: how long it takes until each has the same token.
    pub(super) fn crowd(&self, callers: usize) -> Result<Duration, String> {
        self.provider
            .script(Hook::RefreshGrant, Fault::Delay(THOUGHT));
        let taken = self.answered(callers);
        self.provider.clear_script();
        self.settle()?;
        taken
    }

    /// So many callers at once: how long it takes until each has the same token.
    pub(super) fn answered(&self, callers: usize) -> Result<Duration, String> {
        let failed = |e: std::io::Error| format!("one of {callers} callers: {e}");
        let started = Instant::now();
        let running: Vec<_> = (0..callers)
            .map(|_| self.gatepass(&[]).stdout(Stdio::piped()).spawn())
            .collect();
        let mut answers = BTreeSet::new();
        for one in running {
            let output = one.and_then(|one| one.wait_with_output()).map_err(failed)?;
            if !output.status.success() {
                return Err(format!("one of {callers} callers got {}", output.status));
            }
            answers.insert(output.stdout);
        }
        let taken = started.elapsed();
        match answers.len() {
            1 => Ok(taken),
            several => Err(format!("{several} different answers")),
        }
    }
}

/// Compiles the program that does nothing.
fn empty_program(folder: &Path) -> Result<PathBuf, String> {
    let program = folder.join("empty");
    let (compiler, source, text) = if find("cc").is_some() {
        ("cc", "empty.c", "int main(void) { return 0; }\n")
    } else {
        ("rustc", "empty.rs", "fn main() {}\n")
    };
    let source = folder.join(source);
    fs::write(&source, text).map_err(|e| format!("{}: {e}", source.display()))?;
    let optimise = if compiler == "cc" { "-O2" } else { "-O" };
    let status = Command::new(compiler)
        .arg(optimise)
        .arg("-o")
        .args([&program, &source])
        .status();
    match status {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(format!("{compiler} ended with {status}")),
        Err(e) => Err(format!("{compiler} cannot be started: {e}")),
    }
}

/// The processes that this one has to wait for.
fn children() -> BTreeSet<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|ids| {
            ids.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}
