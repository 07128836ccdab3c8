//! What hardly differs between machines and hours: instructions, system calls, memory.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use super::grown::Machine;
use super::stage::Stage;
use crate::process::find;

/// Runs of which the median counts: addresses and hash keys differ a little from run to run.
const RUNS: usize = 5;

/// How many functions are shown.
const HOTTEST: usize = 40;

/// The system call by which gatepass's own work begins; those before it are the loader's and the runtime's.
const FIRST_OWN: &str = "RLIMIT_CORE";

/// How long a run may take until it waits for somebody to read its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one kind of run costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Instructions outside the kernel.
    pub(super) instructions: u64,
    /// System calls, from the first of the loader to the end.
    pub(super) calls: u64,
    /// Those of them that gatepass's own code makes.
    pub(super) own_calls: u64,
    /// Those again, by name: most frequent first.
    pub(super) by_name: Vec<(String, u64)>,
}

/// What is guarded.
pub(super) struct Counts {
    /// A run that finds a good token.
    pub(super) hot: Cost,
    /// A run that may not prompt, without a session.
    pub(super) silent: Cost,
    /// A run that finds a good token below a large policy, or why that is not known.
    pub(super) large_policy: Result<Cost, String>,
    /// The program that does nothing: what it costs is the system's, and differs between systems.
    pub(super) empty: Cost,
    /// Requests to the provider for each refresh.
    pub(super) requests: f64,
}

impl Counts {
    /// What a run needs more than the program that does nothing.
    pub(super) fn over_empty(&self, cost: &Cost) -> u64 {
        cost.instructions.saturating_sub(self.empty.instructions)
    }
}

/// Counts everything but requests. Whoever is signed in then was signed out in between.
pub(super) fn all(stage: &Stage, requests: f64) -> Result<Counts, String> {
    Ok(Counts {
        hot: hot_run(stage)?,
        large_policy: run_below_a_large_policy(stage),
        silent: {
            stage.sign_out()?;
            let silent = cost(stage, &stage.gatepass(&[]), 4)?;
            stage.sign_in()?;
            silent
        },
        empty: cost(stage, &stage.empty(), 0)?,
        requests,
    })
}

fn hot_run(stage: &Stage) -> Result<Cost, String> {
    cost(stage, &stage.gatepass(&[]), 0)
}

fn run_below_a_large_policy(stage: &Stage) -> Result<Cost, String> {
    let machine = Machine::with_policy()?;
    cost_where(stage, &stage.gatepass(&[]), 0, |command| {
        machine.run(&command)
    })
}

fn cost(stage: &Stage, command: &Command, code: i32) -> Result<Cost, String> {
    cost_where(stage, command, code, Ok)
}

/// The cost of a command whose counting tool is started as `started` says.
fn cost_where(
    stage: &Stage,
    command: &Command,
    code: i32,
    started: impl Fn(Command) -> Result<Command, String>,
) -> Result<Cost, String> {
    let mut instructions = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        instructions.push(callgrind(stage, command, code, &started)?);
    }
    instructions.sort_unstable();
    let log = strace(stage, command, code, &started)?;
    Ok(Cost {
        instructions: instructions[RUNS / 2],
        ..calls(&log)
    })
}

/// The same command under another one.
fn under(
    stage: &Stage,
    tool: &str,
    options: &[String],
    command: &Command,
) -> Result<Command, String> {
    let tool = find(tool).ok_or_else(|| format!("{tool} is not installed"))?;
    let mut wrapped = stage.command(&tool);
    wrapped
        .args(options)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    Ok(wrapped)
}

fn callgrind(
    stage: &Stage,
    command: &Command,
    code: i32,
    started: impl Fn(Command) -> Result<Command, String>,
) -> Result<u64, String> {
    let profile = profile(stage);
    let options = [
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", profile.display()),
    ];
    let output = started(under(stage, "valgrind", &options, command)?)?
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| format!("valgrind cannot be started: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(code) {
        return Err(format!("under valgrind: {}: {said}", output.status));
    }
    // ==123== Collected : 456
    said.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| format!("valgrind counted nothing: {said}"))
}

fn profile(stage: &Stage) -> PathBuf {
    stage.folder().join("callgrind.out")
}

/// The functions that the instructions of a hot run belong to: alone, then together with what they call.
pub(super) fn hot_spots(stage: &Stage) -> Result<(), String> {
    let sum = callgrind(stage, &stage.gatepass(&[]), 0, Ok)?;
    println!("{sum} instructions");
    for (inclusive, what) in [("no", "alone"), ("yes", "with what they call")] {
        let annotate = Command::new("callgrind_annotate")
            .arg(format!("--inclusive={inclusive}"))
            .args(["--auto=no", "--show-percs=yes"])
            .arg(profile(stage))
            .output()
            .map_err(|e| format!("callgrind_annotate cannot be started: {e}"))?;
        println!("\nthe functions, {what}:");
        String::from_utf8_lossy(&annotate.stdout)
            .lines()
            .filter(|line| line.contains("%)") && !line.ends_with("PROGRAM TOTALS"))
            .take(HOTTEST)
            .for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn strace(
    stage: &Stage,
    command: &Command,
    code: i32,
    started: impl Fn(Command) -> Result<Command, String>,
) -> Result<String, String> {
    let log = stage.folder().join("strace.out");
    let options = ["-f".to_owned(), format!("--output={}", log.display())];
    super::time::once(
        &mut started(under(stage, "strace", &options, command)?)?,
        code,
    )?;
    fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))
}

