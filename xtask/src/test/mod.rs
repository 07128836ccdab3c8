//! `cargo xtask test`: every check of the repository, in one go.

mod run;
mod steps;
#[cfg(target_os = "linux")]
mod supervise;

use std::env;
use std::fs::File;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::time::Duration;

use run::Program;
pub(crate) use run::Tests;
#[cfg(target_os = "linux")]
pub(crate) use run::Which;
#[cfg(unix)]
pub(crate) use steps::SKIPPED;
pub(crate) use steps::some as steps;
#[cfg(target_os = "linux")]
pub(crate) use supervise::run as supervise;

use crate::install;
use crate::process::{self, cargo, root, step as told};
#[cfg(target_os = "linux")]
use crate::{hosts, interop, packages, windows};
use steps::Background;

/// A step that installs something: what it is called, and what does it.
pub(crate) type Setup = (&'static str, fn() -> Result<(), String>);

/// Tests that are asked for by an option of their own.
pub(crate) struct Lane {
    /// The option, without its dashes.
    name: &'static str,
    /// What the help says of it.
    about: &'static str,
    /// What installs what its tests need.
    setup: &'static [Setup],
    /// Builds what the tests drive, and says which tests there are.
    tests: fn(&Options) -> Result<Vec<Tests>, String>,
    /// Whether `cargo xtask test` runs it as well. The others are named at its end.
    in_all: bool,
}

/// What the lab's own programs come from.
const LAB: [Setup; 2] = [
    ("what the tests need from this machine", install::packages),
    (
        "the provider and the browser driver (npm)",
        install::node_packages,
    ),
];

/// Every lane. A new one is a row here and a line in the contributing page.
const LANES: &[Lane] = &[
    Lane {
        name: "unit",
        about: "only the tests that need nothing but this repository",
        setup: &[],
        tests: |_| {
            let programs = &["--workspace", "--lib", "--bins", "--test", "cli"];
            Ok(vec![Tests::of(programs)])
        },
        in_all: true,
    },
    Lane {
        name: "e2e",
        about: "only those with a real provider, keychain and browser",
        setup: &LAB,
        tests: |_| {
            Ok(vec![Tests::of(&[
                "--workspace",
                "--test",
                "e2e",
                "--test",
                "lab",
            ])])
        },
        in_all: true,
    },
    #[cfg(target_os = "linux")]
    Lane {
        name: "interop",
        about: "only those with LiteLLM, Apache, Glewlwyd, LemonLDAP::NG and Keycloak",
        setup: &[
            LAB[0],
            LAB[1],
            ("the servers (apt)", interop::servers),
            ("LiteLLM (pip)", interop::litellm),
            ("Keycloak (Maven Central)", interop::keycloak),
        ],
        tests: |_| {
            let tests = Tests::of(&["--workspace", "--test", "interop"]).which(Which::Both);
            // A server that does not come up is started once more.
            Ok(vec![tests.limit(Duration::from_secs(900))])
        },
        in_all: false,
    },
    #[cfg(target_os = "linux")]
    Lane {
        name: "hosts",
        about: "only those with Claude Code, Codex, Copilot CLI, Pi and opencode",
        setup: &[LAB[0], LAB[1], ("the hosts (npm, pip)", hosts::programs)],
        tests: |_| {
            // Each host is a large program, and some tests start thirty.
            let tests = Tests::of(&["--workspace", "--test", "hosts"]).one_by_one();
            Ok(vec![
                tests.which(Which::Both).limit(Duration::from_secs(600)),
            ])
        },
        in_all: false,
    },
    #[cfg(target_os = "linux")]
    Lane {
        name: "windows",
        about: "only those of the Windows program, run by Wine (Linux, as root)",
        setup: &[("what Wine needs from this machine", windows::tools)],
        tests: |_| windows::tests(),
        in_all: true,
    },
    #[cfg(target_os = "linux")]
    Lane {
        name: "packages",
        about: "only those that install, use, replace and remove packages (Linux, as root);\n\
                \x20                         --finished: those that `cargo xtask package` has left",
        setup: &[("what packages need from this machine", packages::tools)],
        tests: |options| packages::tests(options.finished),
        in_all: false,
    },
];

/// What was asked for.
pub(crate) struct Selection {
    /// The lane; all of them where there is none.
    lane: Option<&'static Lane>,
    options: Options,
}

/// How it was asked for.
pub(crate) struct Options {
    /// Only tests with one of these words in their names.
    names: Vec<String>,
    /// How often.
    times: u32,
    /// Whether packages are taken that are there.
    finished: bool,
}

impl Selection {
    /// The words after `test`.
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        let (lane, mut rest) = Self::lane(arguments)?;
        let mut options = Options {
            names: Vec::new(),
            times: 1,
            finished: false,
        };
        loop {
            rest = match rest {
                [] => break,
                ["--times", number, rest @ ..] => {
                    options.times = number.parse().ok().filter(|number| *number > 0)?;
                    rest
                }
                ["--finished", rest @ ..] if lane.is_some_and(|lane| lane.name == "packages") => {
                    options.finished = true;
                    rest
                }
                [option, ..] if option.starts_with('-') => return None,
                [name, rest @ ..] if lane.is_some() => {
                    options.names.push((*name).to_owned());
                    rest
                }
                _ => return None,
            };
        }
        Some(Self { lane, options })
    }

    fn lane<'a>(arguments: &'a [&'a str]) -> Option<(Option<&'static Lane>, &'a [&'a str])> {
        match arguments {
            [option, rest @ ..] => match option.strip_prefix("--") {
                Some("times") | None => Some((None, arguments)),
                Some(name) => LANES
                    .iter()
                    .find(|lane| lane.name == name)
                    .map(|lane| (Some(lane), rest)),
            },
            [] => Some((None, arguments)),
        }
    }
}

