//! `cargo xtask fuzz`: the fuzz targets for long, with coverage. (Their seeds run with every `cargo test`.)

use std::fs;

use crate::process::{answer, command, root, run, step};

/// Which targets, and for how long each.
pub(crate) struct Fuzz {
    target: Option<String>,
    seconds: u32,
}

/// Time for each target where nothing else is said, in seconds.
const SECONDS: u32 = 60;

/// Largest input, in bytes.
const INPUT: u32 = 20_000;

impl Fuzz {
    /// Reads `[TARGET] [--seconds N]`.
    pub(crate) fn from_arguments(mut arguments: &[&str]) -> Option<Self> {
        let mut fuzz = Self {
            target: None,
            seconds: SECONDS,
        };
        if let [target, rest @ ..] = arguments
            && !target.starts_with('-')
        {
            fuzz.target = Some((*target).to_owned());
            arguments = rest;
        }
        match arguments {
            [] => Some(fuzz),
            ["--seconds", seconds] => {
                fuzz.seconds = seconds.parse().ok()?;
                Some(fuzz)
            }
            _ => None,
        }
    }

    /// Runs them one after the other; the first finding ends it.
    pub(crate) fn run(&self) -> Result<(), String> {
        if answer("cargo", &["fuzz", "--version"]).is_none() {
            return Err("cargo-fuzz is missing: `cargo install cargo-fuzz`".to_owned());
        }
        if answer("cargo", &["+nightly", "--version"]).is_none() {
            return Err(
                "the nightly compiler is missing: `rustup toolchain install nightly`".to_owned(),
            );
        }
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
        let (time, size) = (
            format!("-max_total_time={}", self.seconds),
            format!("-max_len={INPUT}"),
        );
        for name in chosen {
            let (corpus, seeds) = (format!("fuzz/corpus/{name}"), format!("fuzz/seeds/{name}"));
            fs::create_dir_all(root().join(&corpus)).map_err(|error| error.to_string())?;
            step(&format!("fuzzing {name}"), || {
                // Not the cargo that runs this, which knows only its own compiler.
                run(command(
                    "cargo",
                    &[
                        "+nightly", "fuzz", "run", name, &corpus, &seeds, "--", &time, &size,
                    ],
                )
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("CARGO"))
            })?;
        }
        Ok(())
    }
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
