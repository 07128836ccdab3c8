//! Runs tests, each in a process of its own and with a limit.
//!
//! cargo-nextest does much of that. No registry has its program (PyPI, npm, Debian), to compile it takes more than 13
//! minutes of a processor, and it cannot find what has left a test's process group, as browsers and workers do.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gatepass_testkit::run_keys;
use serde_json::Value;

use super::Tally;
use crate::process::{self, cargo, root, run_read};

/// The exit code that says: over its limit.
pub(crate) const OVER_LIMIT: u8 = 124;

/// How a test begins the line that says why it could not be done on this machine.
const SKIPPED: &str = "skipped: ";

/// How the line begins that names a process which a test has left behind.
pub(crate) const LEFT_BEHIND: &str = "left behind: ";

/// Longest time for one test, unless its lane says something else.
const LIMIT: Duration = Duration::from_secs(300);

/// The same where long tests are asked for (`GATEPASS_LONG_TESTS`): a million sequences of events take their time on
/// a busy machine.
const LONG_LIMIT: Duration = Duration::from_secs(5400);

/// As much is shown of what a failed test said.
const LINES: usize = 150;

/// Which tests of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that are not marked `#[ignore]`.
    #[default]
    Plain,
    /// Only those that are.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "lanes of Linux"))]
    Ignored,
    /// All.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "lanes of Linux"))]
    Both,
}

/// Tests of one kind, and how they are run.
pub(crate) struct Tests {
    programs: Vec<&'static str>,
    leave_out: BTreeSet<&'static str>,
    one_by_one: bool,
    how: How,
    _held: Vec<Box<dyn Any>>,
}

/// How each of them is run.
struct How {
    which: Which,
    environment: Vec<(&'static str, OsString)>,
    limit: Duration,
}

#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "lanes of Linux"))]
impl Tests {
    /// Those of the programs that `cargo test` builds with these arguments.
    pub(crate) fn of(programs: &[&'static str]) -> Self {
        Self {
            programs: programs.to_vec(),
            leave_out: BTreeSet::new(),
            one_by_one: false,
            how: How {
                which: Which::default(),
                environment: Vec::new(),
                limit: match std::env::var_os("GATEPASS_LONG_TESTS") {
                    Some(_) => LONG_LIMIT,
                    None => LIMIT,
                },
            },
            _held: Vec::new(),
        }
    }

    /// Of each program these.
    pub(crate) fn which(mut self, which: Which) -> Self {
        self.how.which = which;
        self
    }

    /// Not the program of this name.
    pub(crate) fn without(mut self, program: &'static str) -> Self {
        self.leave_out.insert(program);
        self
    }

    /// Never two at once: they share something of the machine's.
    pub(crate) fn one_by_one(mut self) -> Self {
        self.one_by_one = true;
        self
    }

    /// With this variable.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.how.environment.push((name, value.into()));
        self
    }

    /// With another limit for each.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.how.limit = limit;
        self
    }

    /// While this is not dropped: a process, a lock.
    pub(crate) fn while_held(mut self, held: impl Any) -> Self {
        self._held.push(Box::new(held));
        self
    }

    /// Compiles the programs.
    pub(crate) fn build(&self) -> Result<Vec<Arc<Program>>, String> {
        let mut built = Vec::new();
        let message = "--message-format=json-render-diagnostics";
        let arguments = [
            &["test", "--no-run", "--quiet", message],
            &self.programs[..],
        ]
        .concat();
        run_read(&mut cargo(&arguments), |line| {
            built.extend(
                serde_json::from_str(line)
                    .ok()
                    .and_then(|message| Program::of(&message)),
            );
        })
        .map_err(|why| format!("the tests cannot be compiled: {why}"))?;
        built.retain(|program: &Program| !self.leave_out.contains(program.name.as_str()));
        Ok(built.into_iter().map(Arc::new).collect())
    }
}

/// A program of tests.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    file: PathBuf,
    package: PathBuf,
}

impl Program {
    /// Out of what cargo says of what it has built.
    fn of(message: &Value) -> Option<Self> {
        let is_test = message["profile"]["test"].as_bool()?;
        let file = message["executable"].as_str()?;
        let manifest = Path::new(message["manifest_path"].as_str()?);
        let name = message["target"]["name"].as_str()?;
        is_test.then(|| Self {
            name: name.to_owned(),
            file: file.into(),
            package: manifest.parent().unwrap_or(Path::new("/")).to_owned(),
        })
    }

    /// The names of its tests.
    fn tests(&self, which: Which) -> Result<Vec<String>, String> {
        let list = |more: &[&str]| {
            let mut list = Command::new(&self.file);
            list.args(["--list", "--format", "terse"]).args(more);
            let said = process::said_by(list.current_dir(&self.package))
                .ok_or_else(|| format!("{} does not list its tests", self.name))?;
            let names = said.lines().filter_map(|line| line.strip_suffix(": test"));
            Ok::<Vec<String>, String>(names.map(str::to_owned).collect())
        };
        match which {
            Which::Both => list(&[]),
            Which::Ignored => list(&["--ignored"]),
            Which::Plain => {
                let ignored: BTreeSet<String> = list(&["--ignored"])?.into_iter().collect();
                let mut all = list(&[])?;
                all.retain(|name| !ignored.contains(name));
                Ok(all)
            }
        }
    }
}