/// The lanes, for the help.
pub(crate) fn usage() -> String {
    LANES
        .iter()
        .map(|lane| format!("      {:<20}{}\n", format!("--{}", lane.name), lane.about))
        .collect()
}

/// `cargo xtask setup`: installs what the end-to-end tests need, or those of another lane.
pub(crate) struct Installation(&'static [Setup]);

impl Installation {
    /// The words after `setup`.
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        match Selection::lane(arguments)? {
            (lane, []) => Some(Self(lane.map_or(&LAB[..], |lane| lane.setup))),
            _ => None,
        }
    }

    /// Installs it; what fails keeps nothing else from being installed.
    pub(crate) fn run(&self) -> Result<(), String> {
        let failed: Vec<String> = self
            .0
            .iter()
            .filter_map(|(what, work)| told(what, work).err())
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("; "))
        }
    }
}

/// What came of everything.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    /// What could not be done on this machine, and why.
    skipped: Vec<(String, String)>,
    /// The names of what failed.
    failures: Vec<String>,
}

/// What `CI=true` lets pass: a part of its name, a part of the reason.
const SKIPPED_IN_CI: [(&str, &str); 1] = [
    // Installing it takes ten minutes; GATEPASS_DENY=1 does.
    ("licences", "cargo-deny is not installed"),
];

impl Tally {
    /// Something could not be done on this machine.
    fn skip(&mut self, what: &str, why: &str) {
        let expected = SKIPPED_IN_CI
            .iter()
            .any(|(name, reason)| what.contains(name) && why.contains(reason));
        if env::var("CI").as_deref() == Ok("true") && !expected {
            self.fail(format!(
                "{what}: skipped, which CI=true does not allow: {why}"
            ));
        } else {
            self.skipped.push((what.to_owned(), why.to_owned()));
        }
    }

    /// A step failed that is no test.
    fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    fn told(&self) -> String {
        let mut told = String::new();
        for (what, why) in &self.skipped {
            told = format!("{told}skipped: {what}: {why}\n");
        }
        for failure in &self.failures {
            told = format!("{told}failed: {failure}\n");
        }
        let skipped = match self.skipped.len() {
            0 => String::new(),
            number => format!(", {number} skipped"),
        };
        format!(
            "{told}{} passed, {} failed{skipped}",
            self.passed, self.failed
        )
    }
}

/// Compiles and runs these tests.
fn run_tests(what: &str, tests: &[Tests], options: &Options, tally: &mut Tally) {
    for some in tests {
        match told(&format!("compiling: {what}"), || some.build()) {
            Ok(programs) => run_compiled(what, some, &programs, options, tally),
            Err(why) => tally.fail(format!("{what}: {why}; they are left out")),
        }
    }
}

/// Runs these tests, as often as was asked for.
fn run_compiled(
    what: &str,
    tests: &Tests,
    programs: &[Arc<Program>],
    options: &Options,
    tally: &mut Tally,
) {
    for time in 1..=options.times {
        let what = match options.times {
            1 => what.to_owned(),
            times => format!("{what}, {time} of {times}"),
        };
        let before = tally.failed;
        let ran = told(&what, || run::run(tests, programs, &options.names, tally));
        // Failed tests are counted one by one.
        if let Err(why) = ran
            && tally.failed == before
        {
            tally.fail(format!("{what}: {why}"));
        }
    }
}

/// Installs what a lane needs; where that fails, its tests are left out.
fn is_set_up(lane: &Lane, tally: &mut Tally) -> bool {
    let mut complete = true;
    for (what, work) in lane.setup {
        if let Err(why) = told(what, work) {
            tally.fail(format!(
                "{what}: {why}; left out: the tests of --{}",
                lane.name
            ));
            complete = false;
        }
    }
    complete
}

