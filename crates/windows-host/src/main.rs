//! A host as Windows knows it: starts a program, reads its standard output and standard error to their end, and
//! says when the program ended and when its pipes did.
//!
//! Under Wine only a Windows program can tell: a pipe that comes from Linux also lies, as descriptor 2, in every
//! process that Wine starts on the way, whatever Windows' rules of inheritance say.

#[cfg(windows)]
mod job;

use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Starts a process that lives for a while, hands it every handle, and ends: what a helper must not do.
const HAND_ON: &str = "--hand-on";

/// Lives for a while.
const STAY: &str = "--stay";

/// Keeps everything that it starts in a job that ends with it, and lets those go that ask for it, or nobody.
const JOBS: [(&str, bool); 2] = [("--job-lets-go", true), ("--job-keeps", false)];

/// Runs the program three times, as a host does whose gateway refuses the token.
const THREE_TIMES: &str = "--three-times";

/// That while.
const A_WHILE: Duration = Duration::from_secs(5);

fn main() -> io::Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.first() {
        None => Ok(()),
        Some(word) if word == STAY => {
            thread::sleep(A_WHILE);
            Ok(())
        }
        Some(word) if word == HAND_ON => {
            // The standard library hands on whatever may be inherited, and the streams of this process may.
            let mut stays = Command::new(env::current_exe()?);
            stays.arg(STAY).stdin(Stdio::null());
            stays.stdout(Stdio::null()).stderr(Stdio::null());
            stays.spawn().map(drop)
        }
        Some(word) if word == THREE_TIMES => (0..3).try_for_each(|_| run(&arguments[1..])),
        Some(word) => {
            let job = JOBS.iter().find(|(name, _)| word == name);
            if let Some((_, lets_go)) = job {
                enter_job(*lets_go)?;
            }
            run(&arguments[usize::from(job.is_some())..])
        }
    }
}

fn run(arguments: &[OsString]) -> io::Result<()> {
    let (program, arguments) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    watch(Command::new(program).args(arguments))
}

#[cfg(windows)]
fn enter_job(lets_go: bool) -> io::Result<()> {
    job::enter(lets_go)
}

/// Other systems have no jobs.
#[cfg(not(windows))]
fn enter_job(_: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Three numbers on standard output: the exit code; milliseconds until the end; milliseconds until the pipes' end.
fn watch(program: &mut Command) -> io::Result<()> {
    let started = Instant::now();
    let mut child = program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    let readers: Vec<_> = pipes
        .into_iter()
        .flatten()
        .map(|mut pipe| thread::spawn(move || io::copy(&mut pipe, &mut io::sink())))
        .collect();
    let code = child.wait()?.code().unwrap_or(-1);
    let ended = started.elapsed().as_millis();
    for reader in readers {
        let _ = reader.join();
    }
    let closed = started.elapsed().as_millis();
    writeln!(io::stdout(), "{code} {ended} {closed}")
}
