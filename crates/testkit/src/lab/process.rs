//! Processes that never outlive what started them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::on_this_machine;

/// Asks until the answer is yes; no after `limit`, in the measure of [`on_this_machine`].
pub fn wait_until(limit: Duration, mut question: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if question() {
            return true;
        }
        if began.elapsed() >= on_this_machine(limit) {
            return false;
        }
        thread::sleep(Duration::from_millis(15));
    }
}

/// Sends a signal to a process, or to a process group where the number is negative.
pub(crate) fn signal(name: &str, target: i64) {
    let script = format!("kill -{name} {target}");
    // The shell's own, which every system has; one that has gone already is no failure.
    let sent = Command::new("/bin/sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .status();
    sent.expect("sh can be started");
}

/// Ends every process that has this in its environment: what a test's programs left behind.
pub(crate) fn end_all_with(variable: &str, value: &str) {
    let entry = format!("{variable}={value}");
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let Some(id) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        if id != std::process::id()
            && environment
                .split(|byte| *byte == 0)
                .any(|one| one == entry.as_bytes())
        {
            signal("KILL", id.into());
        }
    }
}

/// How long a part may take to come up, on a machine with other things to do.
pub(crate) const COMES_UP: Duration = Duration::from_secs(45);

/// How long a part that runs may take for an answer.
pub(crate) const ANSWERS: Duration = Duration::from_secs(30);

/// A long-running part of the lab in its own process group. Dropping it ends the whole group; so does the end
/// of the thread that started it, which is how an interrupted test run leaves nothing behind.
#[derive(Debug)]
pub struct Part {
    child: Child,
    said: File,
}

impl Part {
    /// Starts the command; its standard input and output are pipes, its standard error is kept for
    /// [`last_words`](Self::last_words).
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(command: &Command) -> Self {
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        tied.env_clear().env("PATH", super::PATH);
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                tied.env(name, value);
            }
        }
        let said = tempfile::tempfile().expect("a temporary file");
        tied.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said.try_clone().expect("a file"))
            .process_group(0);
        let child = tied
            .spawn()
            .unwrap_or_else(|e| panic!("{:?} cannot be started: {e}", command.get_program()));
        Self { child, said }
    }

    /// The end of what it has said on its standard error.
    #[must_use]
    pub fn last_words(&self) -> String {
        const MOST: u64 = 4096;
        let length = self.said.metadata().map_or(0, |about| about.len());
        let mut bytes = vec![0; usize::try_from(length.min(MOST)).unwrap_or_default()];
        // At a place, so that the part's own place in the file stays.
        let _ = self.said.read_at(&mut bytes, length.saturating_sub(MOST));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its standard input; can be taken once.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("taken once")
    }

    /// Its standard output; can be taken once.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("taken once")
    }

    /// Sends a signal to all of its processes.
    pub fn signal(&self, name: &str) {
        signal(name, -i64::from(self.child.id()));
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.runs() {
            self.signal("KILL");
        }
        let _ = self.child.wait();
    }
}

/// Starts a part and waits until it is up, as far as `news` can tell; where it does not come up in its time, a fresh
/// one, once.
///
/// # Panics
/// With the part's name and last words, where neither comes up.
pub(crate) fn comes_up<T>(
    name: &str,
    limit: Duration,
    mut start: impl FnMut() -> Part,
    mut news: impl FnMut(&mut Part) -> Option<T>,
    last_words: impl Fn(&Part) -> String,
) -> (Part, T) {
    let mut told = String::new();
    for _ in 0..2 {
        let mut part = start();
        let mut found = None;
        wait_until(limit, || {
            found = news(&mut part);
            found.is_some() || !part.runs()
        });
        if let Some(found) = found {
            return (part, found);
        }
        let how = if part.runs() { "hangs" } else { "has ended" };
        told = format!("{told}it {how}: {}\n", last_words(&part));
    }
    panic!("{name} does not come up within {limit:?}, nor does a fresh one:\n{told}");
}

/// A part that has said `ready` and where, in the first line of its standard output.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The part.
    pub(crate) part: Part,
    /// Its standard input, whose end ends it.
    pub(crate) commands: ChildStdin,
    /// What it said after `ready`.
    pub(crate) address: String,
    /// The further lines of its standard output.
    pub(crate) lines: Receiver<String>,
}

