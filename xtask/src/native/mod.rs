//! `cargo xtask test --native`: what a person with a Mac, a Windows machine or any Linux runs to prove gatepass there.
//!
//! It needs no administrator, Node, browser or package, only what builds gatepass: the provider, the gateway and the
//! scripted browser are those of the demo. The keychain is the machine's real one, under a profile of the run's own
//! (see [`crate::stage::place`]). Every check is done, whatever the others found, and the report can be put into a
//! report of a fault as it is: it names no person and holds no secret.

mod checks;
mod hot_run;
mod machine;
mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{env, fs};

use crate::process::{cargo, root, run};
use crate::stage;
use checks::Size;

/// What a program costs that does nothing.
const EMPTY: &str = "fn main() {}\n";

/// What was asked for.
pub(crate) enum Native {
    /// The proof, as a person starts it.
    Start(Options),
    /// The checks, as the proof starts them.
    Prove(Options),
}

/// What may be said otherwise than usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The program, where it is not to be built: a signed one, an installed one, one for another system.
    program: Option<PathBuf>,
    /// The program to compare a hot run with.
    empty: Option<PathBuf>,
    /// Where the report goes.
    report: Option<PathBuf>,
    /// Fewer callers and measurements, for machines that start programs slowly.
    short: bool,
}

impl Native {
    /// Reads the options of `test --native`.
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        match arguments {
            ["prove", rest @ ..] => Options::from_arguments(rest).map(Self::Prove),
            _ => Options::from_arguments(arguments).map(Self::Start),
        }
    }

    pub(crate) fn run(self) -> Result<(), String> {
        match self {
            Self::Start(options) => stage::end_like(start(options)?),
            Self::Prove(options) => stage::guarded(|| prove(&options)),
        }
    }
}

/// The proof as a part of `cargo xtask test`.
#[cfg(target_os = "linux")]
pub(crate) fn as_a_step() -> Result<(), String> {
    let status = start(Options {
        short: true,
        ..Options::default()
    })?;
    if status.success() {
        Ok(())
    } else {
        Err("not all that is promised holds on this machine".to_owned())
    }
}

impl Options {
    fn from_arguments(mut arguments: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        loop {
            let (place, rest) = match arguments {
                [] => return Some(options),
                ["--short", rest @ ..] => {
                    options.short = true;
                    arguments = rest;
                    continue;
                }
                ["--program", file, rest @ ..] => ((&mut options.program, file), rest),
                ["--empty", file, rest @ ..] => ((&mut options.empty, file), rest),
                ["--report", file, rest @ ..] => ((&mut options.report, file), rest),
                _ => return None,
            };
            *place.0 = Some(PathBuf::from(place.1));
            arguments = rest;
        }
    }

    fn to_words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["test".into(), "--native".into(), "prove".into()];
        for (name, value) in [
            ("--program", &self.program),
            ("--empty", &self.empty),
            ("--report", &self.report),
        ] {
            if let Some(value) = value {
                words.extend([name.into(), value.into()]);
            }
        }
        if self.short {
            words.push("--short".into());
        }
        words
    }
}

/// Builds what was not given, then has it proved.
fn start(mut options: Options) -> Result<ExitStatus, String> {
    // The checks run in the repository's folder, or where there is none.
    let absolute = |file: PathBuf| std::path::absolute(&file).unwrap_or(file);
    options.program = options.program.map(absolute);
    options.empty = options.empty.map(absolute);
    options.report = options.report.map(absolute);
    if options.program.is_none() {
        println!("Building gatepass (the first time this takes some minutes) ...");
        options.program = Some(build()?);
    }
    if options.empty.is_none() {
        options.empty = build_empty();
    }
    if options.report.is_none() {
        options.report = Some(root().join("target/native/report.md"));
    }
    stage::in_own_process(&options.to_words())
}

fn build() -> Result<PathBuf, String> {
    run(&mut cargo(&["build", "--release", "--bin", "gatepass"]))?;
    let target = env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root().join("target"), |folder| root().join(folder));
    let program = target.join(format!("release/gatepass{}", env::consts::EXE_SUFFIX));
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("{} was not built", program.display()))
    }
}

/// An empty program; nothing where none can be built, which only leaves the comparison out.
fn build_empty() -> Option<PathBuf> {
    let folder = root().join("target/native");
    fs::create_dir_all(&folder).ok()?;
    let source = folder.join("empty.rs");
    fs::write(&source, EMPTY).ok()?;
    let program = folder.join(format!("empty{}", env::consts::EXE_SUFFIX));
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(rustc);
    compile.args(["--edition=2024", "-Copt-level=s", "-Cpanic=abort", "-o"]);
    run(compile.arg(&program).arg(&source)).ok()?;
    Some(program)
}

/// Does the checks, prints and keeps the report.
fn prove(options: &Options) -> Result<(), String> {
    let program = options.program.as_deref().ok_or("no program was named")?;
    let size = if options.short {
        Size::SHORT
    } else {
        Size::WHOLE
    };
    let report = checks::all(program, options.empty.as_deref(), size)?;
    let text = report.in_markdown();
    println!("\n{text}");
    if let Some(file) = &options.report {
        keep(file, &text)?;
        println!("(This report is also in {}.)", file.display());
    }
    match report.failed() {
        0 => Ok(()),
        failed => Err(format!("{failed} of the checks failed")),
    }
}

fn keep(file: &Path, text: &str) -> Result<(), String> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, text))
        .map_err(|e| format!("{} cannot be written: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{Native, Options};

    #[test]
    fn options_reach_the_process_that_proves() {
        let asked = ["--program", "a b", "--report", "r.md", "--short"];
        let Some(Native::Start(options)) = Native::from_arguments(&asked) else {
            unreachable!("these are options");
        };
        let words = options.to_words();
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(words[..2], ["test", "--native"]);
        match Native::from_arguments(&words[2..]) {
            Some(Native::Prove(again)) => assert_eq!(again, options),
            _ => unreachable!("it starts the checks"),
        }
        assert_eq!(options.program.as_deref(), Some("a b".as_ref()));
        assert!(Native::from_arguments(&["--program"]).is_none());
        assert_eq!(Options::default().to_words().len(), 3);
    }
}
