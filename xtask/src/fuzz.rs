//! `cargo xtask fuzz`: the fuzz targets for long, with coverage. (Their seeds run with every `cargo test`.)
//!
//! The compiler's own pass counts coverage and libFuzzer, which comes as the source of a crate, does the rest: the
//! stable compiler and a C++ compiler are all that it needs. Sanitizers are left out, since they would need a nightly
//! compiler and a rebuilt standard library, and what the targets reach has no `unsafe` of ours.

use std::collections::HashSet;
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

/// Largest input that becomes a seed, in bytes, and how many a target has at most.
const SEED: u32 = 3000;
const SEEDS: usize = 40;

/// Longest run of one input, in seconds: what takes longer is a finding.
const LONGEST_RUN: u32 = 10;

/// What counts coverage: every edge, its number of passes, and what comparisons compare.
const INSTRUMENTED: [&str; 7] = [
    "--cfg",
    "fuzzing",
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

    /// Adds to the seeds those small inputs of the corpus that reach most of what no seed reaches.
    fn to_seeds(&self) -> Result<(), String> {
        let (corpus, seeds) = (self.folder("corpus")?, self.folder("seeds")?);
        // The seeds come first, in a copy, since what is merged is added to them.
        let merged = self.folder("merged")?;
        let copies = root().join(&merged);
        for seed in fs::read_dir(root().join(&seeds)).map_err(|e| e.to_string())? {
            let seed = seed.map_err(|e| e.to_string())?;
            fs::copy(seed.path(), copies.join(seed.file_name())).map_err(|e| e.to_string())?;
        }
        let control = copies.with_extension("control");
        let _ = fs::remove_file(&control);
        run(command(
            &self.program(),
            // Edges alone: how often one is passed would make every input a new one.
            &[
                "-set_cover_merge=1",
                "-use_counters=0",
                &format!("-max_len={SEED}"),
                &format!("-merge_control_file={}", control.display()),
                &merged,
                &corpus,
            ],
        )
        .stderr(Stdio::null()))?;
        let told = fs::read_to_string(&control).map_err(|e| e.to_string())?;
        for file in best(&told, SEEDS) {
            let file = root().join(file);
            let name = file.file_name().ok_or("a file without a name")?;
            fs::copy(&file, root().join(&seeds).join(name)).map_err(|e| e.to_string())?;
        }
        let _ = fs::remove_file(&control);
        fs::remove_dir_all(&copies).map_err(|e| e.to_string())
    }
}

/// Which files of a merge add most to the seeds, each to those before it, until there are so many of all.
///
/// The merge's control file counts all inputs, then those that were seeds before, names them, the seeds first, and says
/// for each by its number what it reaches: `FT 3 17 99 …`.
fn best(control: &str, at_most: usize) -> Vec<&str> {
    let mut lines = control.lines();
    let mut count = || lines.next()?.trim().parse::<usize>().ok();
    let (files, seeds) = (count().unwrap_or(0), count().unwrap_or(0));
    let names: Vec<&str> = lines.by_ref().take(files).collect();
    let mut reached: HashSet<u32> = HashSet::new();
    let mut others: Vec<(&str, HashSet<u32>)> = Vec::new();
    for line in lines {
        let Some(numbers) = line.strip_prefix("FT ") else {
            continue;
        };
        let mut numbers = numbers
            .split_whitespace()
            .filter_map(|one| one.parse().ok());
        let Some(file) = numbers
            .next()
            .and_then(|file: u32| usize::try_from(file).ok())
        else {
            continue;
        };
        if file < seeds {
            reached.extend(numbers);
        } else if let Some(name) = names.get(file) {
            others.push((name, numbers.collect()));
        }
    }
    let mut chosen = Vec::new();
    while chosen.len() + seeds < at_most {
        let gain = |(_, reaches): &&(&str, HashSet<u32>)| reaches.difference(&reached).count();
        let Some((name, reaches)) = others.iter().max_by_key(gain) else {
            break;
        };
        if reaches.is_subset(&reached) {
            break;
        }
        chosen.push(*name);
        reached.extend(reaches);
    }
    chosen
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
    use super::{Corpus, Figures, Fuzz, best};

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
    fn those_become_seeds_that_reach_most_of_what_is_new() {
        let control = "4\n1\nseeds/a\ncorpus/b\ncorpus/c\ncorpus/d\nSTARTED 0 9\nFT 0 1 2\nCOV 0 1 2\n\
                       STARTED 1 9\nFT 1 1 7\nSTARTED 2 9\nFT 2 7 8 9\nSTARTED 3 9\nFT 3 2 5\n";
        assert_eq!(best(control, 2), ["corpus/c"]);
        assert_eq!(best(control, 9), ["corpus/c", "corpus/d"]);
        assert!(best("", 9).is_empty());
    }

    #[test]
    fn options_may_come_in_any_order() {
        let fuzz = Fuzz::from_arguments(&["keys", "--to-seeds", "--seconds", "5"]).unwrap();
        assert_eq!((fuzz.target.as_deref(), fuzz.seconds), (Some("keys"), 5));
        assert!(fuzz.corpus == Corpus::Seeds);
        assert!(Fuzz::from_arguments(&["--seconds"]).is_none());
    }
}
