//! `cargo xtask release`: a version from its commit to what is published, in one command.
//!
//! It checks that version, changelog, tag and commit agree, builds all packages, signs with the keys that the
//! environment has, sums up, and says what is left to do. A dry run uses no key and sets no tag: it tries the steps of
//! signing with keys that it throws away.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::install::{Part, missing_of};
use crate::package::{Package, Release, System, sum_up};
use crate::process::{answer, command, root, run, step};

/// The steps that sign, and what each takes its key from.
const WINDOWS: Signer = Signer {
    step: "windows",
    key: "GATEPASS_AUTHENTICODE_KEY",
};
const MAC: Signer = Signer {
    step: "macos",
    key: "GATEPASS_DEVELOPER_ID_P12",
};
const SUMS: Signer = Signer {
    step: "sums",
    key: "GATEPASS_GPG_KEY",
};

/// What trying the steps needs.
const TRIED_WITH: [(Part, &str); 3] = [
    (Part::Program("gpg"), "gnupg"),
    (Part::Program("openssl"), "openssl"),
    (Part::Program("osslsigncode"), "osslsigncode"),
];

/// A script of `packaging/sign`.
struct Signer {
    step: &'static str,
    key: &'static str,
}

impl Signer {
    fn has_key(&self) -> bool {
        env::var_os(self.key).is_some_and(|key| !key.is_empty())
    }

    /// Signs these files in place; without a key it says so and leaves them.
    fn sign(&self, files: &[PathBuf]) -> Result<(), String> {
        if !self.has_key() || files.is_empty() {
            return Ok(());
        }
        run(command(&script(self.step), &[]).args(files))
    }
}

/// What was asked for.
pub(crate) struct Publication {
    dry: bool,
    package: Package,
}

impl Publication {
    /// Reads `--dry-run` and the options of `package`.
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        let (dry, rest): (Vec<&str>, Vec<&str>) = arguments
            .iter()
            .partition(|argument| **argument == "--dry-run");
        Some(Self {
            dry: !dry.is_empty(),
            package: Package::from_arguments(&rest)?,
        })
    }

    /// Makes the release.
    pub(crate) fn run(&self) -> Result<(), String> {
        let release = Release::of_this_commit()?;
        let tag = format!("v{}", release.version);
        step("version, changelog, tag and commit agree", || {
            let obstacles = obstacles(&self.package, &release, &tag)?;
            for obstacle in &obstacles {
                println!("{obstacle}");
            }
            if self.dry || obstacles.is_empty() {
                Ok(())
            } else {
                Err("this commit cannot be released; `--dry-run` goes on all the same".to_owned())
            }
        })?;
        self.package.build(&release)?;
        // What an earlier version left there is no part of this one.
        for file in files(&release.packages)? {
            fs::remove_file(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        let programs = self.package.programs(&release);
        let of = |system| {
            let programs = programs.iter().filter(|(other, _)| *other == system);
            programs.map(|(_, file)| file.clone()).collect::<Vec<_>>()
        };
        if !self.dry {
            step("signing the programs", || {
                WINDOWS.sign(&of(System::Windows))?;
                MAC.sign(&of(System::Mac))
            })?;
        }
        self.package.pack(&release)?;
        if self.dry {
            let mut tried = with_ending(&release.packages, &["msi", "rpm"])?;
            tried.extend(of(System::Windows).into_iter().take(1));
            step("signing, tried with keys that are thrown away", || {
                missing_of(&TRIED_WITH)?;
                run(command(&script("try"), &[]).args(&tried))
            })?;
        } else {
            step("signing the packages", || {
                WINDOWS.sign(&with_ending(&release.packages, &["msi"])?)?;
                MAC.sign(&with_ending(&release.packages, &["pkg"])?)?;
                SUMS.sign(&with_ending(&release.packages, &["deb", "rpm"])?)
            })?;
            step("checksums", || {
                let sums = sum_up(&release.packages)?;
                SUMS.sign(&[sums])
            })?;
            if SUMS.has_key() {
                step("the tag", || set_tag(&tag))?;
            }
        }
        self.say_what_is_left(&release, &tag)
    }

    fn say_what_is_left(&self, release: &Release, tag: &str) -> Result<(), String> {
        println!("\nTo publish, from {}:", release.packages.display());
        for file in files(&release.packages)? {
            let size = fs::metadata(&file).map_or(0, |about| about.len());
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            println!("  {name}  ({size} bytes)");
        }
        for (signer, what) in [
            (&WINDOWS, "Windows programs and .msi"),
            (&MAC, "macOS programs and .pkg"),
            (&SUMS, ".deb, .rpm and SHA256SUMS"),
        ] {
            if self.dry || !signer.has_key() {
                let why = if signer.has_key() {
                    "a dry run uses no key".to_owned()
                } else {
                    format!("{} is not set", signer.key)
                };
                println!("  not signed: {what} ({why})");
            }
        }
        if self.dry || !SUMS.has_key() {
            println!("  not set: the tag {tag}");
        }
        println!(
            "then: git push origin {tag}, and the rest of docs/releasing.md from \"Publish\" on"
        );
        Ok(())
    }
}

fn script(step: &str) -> String {
    root()
        .join("packaging/sign")
        .join(step)
        .display()
        .to_string()
}

/// What stands in the way, each as a sentence.
fn obstacles(package: &Package, release: &Release, tag: &str) -> Result<Vec<String>, String> {
    let mut obstacles = Vec::new();
    let changed = answer("git", &["status", "--porcelain"]).ok_or("git says nothing here")?;
    if !changed.is_empty() {
        obstacles.push(format!("There are changes that no commit has:\n{changed}"));
    }
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).map_err(|e| e.to_string())?;
    if let Err(why) = agrees(&changelog, &release.version) {
        obstacles.push(why);
    }
    let here = answer("git", &["rev-parse", "HEAD"]);
    let tagged = answer(
        "git",
        &[
            "rev-parse",
            "--quiet",
            "--verify",
            &format!("{tag}^{{commit}}"),
        ],
    );
    if tagged.is_some() && tagged != here {
        obstacles.push(format!(
            "{tag} is another commit: a version is never published twice with different content."
        ));
    }
    let for_macs = package
        .programs(release)
        .iter()
        .any(|(system, _)| *system == System::Mac);
    if for_macs && env::var_os("SDKROOT").is_none() {
        obstacles.push(
            "SDKROOT is not set: without Apple's SDK the macOS programs are for trying things out, not for \
             publishing."
                .to_owned(),
        );
    }
    Ok(obstacles)
}