fn run_lane(lane: &Lane, options: &Options, tally: &mut Tally) {
    if !is_set_up(lane, tally) {
        return;
    }
    let mut tests = Vec::new();
    let what = format!("what the tests of --{} drive", lane.name);
    match told(&what, || (lane.tests)(options)) {
        Ok(some) => tests = some,
        Err(why) => tally.fail(format!(
            "{what}: {why}; left out: the tests of --{}",
            lane.name
        )),
    }
    run_tests(
        &format!("the tests of --{}", lane.name),
        &tests,
        options,
        tally,
    );
}

/// Everything. Compilers take what the tests leave of the processors: tests wait for much of their time.
fn run_all(options: &Options, tally: &mut Tally) {
    // Installing waits for a network, compiling for processors.
    let lab = Background::start(&["lab"]);
    if let Err(why) = told("formatting", || {
        process::run(&mut cargo(&["fmt", "--all", "--check"]))
    }) {
        tally.fail(format!("formatting: {why}"));
    }
    let mut tests = Tests::of(&["--workspace"]);
    let compiled = told("compiling the tests", || tests.build());
    if !lab.join(tally) {
        println!("left out: the end-to-end tests, whose parts could not be installed");
        tests = tests.without("e2e");
    }
    #[cfg(target_os = "linux")]
    let wine = windows::can_be_tested();
    #[cfg(not(target_os = "linux"))]
    let wine = false;
    let windows_program = wine.then(|| Background::start(&["windows"]));
    let others = Background::start(&["workflows", "lints", "licences", "systems", "counts"]);
    match compiled {
        Ok(programs) => run_compiled("the tests", &tests, &programs, options, tally),
        Err(why) => tally.fail(format!("{why}; left out: every test but Windows's")),
    }
    if windows_program.is_none_or(|program| program.join(tally)) {
        #[cfg(target_os = "linux")]
        if wine {
            let lane = LANES.iter().find(|lane| lane.name == "windows");
            run_lane(lane.expect("a lane of that name"), options, tally);
        } else {
            let why = "Wine is entered by `unshare --mount`, which this user may not do";
            tally.skip("the Windows program", why);
        }
    }
    others.join(tally);
    // By now the release has been built, to be counted.
    #[cfg(target_os = "linux")]
    match told("the proof of this very machine", crate::native::as_a_step) {
        Ok(()) => tally.passed += 1,
        Err(why) => tally.fail(format!("the proof of this very machine: {why}")),
    }
    let left_out: Vec<String> = LANES
        .iter()
        .filter(|lane| !lane.in_all)
        .map(|lane| format!("cargo xtask test --{}", lane.name))
        .collect();
    println!("\nnot part of this: {}", left_out.join(", "));
}

/// Runs the checks and ends with the one line that counts.
pub(crate) fn run(selection: &Selection) -> Result<(), String> {
    let _turn = turn()?;
    process::has_room()?;
    let mut tally = Tally::default();
    match selection.lane {
        None => run_all(&selection.options, &mut tally),
        Some(lane) => run_lane(lane, &selection.options, &mut tally),
    }
    if let Some(full) = process::full_disk() {
        tally.failures.push(full);
    }
    println!("\n{}", tally.told());
    if tally.failures.is_empty() {
        Ok(())
    } else {
        Err("not everything passed".to_owned())
    }
}

/// Waits until no other run of this clone is under way: both would change the same files.
fn turn() -> Result<File, String> {
    process::wait_for_turn(
        &root().join("target"),
        "another `cargo xtask test` of this clone",
    )
}

#[cfg(test)]
mod tests {
    use super::{LANES, Selection, Tally};

    #[test]
    fn a_run_ends_with_one_line_of_numbers() {
        let mut tally = Tally {
            passed: 3,
            ..Tally::default()
        };
        assert_eq!(tally.told(), "3 passed, 0 failed");
        tally.skipped.push(("x".to_owned(), "no Wine".to_owned()));
        tally.fail("lints: y".to_owned());
        assert_eq!(
            tally.told(),
            "skipped: x: no Wine\nfailed: lints: y\n3 passed, 1 failed, 1 skipped"
        );
    }

    #[test]
    fn lanes_take_names_and_repetitions() {
        let all = Selection::from_arguments(&[]).expect("all of them");
        assert!(all.lane.is_none());
        let some = ["--e2e", "--times", "10", "tabs::"];
        let some = Selection::from_arguments(&some).expect("a lane");
        assert_eq!(some.lane.expect("a lane").name, "e2e");
        assert_eq!(
            (some.options.times, &some.options.names[..]),
            (10, &["tabs::".to_owned()][..])
        );
        for wrong in [
            &["--nonsense"][..],
            &["a_name"],
            &["--e2e", "--finished"],
            &["--e2e", "--times", "0"],
            &["--times"],
        ] {
            assert!(Selection::from_arguments(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn every_lane_has_a_name_of_its_own() {
        let mut names: Vec<&str> = LANES.iter().map(|lane| lane.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), LANES.len());
    }
}
