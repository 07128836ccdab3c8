//! `cargo xtask test`: every check of the repository, in one go.

use std::env;

use crate::install;
#[cfg(target_os = "linux")]
use crate::packages::Ours;
use crate::process::{self, answer, cargo, run_watched, step};
#[cfg(target_os = "linux")]
use crate::{hosts, interop};

/// Which checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of them.
    All,
    /// The tests that need nothing but this repository.
    Unit,
    /// The tests with a real provider, keychain and browser.
    EndToEnd,
    /// The tests of the Windows program.
    #[cfg(target_os = "linux")]
    Windows,
    /// The tests that install packages.
    #[cfg(target_os = "linux")]
    Packages(Ours),
    /// The tests with real gateways and further providers, which the others leave out.
    #[cfg(target_os = "linux")]
    Interop,
    /// The tests with the real programs that run gatepass, which the others leave out.
    #[cfg(target_os = "linux")]
    Hosts,
}

/// What cargo's tests said.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Takes in lines such as `test result: ok. 3 passed; 0 failed; …`.
    fn read(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (number, what) = (
                words.next().and_then(|word| word.parse::<u64>().ok()),
                words.next(),
            );
            match (number, what) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                _ => {}
            }
        }
    }
}

/// Runs the checks; a failed one does not keep the others from running.
fn checks(selection: Selection, tally: &mut Tally) -> Vec<String> {
    let mut failures = Vec::new();
    let mut check = |what: &str, work: &mut dyn FnMut() -> Result<(), String>| {
        if let Err(why) = step(what, work) {
            failures.push(format!("{what}: {why}"));
        }
    };
    #[cfg(target_os = "linux")]
    if selection == Selection::Windows {
        check("the Windows program", &mut || {
            crate::windows::test(|line| tally.read(line))
        });
        return failures;
    }
    #[cfg(target_os = "linux")]
    if let Selection::Packages(ours) = selection {
        check(
            "what the tests need from this machine",
            &mut crate::packages::tools,
        );
        check("packages, installed and used", &mut || {
            crate::packages::test(ours, |line| tally.read(line))
        });
        return failures;
    }
    if selection != Selection::Unit {
        check(
            "what the tests need from this machine",
            &mut install::packages,
        );
        check(
            "the provider and the browser driver (npm)",
            &mut install::node_packages,
        );
    }
    #[cfg(target_os = "linux")]
    if selection == Selection::Interop {
        check("the servers (apt)", &mut interop::servers);
        check("LiteLLM (pip)", &mut interop::litellm);
        check("Keycloak (Maven Central)", &mut interop::keycloak);
    }
    #[cfg(target_os = "linux")]
    if selection == Selection::Hosts {
        check("the hosts (npm, pip)", &mut hosts::programs);
    }
    if selection == Selection::All {
        check("formatting", &mut || {
            process::run(&mut cargo(&["fmt", "--all", "--check"]))
        });
        check("lints", &mut || {
            process::run(&mut cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                // Warnings only warn those who build with another compiler; here they count.
                "--",
                "-Dwarnings",
            ]))
        });
        check("licences, banned crates and sources", &mut deny);
        #[cfg(unix)]
        check("every system compiles", &mut crate::cross::check);
    }
    let (what, targets): (&str, &[&[&str]]) = match selection {
        Selection::All => ("all tests", &[&["--workspace"]]),
        Selection::Unit => (
            "unit tests",
            &[&["--workspace", "--lib", "--bins", "--test", "cli"]],
        ),
        Selection::EndToEnd => (
            "end-to-end tests",
            &[
                &["--test", "e2e"],
                &["--package", "gatepass-testkit", "--test", "lab"],
            ],
        ),
        #[cfg(target_os = "linux")]
        Selection::Windows | Selection::Packages(_) => return failures,
        #[cfg(target_os = "linux")]
        Selection::Interop => (
            "tests with real gateways and providers",
            &[&["--test", "interop", "--", "--include-ignored"]],
        ),
        // One after the other: each host is a large program, and some tests start thirty.
        #[cfg(target_os = "linux")]
        Selection::Hosts => (
            "tests with the real hosts",
            &[&[
                "--test",
                "hosts",
                "--",
                "--include-ignored",
                "--test-threads=1",
            ]],
        ),
    };
    for target in targets {
        let arguments = [&["test", "--no-fail-fast", "--quiet"], *target].concat();
        check(what, &mut || {
            run_watched(&mut cargo(&arguments), |line| tally.read(line))
        });
    }
    #[cfg(target_os = "linux")]
    if selection == Selection::All {
        if crate::windows::can_be_tested() {
            check("the Windows program", &mut || {
                crate::windows::test(|line| tally.read(line))
            });
        } else {
            println!(
                "SKIPPED: the Windows program: Wine is entered by `unshare --mount`, which this user may not do"
            );
        }
    }
    // Counts are compared with those of such a machine.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    if selection == Selection::All {
        check("instructions and system calls of the release", &mut || {
            crate::bench::Bench::Check.run()
        });
    }
    failures
}

/// Runs the checks and ends with the one line that counts.
pub(crate) fn run(selection: Selection) -> Result<(), String> {
    let mut tally = Tally::default();
    let failures = checks(selection, &mut tally);
    println!();
    for failure in &failures {
        println!("failed: {failure}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} checks failed", failures.len()))
    }
}

fn deny() -> Result<(), String> {
    if answer("cargo", &["deny", "--version"]).is_none() {
        if env::var("GATEPASS_DENY").as_deref() != Ok("1") {
            println!(
                "SKIPPED: cargo-deny is not installed (GATEPASS_DENY=1 installs it, which takes about ten minutes)"
            );
            return Ok(());
        }
        process::run(&mut cargo(&["install", "--locked", "cargo-deny"]))?;
    }
    process::run(&mut cargo(&[
        "deny", "check", "bans", "licenses", "sources",
    ]))
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn counts_are_summed_over_every_result_line() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.55s",
            "a line about 5 passed; 5 failed;",
        ] {
            tally.read(line);
        }
        assert_eq!((tally.passed, tally.failed), (13, 2));
    }
}
