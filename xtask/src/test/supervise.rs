//! One test in a process of its own, with everything that it starts.
//!
//! The process that runs this is the test's parent, and takes in what loses its own one: a browser, a server, a worker
//! of gatepass. So it sees all of them, says what they wait for where the test passes its limit, and ends what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_child_subreaper, wait,
};

use super::run::{LEFT_BEHIND, OVER_LIMIT};

/// How often it is looked whether the limit has passed, or the whole run has been broken off.
const LOOK: Duration = Duration::from_millis(200);

/// Longest time in which what was killed has to be gone.
const GRACE: Duration = Duration::from_secs(10);

/// As much of a process's output is shown.
const LINES: usize = 12;

/// Runs a test (the words are the limit in seconds, the program and its arguments) and ends as it does.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode, String> {
    let (limit, [program, arguments @ ..]) = words
        .split_first()
        .and_then(|(limit, rest)| Some((limit.parse().ok()?, rest)))
        .ok_or("supervise LIMIT PROGRAM [ARGUMENT…]")?
    else {
        return Err("no program".to_owned());
    };
    let limit = Duration::from_secs(limit);
    let started = Instant::now();
    let starter = getppid();
    set_child_subreaper(Some(getpid())).map_err(|e| format!("the kernel: {e}"))?;
    let test = Command::new(program)
        .args(arguments)
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{program} cannot be started: {e}"))?;
    let test = i32::try_from(test.id()).ok().and_then(Pid::from_raw);
    let (ended, news) = channel();
    // Whoever ends is waited for at once: nothing takes one of them for still running.
    thread::spawn(move || {
        while let Ok(Some((who, how))) = wait(WaitOptions::empty()) {
            if Some(who) == test {
                let _ = ended.send(how.exit_status());
            }
        }
    });
    let code = loop {
        match news.recv_timeout(LOOK) {
            Ok(code) => break code.and_then(|code| u8::try_from(code).ok()),
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) if getppid() != starter => {
                end_all();
                return Err("the run was broken off".to_owned());
            }
            Err(RecvTimeoutError::Timeout) if started.elapsed() >= limit => {
                let told = describe(limit);
                println!("{told}");
                end_all();
                return Ok(ExitCode::from(OVER_LIMIT));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    // What ends by itself, now that the test has ended, is not left behind.
    let settled = Instant::now() + Duration::from_secs(1);
    while Instant::now() < settled && !descendants().is_empty() {
        thread::sleep(Duration::from_millis(20));
    }
    for process in descendants() {
        println!("\n{LEFT_BEHIND}{}", command_line(process));
    }
    end_all();
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Everything that descends from this process and has not ended.
fn descendants() -> Vec<i32> {
    let own = getpid().as_raw_nonzero().get();
    let parents: BTreeMap<i32, i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let (state, parent) = state(id)?;
            (state != 'Z' && state != 'X').then_some((id, parent))
        })
        .collect();
    let descends = |mut id: i32| {
        while let Some(parent) = parents.get(&id) {
            if *parent == own {
                return true;
            }
            id = *parent;
        }
        false
    };
    parents.keys().copied().filter(|id| descends(*id)).collect()
}

/// A process's state, as one letter, and its parent.
fn state(id: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Its name, in brackets, may have any character in it.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.next()?.parse().ok()?))
}

fn end_all() {
    let ends = Instant::now() + GRACE;
    loop {
        let left = descendants();
        if left.is_empty() || Instant::now() > ends {
            break;
        }
        for process in left.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(process, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn command_line(id: i32) -> String {
    let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let mut short: String = words.trim().chars().take(160).collect();
    if short.is_empty() {
        short = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    }
    short.trim().to_owned()
}

/// What each process of the test is, what it waits for, and the last that it said.
fn describe(limit: Duration) -> String {
    let mut shown = BTreeSet::new();
    let mut told = format!("\nstill running after {} s:\n", limit.as_secs());
    for id in descendants() {
        let read =
            |what: &str| fs::read_to_string(format!("/proc/{id}/{what}")).unwrap_or_default();
        let state = state(id).map_or('?', |(state, _)| state);
        let _ = writeln!(told, "  process {id} ({state}): {}", command_line(id));
        let call = read("syscall");
        let call = call.split_whitespace().next().unwrap_or("?");
        let mut waits: BTreeMap<String, usize> = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{id}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let place = fs::read_to_string(thread.path().join("wchan")).unwrap_or_default();
            *waits.entry(place).or_default() += 1;
        }
        let waits: Vec<String> = waits
            .iter()
            .map(|(place, threads)| format!("{place} ({threads})"))
            .collect();
        let _ = writeln!(
            told,
            "    waits in system call {call}; its threads in: {}",
            waits.join(", ")
        );
        for frame in read("stack").lines().take(4) {
            let _ = writeln!(told, "      {frame}");
        }
        // Parts of the lab write to a file of their own.
        let own = std::io::stdout().as_raw_fd();
        let ours = fs::read_link(format!("/proc/self/fd/{own}")).ok();
        let log = format!("/proc/{id}/fd/2");
        let file = fs::metadata(&log).ok().filter(fs::Metadata::is_file);
        // Processes of one part share it.
        let is_new = file.is_some_and(|about| shown.insert((about.dev(), about.ino())));
        if is_new && fs::read_link(&log).ok() != ours {
            let said = fs::read(&log).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            let lines: Vec<&str> = said.lines().collect();
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                let _ = writeln!(told, "    said: {line}");
            }
        }
    }
    told
}
