//! `cargo xtask fuzz`: the fuzz targets for long, with coverage. (Their seeds run with every `cargo test`.)
//!
//! The compiler's own pass counts coverage and libFuzzer, which comes as the source of a crate, does the rest: the
//! stable compiler and a C++ compiler are all that it needs. Sanitizers are left out, since they would need a nightly
//! compiler and a rebuilt standard library, and what the targets reach has no `unsafe` of ours.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::process::{answer, cargo, command, root, run, step};

/// Which targets, for how long each, and what becomes of what they find.
pub(crate) struct Fuzz {
    target: Option<String>,
    seconds: u32,
    corpus: Corpus,
}

/// What becomes of the inputs that reach something new.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Corpus {
    /// They stay in `fuzz/corpus`, which nobody commits.
    Kept,
    /// Those that reach what no seed reaches become seeds.
    Seeds,
}

/// Time for each target where nothing else is said, in seconds.
const SECONDS: u32 = 60;

/// Largest input, in bytes.
const INPUT: u32 = 20_000;

/// Largest input that becomes a seed, in bytes.
const SEED: u32 = 3000;

/// Longest run of one input, in seconds: what takes longer is a finding.
const LONGEST_RUN: u32 = 10;

/// What counts coverage: every edge, its number of passes, and what comparisons compare.
const INSTRUMENTED: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

impl Fuzz {
    /// Reads `[TARGET] [--seconds N] [--to-seeds]`.
    pub(crate) fn from_arguments(mut arguments: &[&str]) -> Option<Self> {
        let mut fuzz = Self {
            target: None,
            seconds: SECONDS,
            corpus: Corpus::Kept,
        };
        if let [target, rest @ ..] = arguments
            && !target.starts_with('-')
        {
            fuzz.target = Some((*target).to_owned());
            arguments = rest;
        }
        loop {
            arguments = match arguments {
                [] => return Some(fuzz),
                ["--seconds", seconds, rest @ ..] => {
                    fuzz.seconds = seconds.parse().ok()?;
                    rest
                }
                ["--to-seeds", rest @ ..] => {
                    fuzz.corpus = Corpus::Seeds;
                    rest
                }
                _ => return None,
            };
        }
    }

    /// Runs them one after the other; the first finding ends it.
    pub(crate) fn run(&self) -> Result<(), String> {
        let all = targets()?;
        let chosen: Vec<&String> = match &self.target {
            None => all.iter().collect(),
            Some(name) => all.iter().filter(|one| *one == name).collect(),
        };
        if chosen.is_empty() {
            return Err(format!(
                "there is no such target; there are: {}",
                all.join(", ")
            ));
        }
        let mut programs = PathBuf::new();
        step("building the targets, with coverage", || {
            programs = build()?;
            Ok(())
        })?;
        let mut report = Vec::new();
        for name in chosen {
            let target = Target {
                name,
                programs: &programs,
            };
            step(&format!("fuzzing {name}"), || {
                report.push(target.fuzz(self.seconds)?);
                Ok(())
            })?;
            if self.corpus == Corpus::Seeds {
                step(&format!("what {name} found becomes seeds"), || {
                    target.to_seeds()
                })?;
            }
        }
        println!();
        report.iter().for_each(|line| println!("{line}"));
        println!("no finding");
        Ok(())
    }
}

/// One target's program.
struct Target<'a> {
    name: &'a str,
    programs: &'a Path,
}

