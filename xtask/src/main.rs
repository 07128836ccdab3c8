//! Builds, tests, demonstrates and measures gatepass: `cargo xtask <command>`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a tool for people at a terminal: it talks to them, and stops where it cannot go on"
)]

#[cfg(target_os = "linux")]
mod bench;
#[cfg(unix)]
mod cross;
mod demo;
mod fuzz;
#[cfg(target_os = "linux")]
mod hosts;
mod install;
#[cfg(target_os = "linux")]
mod interop;
#[cfg(unix)]
mod load_configuration;
mod native;
#[cfg(unix)]
mod package;
#[cfg(target_os = "linux")]
mod packages;
mod pictures;
mod process;
#[cfg(unix)]
mod release;
mod stage;
#[cfg(unix)]
mod templates;
mod test;
#[cfg(target_os = "linux")]
mod windows;
#[cfg(unix)]
mod workflows;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  setup [--LANE]          installs what the end-to-end tests need, or those of another lane
  test                    installs what is missing and runs every check
  test --LANE [NAME…]     only the tests of one lane, or those of it with NAME in their names:
LANES      --times N           so often, one run after another
  test --native           only what proves gatepass on this very machine, whatever its system: no
                          administrator, Node, browser or package is needed; prints a report
      --program FILE      that program in place of one that is built: a signed or installed one
      --report FILE       where the report goes (target/native/report.md)
      --short             fewer callers and measurements
  check --all-targets     compiles for every system that gatepass is made for
  demo [--scripted]       shows the whole way from a sign-in to a gateway's answer
      --scripted          signs in by script even where there is a display
  fuzz [TARGET]           runs the fuzz targets with coverage (needs a C++ compiler)
      --seconds N         each for so long (60)
      --to-seeds          adds to the seeds what reaches more than they do
  package                 builds every package into target/packages
      --only deb,rpm,msi,pkg,tar
      --target linux-x86_64,…   of linux, windows, macos and x86_64, aarch64
      --no-build                takes the binaries that are there
      --check-reproducible      does it twice, in other folders, and compares every byte
  release                 builds, signs and sums up a version, and says what to publish
      --dry-run                 all but the keys and the tag; takes the options of package
  pictures                draws the pictures of the pages anew, from their texts in docs/pictures
  templates               writes policy templates and editors' schemas from the list of keys
  bench                   measures times, counts and sizes (Linux)
      --write             writes them to docs/performance.md and xtask/bench-baseline.toml
      --check             only the counts: fails where one has grown by more than 5 %
      --peers             only the other programs that print a token, where they are installed
      --hot-spots         the functions that a hot run's instructions belong to

environment:
  CI=true                 fails where something is skipped that is not known to be
  GATEPASS_TESTS_AT_ONCE=N
                          so many tests at a time (one more than there are processors)
  GATEPASS_DENY=1         installs cargo-deny where it is missing (takes about ten minutes)
  GATEPASS_LAB=FOLDER     where the tools for other systems are kept between runs
                          (otherwise gatepass-lab in $XDG_CACHE_HOME or ~/.cache)
";

/// What was asked for.
enum Command {
    #[cfg(target_os = "linux")]
    Bench(bench::Bench),
    #[cfg(unix)]
    CheckAllTargets,
    Demo(demo::Demo),
    Fuzz(fuzz::Fuzz),
    Native(native::Native),
    Pictures,
    #[cfg(unix)]
    Package(package::Package),
    #[cfg(unix)]
    Release(release::Publication),
    #[cfg(unix)]
    Templates,
    Setup(test::Installation),
    Steps(Vec<String>),
    Test(test::Selection),
}

impl Command {
    fn from_arguments(arguments: &[&str]) -> Option<Self> {
        match arguments {
            ["test", "--native", options @ ..] => {
                native::Native::from_arguments(options).map(Self::Native)
            }
            ["test", options @ ..] => test::Selection::from_arguments(options).map(Self::Test),
            ["setup", options @ ..] => test::Installation::from_arguments(options).map(Self::Setup),
            // Hidden: what the tests make this program do in further processes.
            ["step", names @ ..] => Some(Self::Steps(
                names.iter().map(|name| (*name).to_owned()).collect(),
            )),
            #[cfg(target_os = "linux")]
            ["bench", options @ ..] => bench::Bench::from_arguments(options).map(Self::Bench),
            #[cfg(unix)]
            ["check", "--all-targets"] => Some(Self::CheckAllTargets),
            #[cfg(unix)]
            ["package", options @ ..] => {
                package::Package::from_arguments(options).map(Self::Package)
            }
            #[cfg(unix)]
            ["release", options @ ..] => {
                release::Publication::from_arguments(options).map(Self::Release)
            }
            #[cfg(unix)]
            ["templates"] => Some(Self::Templates),
            ["pictures"] => Some(Self::Pictures),
            ["demo", options @ ..] => demo::Demo::from_arguments(options).map(Self::Demo),
            ["fuzz", options @ ..] => fuzz::Fuzz::from_arguments(options).map(Self::Fuzz),
            _ => None,
        }
    }

    fn run(self) -> Result<(), String> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Bench(bench) => bench.run(),
            #[cfg(unix)]
            Self::CheckAllTargets => cross::check(None),
            Self::Demo(demo) => demo.run(),
            Self::Fuzz(fuzz) => fuzz.run(),
            Self::Native(native) => native.run(),
            Self::Pictures => pictures::run(),
            #[cfg(unix)]
            Self::Package(package) => package.run(),
            #[cfg(unix)]
            Self::Release(release) => release.run(),
            #[cfg(unix)]
            Self::Templates => templates::run(),
            Self::Setup(installation) => installation.run(),
            Self::Steps(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                test::steps(&names)
            }
            Self::Test(selection) => test::run(&selection),
        }
    }
}

fn usage() -> String {
    USAGE.replace("LANES", &test::usage())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Hidden as well: the parent of one test.
    #[cfg(target_os = "linux")]
    if let ["supervise", words @ ..] = &arguments[..] {
        return test::supervise(words).unwrap_or_else(|why| {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        });
    }
    if let ["help" | "--help" | "-h"] = arguments[..] {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = Command::from_arguments(&arguments) else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // The last line on standard output belongs to the command.
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