/// Whether the changelog's newest section is this version's, with a date.
fn agrees(changelog: &str, version: &str) -> Result<(), String> {
    let heading = changelog
        .lines()
        .find_map(|line| line.strip_prefix("## "))
        .unwrap_or_default();
    let date = heading
        .strip_prefix(version)
        .and_then(|rest| rest.strip_prefix(" - "))
        .unwrap_or_default();
    let is_date = date.len() == 10
        && date.char_indices().all(|(place, one)| match place {
            4 | 7 => one == '-',
            _ => one.is_ascii_digit(),
        });
    if is_date {
        Ok(())
    } else {
        Err(format!(
            "The newest section of CHANGELOG.md is \"{heading}\", not \"{version} - \" and a date (YYYY-MM-DD)."
        ))
    }
}

/// Sets the tag, signed, unless this commit has it already.
fn set_tag(tag: &str) -> Result<(), String> {
    if answer("git", &["rev-parse", "--quiet", "--verify", tag]).is_some() {
        println!("{tag} is set already");
        return Ok(());
    }
    let key = env::var(SUMS.key).map_err(|e| e.to_string())?;
    run(&mut command(
        "git",
        &["tag", "--sign", "--local-user", &key, "--message", tag, tag],
    ))
}

/// The files of a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    Ok(files)
}

fn with_ending(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut files = files(folder)?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|ending| endings.iter().any(|one| ending == *one))
    });
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{Publication, agrees};

    #[test]
    fn a_changelog_agrees_with_a_dated_section_of_the_version_alone() {
        let of = |heading: &str| {
            format!("# Changelog\n\nWords.\n\n## {heading}\n\n- x\n\n## 0.0.1 - 2020-01-01\n")
        };
        assert_eq!(agrees(&of("1.2.3 - 2026-11-21"), "1.2.3"), Ok(()));
        for wrong in [
            "Unreleased",
            "1.2.3",
            "1.2.4 - 2026-11-21",
            "1.2.3 - soon, soon",
            "1.2.30 - 2026-11-21",
        ] {
            let why = agrees(&of(wrong), "1.2.3").expect_err(wrong);
            assert!(why.contains(wrong), "{why}");
        }
        assert!(agrees("", "1.2.3").is_err());
    }

    #[test]
    fn it_takes_the_options_of_package() {
        let dry = Publication::from_arguments(&["--target", "linux-x86_64", "--dry-run"]);
        assert!(dry.is_some_and(|one| one.dry));
        assert!(Publication::from_arguments(&[]).is_some_and(|one| !one.dry));
        assert!(Publication::from_arguments(&["--wet"]).is_none());
    }
}