impl Target<'_> {
    fn folder(&self, of: &str) -> Result<String, String> {
        let folder = format!("fuzz/{of}/{}", self.name);
        fs::create_dir_all(root().join(&folder)).map_err(|e| format!("{folder}: {e}"))?;
        Ok(folder)
    }

    fn program(&self) -> String {
        self.programs.join(self.name).display().to_string()
    }

    /// Runs for so many seconds, and returns a line with the figures.
    fn fuzz(&self, seconds: u32) -> Result<String, String> {
        let (corpus, seeds) = (self.folder("corpus")?, self.folder("seeds")?);
        let artifacts = self.folder("artifacts")?;
        let mut fuzzer = command(
            &self.program(),
            &[
                &format!("-max_total_time={seconds}"),
                &format!("-max_len={INPUT}"),
                &format!("-timeout={LONGEST_RUN}"),
                &format!("-artifact_prefix={artifacts}/"),
                "-print_final_stats=1",
                &corpus,
                &seeds,
            ],
        );
        let mut child = fuzzer
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("the target cannot be started: {e}"))?;
        let mut figures = Figures::default();
        // It says everything on standard error.
        let said = BufReader::new(child.stderr.take().expect("a pipe"));
        for line in said.lines().map_while(Result::ok) {
            eprintln!("{line}");
            figures.read(&line);
        }
        let status = child.wait().map_err(|e| e.to_string())?;
        if !status.success() {
            return Err(format!(
                "a finding of `{}`: the input lies in {artifacts}; put it into {seeds} and mend the code, so that \
                 every `cargo test` runs it",
                self.name
            ));
        }
        Ok(format!(
            "{:<20} {:>12} runs in {seconds} s, {} edges",
            self.name, figures.runs, figures.edges
        ))
    }

    /// Adds to the seeds the fewest small inputs that reach every edge that the corpus reaches and they do not.
    fn to_seeds(&self) -> Result<(), String> {
        let (corpus, seeds) = (self.folder("corpus")?, self.folder("seeds")?);
        run(command(
            &self.program(),
            // Edges alone: how often one is passed would make hundreds of files.
            &[
                "-set_cover_merge=1",
                "-use_counters=0",
                &format!("-max_len={SEED}"),
                &seeds,
                &corpus,
            ],
        )
        .stderr(Stdio::null()))
    }
}

/// What libFuzzer says of a run.
#[derive(Default)]
struct Figures {
    runs: u64,
    edges: u64,
}

impl Figures {
    /// Takes in lines such as `#4096 pulse  cov: 812 ft: …` and `stat::number_of_executed_units: 4096`.
    fn read(&mut self, line: &str) {
        let number = |text: &str| text.split_whitespace().next()?.parse().ok();
        if let Some(runs) = line.strip_prefix("stat::number_of_executed_units:") {
            self.runs = number(runs).unwrap_or(self.runs);
        } else if let Some((_, edges)) = line.split_once(" cov: ") {
            self.edges = number(edges).unwrap_or(self.edges);
        }
    }
}

/// Builds every target with coverage, and returns the folder of their programs.
fn build() -> Result<PathBuf, String> {
    let host = answer("rustc", &["--version", "--verbose"])
        .and_then(|text| {
            Some(
                text.lines()
                    .find_map(|line| line.strip_prefix("host: "))?
                    .to_owned(),
            )
        })
        .ok_or("rustc does not say which system this is")?;
    // With the system named, the flags are not for the programs that only build the others.
    run(cargo(&[
        "build",
        "--release",
        "--locked",
        "--manifest-path=fuzz/Cargo.toml",
        "--target",
        &host,
    ])
    .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\u{1f}"))
    .env("CARGO_TARGET_DIR", root().join("fuzz/target")))?;
    Ok(root().join("fuzz/target").join(host).join("release"))
}

/// The targets, which are named like the folders of their seeds.
fn targets() -> Result<Vec<String>, String> {
    let folders = fs::read_dir(root().join("fuzz/seeds")).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = folders
        .flatten()
        .filter_map(|folder| folder.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::{Corpus, Figures, Fuzz};

    #[test]
    fn figures_are_read_from_what_the_fuzzer_says() {
        let mut figures = Figures::default();
        for line in [
            "#2\tINITED cov: 640 ft: 1209 corp: 6/2132b exec/s: 0 rss: 58Mb",
            "#4096\tNEW    cov: 812 ft: 1540 corp: 31/9Kb exec/s: 2048 rss: 61Mb",
            "stat::number_of_executed_units: 123456",
            "stat::average_exec_per_sec:     2048",
        ] {
            figures.read(line);
        }
        assert_eq!((figures.runs, figures.edges), (123_456, 812));
    }

    #[test]
    fn options_may_come_in_any_order() {
        let fuzz = Fuzz::from_arguments(&["keys", "--to-seeds", "--seconds", "5"]).unwrap();
        assert_eq!((fuzz.target.as_deref(), fuzz.seconds), (Some("keys"), 5));
        assert!(fuzz.corpus == Corpus::Seeds);
        assert!(Fuzz::from_arguments(&["--seconds"]).is_none());
    }
}