/// One test.
struct Case {
    program: Arc<Program>,
    name: String,
}

impl Case {
    fn full_name(&self) -> String {
        format!("{} {}", self.program.name, self.name)
    }
}

/// How a test went.
enum Ending {
    Passed,
    Failed,
    OverLimit,
    Skipped(String),
}

/// A folder for what tests leave in the folder for temporary files; it goes with the run.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("gatepass-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        // Some tests are other users as well: they may pass through, and look at nothing.
        #[cfg(unix)]
        fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o711))
            .map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the workers share.
struct Shared<'a> {
    how: &'a How,
    waiting: Mutex<VecDeque<Case>>,
    tally: Mutex<&'a mut Tally>,
    took: Mutex<BTreeMap<String, f64>>,
    left_behind: Mutex<BTreeSet<String>>,
    all: usize,
    temporary: Temporary,
    keys: PathBuf,
}

/// Runs those of the tests whose names contain one of these words.
pub(crate) fn run(
    tests: &Tests,
    programs: &[Arc<Program>],
    words: &[String],
    tally: &mut Tally,
) -> Result<(), String> {
    let mut cases: Vec<Case> = Vec::new();
    let chosen = |program: &&Arc<Program>| !tests.leave_out.contains(program.name.as_str());
    for program in programs.iter().filter(chosen) {
        for name in program.tests(tests.how.which)? {
            if words.is_empty() || words.iter().any(|word| name.contains(word)) {
                cases.push(Case {
                    program: Arc::clone(program),
                    name,
                });
            }
        }
    }
    if cases.is_empty() {
        return Err(match words {
            [] => "there are no such tests".to_owned(),
            words => format!("no test has {} in its name", words.join(" or ")),
        });
    }
    // The longest first, as far as it is known, so that none of them is alone at the end.
    let times = root().join("target/test-times.json");
    let known: BTreeMap<String, f64> = fs::read(&times)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let expected = |case: &Case| known.get(&case.full_name()).copied().unwrap_or(5.0);
    cases.sort_by(|one, other| expected(other).total_cmp(&expected(one)));
    let workers = if tests.one_by_one { 1 } else { at_once() };
    let (number, failed) = (cases.len(), tally.failed);
    println!("{number} tests, {workers} at a time");
    let temporary = Temporary::new()?;
    let keys = temporary.0.join("keys");
    run_keys::write(&keys).map_err(|e| format!("{}: {e}", keys.display()))?;
    let shared = Shared {
        how: &tests.how,
        waiting: Mutex::new(cases.into()),
        tally: Mutex::new(tally),
        took: Mutex::new(known),
        left_behind: Mutex::default(),
        all: number,
        temporary,
        keys,
    };
    thread::scope(|scope| {
        for worker in 0..workers.min(number) {
            let shared = &shared;
            scope.spawn(move || shared.work(worker));
        }
    });
    for process in lock(&shared.left_behind).iter() {
        println!("left behind by a test, and ended: {process}");
    }
    let took = serde_json::to_vec_pretty(&*lock(&shared.took)).unwrap_or_default();
    // Only the order of the next run depends on it.
    let _ = fs::write(&times, took);
    let now = lock(&shared.tally).failed;
    match now - failed {
        0 => Ok(()),
        number => Err(format!("{number} tests")),
    }
}