/// Starts a part that says when it is ready.
///
/// # Panics
/// With the part's name and last words, where it does not.
pub(crate) fn ready(name: &str, command: &Command) -> Ready {
    let (part, (commands, address, lines)) = comes_up(
        name,
        // The wait is below.
        Duration::ZERO,
        || Part::start(command),
        |part| {
            let (send, lines) = channel();
            let stdout = BufReader::new(part.stdout());
            thread::spawn(move || {
                for line in stdout.lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
            let first = lines.recv_timeout(COMES_UP).ok()?;
            let address = first.strip_prefix("ready ")?.to_owned();
            Some((part.stdin(), address, lines))
        },
        Part::last_words,
    );
    Ready {
        part,
        commands,
        address,
        lines,
    }
}

/// What a command that had a time limit did.
#[derive(Debug)]
pub struct Limited {
    /// How it ended; nothing where it had to be killed.
    pub status: Option<ExitStatus>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub elapsed: Duration,
    /// Whether its output stayed open after its end, because a process it left behind holds it.
    pub held_open: bool,
}

/// What a command finds on its standard input.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input<'a> {
    /// The end, at once.
    Nothing,
    /// This, then the end.
    Text(&'a str),
    /// What will be typed.
    Keyboard,
}

/// A running command in its own process group, whose output is collected as it comes.
#[derive(Debug)]
pub(crate) struct Collected {
    child: Child,
    started: Instant,
    keyboard: Option<ChildStdin>,
    pieces: Receiver<(bool, Option<Vec<u8>>)>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    open: usize,
}

impl Collected {
    /// Starts the command. Its standard error is always collected, its standard output if the command says `piped`.
    pub(crate) fn start(command: &mut Command, input: Input<'_>, collect_stdout: bool) -> Self {
        command.stderr(Stdio::piped()).process_group(0);
        command.stdin(if matches!(input, Input::Nothing) {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        if collect_stdout {
            command.stdout(Stdio::piped());
        }
        let started = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{:?} cannot be started: {e}", command.get_program()));
        let mut keyboard = child.stdin.take();
        if let (Input::Text(text), Some(mut pipe)) =
            (input, keyboard.take_if(|_| matches!(input, Input::Text(_))))
        {
            let text = text.to_owned();
            // A program that ends without reading its input is no failure of the lab.
            thread::spawn(move || pipe.write_all(text.as_bytes()));
        }
        let (send, pieces) = channel();
        let mut open = 0;
        let streams: [(bool, Option<Box<dyn Read + Send>>); 2] = [
            (
                true,
                child
                    .stdout
                    .take()
                    .map(|s| Box::new(s) as Box<dyn Read + Send>),
            ),
            (
                false,
                child
                    .stderr
                    .take()
                    .map(|s| Box::new(s) as Box<dyn Read + Send>),
            ),
        ];
        for (is_stdout, stream) in streams {
            let Some(mut stream) = stream else { continue };
            open += 1;
            let send = send.clone();
            thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let _ = send.send((is_stdout, Some(buffer[..length].to_vec())));
                }
                let _ = send.send((is_stdout, None));
            });
        }
        Self {
            child,
            started,
            keyboard,
            pieces,
            stdout: Vec::new(),
            stderr: Vec::new(),
            open,
        }
    }

    fn take_in(&mut self, limit: Duration) {
        if let Ok((is_stdout, piece)) = self.pieces.recv_timeout(limit) {
            match (is_stdout, piece) {
                (true, Some(piece)) => self.stdout.extend(piece),
                (false, Some(piece)) => self.stderr.extend(piece),
                (_, None) => self.open -= 1,
            }
        }
    }

    /// What has come on standard error so far, waiting a moment for more.
    pub(crate) fn stderr_so_far(&mut self) -> String {
        self.take_in(Duration::from_millis(20));
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Types.
    pub(crate) fn types(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().expect("a keyboard");
        keyboard
            .write_all(text.as_bytes())
            .and_then(|()| keyboard.flush())
            .expect("somebody reads the keyboard");
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; after `limit` it is killed.
    pub(crate) fn finish(mut self, limit: Duration) -> Limited {
        let ends = self.started + limit;
        let mut status = None;
        while status.is_none() && Instant::now() < ends {
            self.take_in(Duration::from_millis(3));
            status = self.child.try_wait().expect("a child can be waited for");
        }
        let elapsed = self.started.elapsed();
        if status.is_none() {
            signal("KILL", -i64::from(self.child.id()));
            let _ = self.child.wait();
        }
        let grace = Instant::now() + Duration::from_millis(700);
        while self.open > 0 && Instant::now() < grace {
            self.take_in(Duration::from_millis(20));
        }
        Limited {
            status,
            stdout: self.stdout,
            stderr: self.stderr,
            elapsed,
            held_open: self.open > 0,
        }
    }
}

/// Runs a command to its end, or for as long as `limit`.
pub(crate) fn run(command: &mut Command, input: Input<'_>, limit: Duration) -> Limited {
    Collected::start(command, input, true).finish(limit)
}
