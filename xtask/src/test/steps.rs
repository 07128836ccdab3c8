//! Steps that are no tests. Each can be done beside the tests, by another process of this program.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::{LAB, Tally};
use crate::process::{self, answer, cargo, find, root, step};

/// How the line begins that says which step could not be done on this machine, and why.
pub(crate) const SKIPPED: &str = "skipped: ";

/// How the line begins that says why a step failed.
const FAILED: &str = "failed step: ";

/// Its name, what it is, what does it.
type Step = (&'static str, &'static str, fn() -> Result<(), String>);

/// Every step.
const STEPS: &[Step] = &[
    ("lab", "what the end-to-end tests need", lab),
    #[cfg(unix)]
    (
        "workflows",
        "workflows, against GitHub's schema",
        crate::workflows::check,
    ),
    ("lints", "lints", lints),
    ("licences", "licences, banned crates and sources", deny),
    #[cfg(unix)]
    ("systems", "every system compiles", systems),
    #[cfg(target_os = "linux")]
    ("windows", "the Windows program", crate::windows::built),
    #[cfg(target_os = "linux")]
    (
        "counts",
        "instructions and system calls of the release",
        counts,
    ),
];

/// Does these steps, one after another; the hidden command that [`Background`] makes use of.
pub(crate) fn some(names: &[&str]) -> Result<(), String> {
    let mut failed = 0;
    for name in names {
        let known = STEPS.iter().find(|(known, ..)| known == name);
        let (_, what, work) = known.ok_or(format!("there is no step {name}"))?;
        if let Err(why) = step(what, work) {
            println!("{FAILED}{what}: {why}");
            failed += 1;
        }
    }
    match failed {
        0 => Ok(()),
        number => Err(format!("{number} steps failed")),
    }
}

/// Steps that another process does, which takes what the tests leave of the processors.
pub(crate) struct Background {
    names: Vec<&'static str>,
    output: PathBuf,
    child: Result<Child, String>,
}

impl Background {
    /// Begins with the first of these.
    pub(crate) fn start(names: &[&'static str]) -> Self {
        let output = root().join(format!("target/steps-{}.txt", names.join("-")));
        let names: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| STEPS.iter().any(|(known, ..)| known == name))
            .collect();
        println!("beside what comes next: {}", names.join(", "));
        let child = spawn(&names, &output);
        Self {
            names,
            output,
            child,
        }
    }

    /// Waits for the end, and passes on what was said. Whether all went well.
    pub(crate) fn join(self, tally: &mut Tally) -> bool {
        let ended = self
            .child
            .and_then(|mut child| child.wait().map_err(|e| e.to_string()));
        let said = fs::read(&self.output).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        print!("{said}");
        let told = |start: &str| {
            let lines = said.lines().filter_map(|line| line.strip_prefix(start));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        for skipped in told(SKIPPED) {
            let (what, why) = skipped.split_once(": ").unwrap_or((&skipped, ""));
            tally.skip(what, why);
        }
        let failed = told(FAILED);
        let fine = matches!(&ended, Ok(status) if status.success());
        if !fine && failed.is_empty() {
            tally.fail(format!("{}: {ended:?}", self.names.join(", ")));
        }
        for why in failed {
            tally.fail(why);
        }
        fine
    }
}

fn spawn(names: &[&str], output: &Path) -> Result<Child, String> {
    let told = |e: std::io::Error| format!("{}: {e}", output.display());
    let output = File::create(output).map_err(told)?;
    let itself = process::itself()?;
    let mut command = match find("nice") {
        Some(nice) => {
            let mut command = Command::new(nice);
            command.args(["-n", "19"]).arg(itself);
            command
        }
        None => Command::new(itself),
    };
    command.arg("step").args(names);
    command
        .stderr(output.try_clone().map_err(told)?)
        .stdout(output)
        .spawn()
        .map_err(told)
}

fn lab() -> Result<(), String> {
    let failed: Vec<String> = LAB
        .iter()
        .filter_map(|(what, work)| step(what, work).err())
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("; "))
    }
}

fn lints() -> Result<(), String> {
    process::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        // Warnings only warn those who build with another compiler; here they count.
        "--",
        "-Dwarnings",
    ]))
}

fn deny() -> Result<(), String> {
    if answer("cargo", &["deny", "--version"]).is_none() {
        if env::var("GATEPASS_DENY").as_deref() != Ok("1") {
            println!(
                "{SKIPPED}licences, banned crates and sources: cargo-deny is not installed (GATEPASS_DENY=1 installs it, which takes about ten minutes)"
            );
            return Ok(());
        }
        process::run(&mut cargo(&["install", "--locked", "cargo-deny"]))
            .map_err(|why| format!("cargo-deny could not be fetched and built: {why}"))?;
    }
    process::run(&mut cargo(&[
        "deny", "check", "bans", "licenses", "sources",
    ]))
}

#[cfg(unix)]
fn systems() -> Result<(), String> {
    // The Windows program is built for its tests, where they can be run: that need not be checked once more.
    #[cfg(target_os = "linux")]
    let built = crate::windows::can_be_tested().then_some(crate::windows::TARGET);
    #[cfg(not(target_os = "linux"))]
    let built = None;
    crate::cross::check(built)
        .map_err(|why| format!("{why}; left out: compiling for other systems"))
}

#[cfg(target_os = "linux")]
fn counts() -> Result<(), String> {
    if cfg!(target_arch = "x86_64") {
        crate::bench::Bench::Check.run()
    } else {
        println!("{SKIPPED}counts of the release: they are known for x86-64 only");
        Ok(())
    }
}