/// Counts the calls of a log: `123 openat(AT_FDCWD, …) = 3`, one on each line.
fn calls(log: &str) -> Cost {
    let mut cost = Cost::default();
    let mut own = BTreeMap::<&str, u64>::new();
    let mut started = false;
    for line in log.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        // Not what begins with `+++`, `---` or `<... resumed>`.
        let Some((name, arguments)) = call.split_once('(').filter(|(name, _)| is_name(name)) else {
            continue;
        };
        started |= arguments.contains(FIRST_OWN);
        cost.calls += 1;
        if started {
            cost.own_calls += 1;
            *own.entry(name).or_default() += 1;
        }
    }
    let mut by_name: Vec<(String, u64)> = own
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    by_name.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    cost.by_name = by_name;
    cost
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What the kernel says of a process under this name.
fn field<'t>(status: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = status.lines();
    lines.find_map(|line| line.strip_prefix(name).map(str::trim))
}

/// The most memory that a process has had so far, in bytes.
fn peak_so_far(status: &str) -> Option<u64> {
    let kibibytes = field(status, "VmHWM:")?.strip_suffix(" kB")?;
    Some(kibibytes.parse::<u64>().ok()? * 1024)
}

/// The most memory that a worker has, in bytes, while a provider takes so long to answer its refresh.
pub(super) fn worker_memory(stage: &Stage) -> Result<u64, String> {
    let mut child = stage
        .slow_refresh()
        .spawn()
        .map_err(|e| format!("gatepass cannot be started: {e}"))?;
    let visible = child.id().to_string();
    // It becomes ours when the visible process ends. It is started by way of /proc/self/exe.
    let parents = [visible.clone(), std::process::id().to_string()];
    let is_worker = |status: &str| {
        matches!(field(status, "Name:"), Some("exe" | "gatepass"))
            && field(status, "PPid:").is_some_and(|parent| parents.iter().any(|one| one == parent))
            && field(status, "Pid:") != Some(&visible)
    };
    let mut peak = 0;
    // Until the answer has come.
    while matches!(child.try_wait(), Ok(None)) {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
            if is_worker(&status) {
                peak = peak_so_far(&status).unwrap_or(0).max(peak);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    stage.provider.clear_script();
    stage.settle()?;
    match peak {
        0 => Err("no worker was seen".to_owned()),
        peak => Ok(peak),
    }
}

/// The most memory that a run of gatepass ever has, in bytes.
///
/// Its caller's memory counts as the child's in `ru_maxrss` (getrusage(2)), so the run is stopped by a pipe that is
/// full already, when it has nothing left to do but to write its answer, and asked for its own peak.
pub(super) fn peak_memory(command: &mut Command) -> Result<u64, String> {
    let failed = |e: io::Error| format!("the memory cannot be measured: {e}");
    let (mut reader, mut writer) = io::pipe().map_err(failed)?;
    let room = rustix::pipe::fcntl_getpipe_size(&writer).map_err(|e| failed(e.into()))?;
    writer.write_all(&vec![0; room]).map_err(failed)?;
    let mut child = command.stdout(writer).spawn().map_err(failed)?;
    command.stdout(Stdio::null());
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let ends = Instant::now() + PATIENCE;
    let mut asleep = 0;
    let mut peak = None;
    while asleep < 10 && Instant::now() < ends {
        thread::sleep(Duration::from_millis(5));
        let text = fs::read_to_string(&status).unwrap_or_default();
        asleep = match field(&text, "State:") {
            Some(state) if state.starts_with('S') => asleep + 1,
            _ => 0,
        };
        peak = peak_so_far(&text).or(peak);
    }
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    if !status.success() || answer.len() <= room {
        return Err(format!("a run with nobody reading ended with {status}"));
    }
    peak.ok_or_else(|| "the kernel does not tell the memory".to_owned())
}

#[cfg(test)]
mod tests {
    use super::calls;

    #[test]
    fn each_call_counts_once_and_those_before_main_apart() {
        let log = "\
10 execve(\"/x/gatepass\", [\"gatepass\"], 0x7ffd /* 4 vars */) = 0
10 brk(NULL) = 0x55
10 prlimit64(0, RLIMIT_CORE, {rlim_cur=0, rlim_max=0}, NULL) = 0
10 read(3,  <unfinished ...>
11 write(1, \"a(b\\n\", 4) = 4
10 <... read resumed>\"x\", 9) = 1
10 read(3, \"\", 9) = 0
10 --- SIGCHLD {si_signo=SIGCHLD} ---
10 exit_group(0) = ?
10 +++ exited with 0 +++
";
        let cost = calls(log);
        assert_eq!((cost.calls, cost.own_calls), (7, 5));
        assert_eq!(cost.by_name[0], ("read".to_owned(), 2));
    }
}