/// How many tests at a time: they wait for much of their time.
fn at_once() -> usize {
    let asked = std::env::var("GATEPASS_TESTS_AT_ONCE").ok();
    asked
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| thread::available_parallelism().map_or(2, std::num::NonZero::get) + 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared<'_> {
    fn work(&self, worker: usize) {
        loop {
            let next = lock(&self.waiting).pop_front();
            let Some(case) = next else { break };
            let place = self.temporary.0.join(worker.to_string());
            let started = Instant::now();
            let (ending, said) = self
                .run(&case, &place)
                .unwrap_or_else(|why| (Ending::Failed, why));
            let took = started.elapsed();
            lock(&self.took).insert(case.full_name(), (took.as_secs_f64() * 10.0).round() / 10.0);
            for line in said.lines() {
                if let Some(process) = line.strip_prefix(LEFT_BEHIND) {
                    lock(&self.left_behind).insert(format!("{process} ({})", case.full_name()));
                }
            }
            self.tell(&case, &ending, &said, took);
        }
    }

    fn tell(&self, case: &Case, ending: &Ending, said: &str, took: Duration) {
        let (name, took) = (case.full_name(), took.as_secs_f64());
        let mut tally = lock(&self.tally);
        let verdict = match ending {
            Ending::Passed => {
                tally.passed += 1;
                // Quick ones are many, unless few were asked for.
                (took > 20.0 || self.all < 50).then_some("passed")
            }
            Ending::Skipped(why) => {
                tally.skip(&name, why);
                Some("skipped")
            }
            Ending::Failed => {
                tally.failed += 1;
                Some("FAILED")
            }
            Ending::OverLimit => {
                tally.failed += 1;
                Some("OVER ITS LIMIT")
            }
        };
        let left = lock(&self.waiting).len();
        let mut console = std::io::stdout().lock();
        if let Some(verdict) = verdict {
            let _ = writeln!(
                console,
                "  {verdict} after {took:.1} s: {name} ({left} left)"
            );
        } else if left.is_multiple_of(50) && left > 0 {
            let _ = writeln!(console, "  {left} left");
        }
        if matches!(ending, Ending::Failed | Ending::OverLimit) {
            tally.failures.push(name);
            let lines: Vec<&str> = said.lines().collect();
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                let _ = writeln!(console, "    {line}");
            }
            if let Some(full) = process::full_disk() {
                let _ = writeln!(console, "    {full}");
            }
        }
        let _ = console.flush();
    }

    /// Runs one test, and says how it went and what it said.
    fn run(&self, case: &Case, place: &Path) -> Result<(Ending, String), String> {
        let failed = |e: std::io::Error| format!("{}: {e}", place.display());
        let _ = fs::remove_dir_all(place);
        fs::create_dir_all(place).map_err(failed)?;
        #[cfg(unix)]
        fs::set_permissions(place, std::os::unix::fs::PermissionsExt::from_mode(0o711))
            .map_err(failed)?;
        let file = place.join("said");
        let output = File::create(&file).map_err(failed)?;
        let mut command = supervised(&case.program.file, self.how.limit);
        command.args([&case.name, "--exact", "--nocapture"]);
        if self.how.which != Which::Plain {
            command.arg("--include-ignored");
        }
        command
            .current_dir(&case.program.package)
            .env("CARGO_MANIFEST_DIR", &case.program.package)
            .env("TMPDIR", place)
            .envs(
                self.how
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env(run_keys::VARIABLE, &self.keys)
            .stdin(Stdio::null())
            .stderr(output.try_clone().map_err(failed)?)
            .stdout(output);
        let ended = to_its_end(&mut command, self.how.limit)?;
        let said = String::from_utf8_lossy(&fs::read(&file).map_err(failed)?).into_owned();
        let skipped = said.lines().find_map(|line| line.strip_prefix(SKIPPED));
        let ending = match (ended.code(), skipped) {
            (Some(0), Some(why)) => Ending::Skipped(why.to_owned()),
            (Some(0), None) => Ending::Passed,
            (Some(code), _) if code == i32::from(OVER_LIMIT) => Ending::OverLimit,
            _ => Ending::Failed,
        };
        let _ = fs::remove_dir_all(place);
        Ok((ending, said))
    }
}

/// A program under the eyes of a process of this one, which keeps the limit.
#[cfg(target_os = "linux")]
fn supervised(program: &Path, limit: Duration) -> Command {
    use std::os::unix::process::CommandExt as _;
    // The file may be replaced by a newer one meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["supervise", &limit.as_secs().to_string()])
        .arg(program)
        // What a terminal sends to this process's group is not for the test.
        .process_group(0);
    command
}

/// The program: elsewhere nothing tells what it started.
#[cfg(not(target_os = "linux"))]
fn supervised(program: &Path, _limit: Duration) -> Command {
    Command::new(program)
}

/// Waits for the end of a test; it has a little longer than its limit, which on Linux its own supervisor keeps.
fn to_its_end(command: &mut Command, limit: Duration) -> Result<ExitStatus, String> {
    let ends = Instant::now() + limit + Duration::from_secs(30);
    let mut child = command
        .spawn()
        .map_err(|e| format!("it cannot be started: {e}"))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok(status);
        }
        if Instant::now() > ends {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("still running after {} s", limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::Program;

    #[test]
    fn only_programs_of_tests_are_run() {
        let message = |test: bool, executable: Option<&str>| {
            json!({
                "reason": "compiler-artifact",
                "manifest_path": "/repository/xtask/Cargo.toml",
                "target": {"name": "xtask", "kind": ["bin"]},
                "profile": {"test": test},
                "executable": executable,
            })
        };
        let program = Program::of(&message(true, Some("/x"))).expect("a program");
        assert_eq!(program.name, "xtask");
        assert_eq!(program.package, Path::new("/repository/xtask"));
        assert!(Program::of(&message(false, Some("/x"))).is_none());
        assert!(Program::of(&message(true, None)).is_none());
        assert!(Program::of(&json!({"reason": "build-finished"})).is_none());
    }
}
