//! One run of the binary under test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{self, Collected, Input, Limited};
use super::{Home, Keyring, on_this_machine};

const HARD_LIMIT: Duration = Duration::from_secs(90);

/// Where a run's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// To whoever asks.
    Pipe,
    /// Nowhere: the caller closed it.
    Closed,
    /// To a device on which there is no room.
    Full,
    /// To a pipe whose reader has gone.
    Left,
}

/// A run of the binary under test, in an environment that holds only what is given here: the home, a plain `PATH`, the
/// keychain. No display, no proxy, nothing of the machine's own.
#[derive(Debug, Clone)]
pub struct Gatepass {
    program: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    input: Option<String>,
    stdout: Stdout,
    limit: Duration,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said; on a terminal, what was to be seen there.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether its output stayed open after its end, because a process that it left behind holds it.
    pub held_open: bool,
}

/// A run that has not ended yet.
#[derive(Debug)]
pub struct Running {
    process: Collected,
    limit: Duration,
    printed: Option<TempDir>,
}

impl Gatepass {
    /// A run without arguments. Tests pass `env!("CARGO_BIN_EXE_gatepass")`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, home: &Home) -> Self {
        let environment = BTreeMap::from([
            ("HOME".to_owned(), home.path().display().to_string()),
            ("PATH".to_owned(), super::PATH.to_owned()),
        ]);
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment,
            input: None,
            stdout: Stdout::Pipe,
            limit: HARD_LIMIT,
        }
    }

    /// With these arguments as well.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// In the session of this keychain.
    #[must_use]
    pub fn keyring(mut self, keyring: &Keyring) -> Self {
        for (name, value) in keyring.env() {
            if name == "XDG_RUNTIME_DIR" || name == "DBUS_SESSION_BUS_ADDRESS" {
                self.environment.insert(name, value);
            }
        }
        self
    }

    /// Called by Claude Desktop with this context: `interactive`, `background`, `mid-session-refresh`.
    #[must_use]
    pub fn context(self, context: &str) -> Self {
        self.env("CLAUDE_HELPER_CONTEXT", context)
    }

    /// With one more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Without a variable.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Started by this program with these first arguments: `unshare`, `env`, `setpriv`.
    #[must_use]
    pub fn started_by<'a>(
        mut self,
        program: &str,
        first: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let itself = self.program.display().to_string();
        let first = first.into_iter().map(str::to_owned).chain([itself]);
        self.arguments.splice(0..0, first);
        self.program = program.into();
        self
    }

    /// On a machine with this policy.
    #[must_use]
    pub fn policy(self, policy: &super::PolicyFolder) -> Self {
        self.seen_through(policy.command())
    }

    /// On a machine with these files in `/etc`.
    #[must_use]
    pub fn seeing(self, etc: &super::Etc) -> Self {
        self.seen_through(etc.command())
    }

    /// Only this run, in a mount namespace of its own, sees the files; the machine stays as it is.
    fn seen_through(self, command: [String; 6]) -> Self {
        let [unshare, first @ ..] = command;
        self.started_by(&unshare, first.iter().map(String::as_str))
    }

    /// With this on its standard input.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// With another standard output.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// With another hard limit than 90 seconds; whoever is not done by then fails the test.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// Where it does not end in time.
    #[must_use]
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Starts, and leaves it to the test when to wait.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn spawn(self) -> Running {
        let mut command = match self.stdout {
            Stdout::Closed => {
                let mut command = Command::new("/bin/sh");
                command
                    .args(["-c", "exec \"$0\" \"$@\" >&-"])
                    .arg(&self.program);
                command
            }
            _ => Command::new(&self.program),
        };
        if self.stdout == Stdout::Full {
            command.stdout(
                File::options()
                    .write(true)
                    .open("/dev/full")
                    .expect("/dev/full"),
            );
        } else if self.stdout == Stdout::Closed {
            command.stdout(Stdio::null());
        } else if self.stdout == Stdout::Left {
            let (_, left) = std::io::pipe().expect("a pipe");
            command.stdout(left);
        }
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment);
        let input = self.input.as_deref().map_or(Input::Nothing, Input::Text);
        let process = Collected::start(&mut command, input, self.stdout == Stdout::Pipe);
        Running {
            process,
            limit: self.limit,
            printed: None,
        }
    }

    /// Starts in a terminal window: standard input and standard error are a terminal, standard output is the test's.
    /// What has to be typed is typed with [`Running::types`].
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn spawn_on_terminal(self) -> Running {
        let folder = tempfile::Builder::new()
            .prefix("gatepass-terminal-")
            .tempdir()
            .expect("a temporary folder");
        let words = std::iter::once(self.program.display().to_string())
            .chain(self.arguments.iter().cloned());
        let line: Vec<String> = words.map(|word| quoted(&word)).collect();
        let line = format!(
            "exec {} > {}",
            line.join(" "),
            quoted(&printed_in(&folder).display().to_string())
        );
        // `script` is the window: it shows what is to be seen in it, and hands on the exit code.
        let window = format!(
            "exec script --quiet --flush --return --command {} /dev/null >&2",
            quoted(&line)
        );
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &window])
            .env_clear()
            .envs(&self.environment)
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh");
        let process = Collected::start(&mut shell, Input::Keyboard, true);
        Running {
            process,
            limit: self.limit,
            printed: Some(folder),
        }
    }
}

impl Running {
    /// Waits for the end.
    ///
    /// # Panics
    /// Where it does not come in time.
    #[must_use]
    pub fn wait(self) -> Outcome {
        let Limited {
            status,
            stdout,
            stderr,
            elapsed,
            held_open,
        } = self.process.finish(self.limit);
        let stdout = match &self.printed {
            Some(folder) => fs::read(printed_in(folder)).unwrap_or_default(),
            None => stdout,
        };
        let (stdout, stderr) = (text(&stdout), text(&stderr));
        let status = status.unwrap_or_else(|| {
            panic!("still running after {elapsed:?}; stdout {stdout:?}; stderr:\n{stderr}")
        });
        let code = status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal ({status}); stderr:\n{stderr}"));
        Outcome {
            code,
            stdout,
            stderr,
            elapsed,
            held_open,
        }
    }

    /// Waits until what it has said so far contains something, and returns that.
    ///
    /// # Panics
    /// Where that does not come in time.
    pub fn wait_for<T>(&mut self, limit: Duration, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let ends = Instant::now() + limit;
        loop {
            let said = self.process.stderr_so_far();
            if let Some(found) = find(&said) {
                return found;
            }
            assert!(
                Instant::now() < ends && self.process.runs(),
                "it did not come; stderr:\n{said}"
            );
        }
    }

    /// Types into the terminal window.
    pub fn types(&mut self, text: &str) {
        self.process.types(text);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.runs()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it without a word, as an impatient host does.
    pub fn kill(self) {
        process::signal("KILL", self.process.id().into());
        let _ = self.process.finish(Duration::from_secs(1));
    }
}

impl Outcome {
    /// The exit code has to be this one. A success of a host's call says nothing on standard error; a failure prints
    /// nothing and ends with the two lines that say what happened and what to do.
    ///
    /// # Panics
    /// Where it is not so.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(
            self.code, code,
            "after {:?}; stdout {:?}, stderr:\n{}",
            self.elapsed, self.stdout, self.stderr
        );
        assert!(
            !self.held_open,
            "a process that was left behind holds the output open"
        );
        if code != 0 {
            let lines: Vec<&str> = self.stderr.lines().collect();
            let last = lines.last_chunk::<2>();
            let told = last.is_some_and(|[what, remedy]| {
                what.starts_with("gatepass: ")
                    && what.ends_with(']')
                    && remedy.starts_with("  try: ")
            });
            assert!(
                told,
                "the last two lines are not what happened and what to do:\n{}",
                self.stderr
            );
        }
        self
    }

    /// It has taken less than this, in the measure of [`on_this_machine`].
    ///
    /// # Panics
    /// Where it is not so.
    #[track_caller]
    pub fn within(&self, limit: Duration) -> &Self {
        let allowed = on_this_machine(limit);
        assert!(
            self.elapsed < allowed,
            "it took {:?} and not less than {limit:?} ({allowed:?} on a machine as busy as this); stderr:\n{}",
            self.elapsed,
            self.stderr
        );
        self
    }

    /// The token that was printed: one line, and not a word on standard error.
    ///
    /// # Panics
    /// Where it is not so.
    #[track_caller]
    pub fn token(&self) -> String {
        self.expect(0);
        assert_eq!(self.stderr, "", "a host's success says nothing");
        let token = self.stdout.strip_suffix('\n').expect("a line");
        assert!(
            !token.is_empty() && !token.contains(char::is_whitespace),
            "not a bare token: {:?}",
            self.stdout
        );
        token.to_owned()
    }

    /// What was printed, as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {:?}", self.stdout))
    }
}

fn printed_in(folder: &TempDir) -> PathBuf {
    folder.path().join("stdout")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
