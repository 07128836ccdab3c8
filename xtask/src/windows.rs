//! `cargo xtask test --windows`: the Windows program, run by Wine.
//!
//! Wine is Debian's, of a release that has a new enough one, in a folder of its own: nothing of it is installed on
//! this machine. A run enters that folder with its own view of mounted file systems, which ends with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cross::toolchain::{self, Toolchain};
use crate::process::{self, Held, answer, command, find, run};
use crate::test::{Tests, Which};
use crate::{cross, install, load_configuration};

/// The system that the program is built for.
pub(crate) const TARGET: &str = "x86_64-pc-windows-gnu";

/// The program that stands for a host.
const HOST: &str = "gatepass-windows-host";

/// The program that proves gatepass on the machine at hand: this one.
const PROOF: &str = "xtask";

/// The Debian release that the Wine comes from, and the programs that this machine needs for it.
const RELEASE: &str = "trixie";
const NEEDED: [(&str, &str); 2] = [
    ("mmdebstrap", "mmdebstrap"),
    ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64"),
];

/// What must be allowed before Wine's folder can be entered: a view of file systems of one's own, and `/proc` in it.
const ENTERS: [&str; 7] = [
    "--mount",
    "--propagation=private",
    "mount",
    "-t",
    "proc",
    "proc",
    "/mnt",
];

/// How long Wine may take to come up, on a machine with other things to do.
const COMES_UP: Duration = Duration::from_secs(90);

/// Whether this user may enter the folder that Wine is in.
pub(crate) fn can_be_tested() -> bool {
    answer("id", &["-u"]).as_deref() == Some("0") && answer("unshare", &ENTERS).is_some()
}

/// What a run by Wine needs: how it is started, and the folder with the programs.
struct Built {
    wine: PathBuf,
    programs: PathBuf,
}

/// Builds the program and provides Wine.
pub(crate) fn built() -> Result<(), String> {
    build_all().map(|_| ())
}

fn build_all() -> Result<Built, String> {
    if !can_be_tested() {
        return Err(
            "Wine is entered by `unshare --mount`: run this as root, where that is allowed"
                .to_owned(),
        );
    }
    tools()?;
    let toolchain = Toolchain::provide(&[TARGET])?;
    cross::without_warnings(build(&toolchain, &["gatepass", HOST, PROOF]).arg("--locked"))?;
    let programs = toolchain.target_dir().join(TARGET).join("debug");
    load_configuration::complete(&programs.join("gatepass.exe"))?;
    Ok(Built {
        wine: wine(&toolchain::kept()?)?,
        programs,
    })
}

/// The tests that drive the program. They share one Windows folder, in which Wine runs as long as they do.
pub(crate) fn tests() -> Result<Vec<Tests>, String> {
    let turn = process::wait_for_turn(&toolchain::kept()?, "another run with Wine's folder")?;
    let Built { wine, programs } = build_all()?;
    let running = keep_running(&wine)?;
    let tests = Tests::of(&["--workspace", "--test", "windows"])
        .which(Which::Ignored)
        .one_by_one()
        .env("GATEPASS_WINE", wine)
        .env("GATEPASS_EXE", programs.join("gatepass.exe"))
        .env("GATEPASS_HOST_EXE", programs.join(format!("{HOST}.exe")))
        .env("GATEPASS_XTASK_EXE", programs.join(format!("{PROOF}.exe")))
        .while_held(running)
        .while_held(turn);
    Ok(vec![tests])
}

/// The first program makes Wine start its own services, which keep that program's standard error for as long as they
/// live, and would be started again after each pause. So one program is the first whose streams are read by no test,
/// and it lives as long as its standard input.
fn keep_running(wine: &Path) -> Result<Held, String> {
    let quiet = |arguments: &[&str]| {
        let mut program = Command::new(wine);
        program.args(arguments).stdin(Stdio::piped());
        program.stdout(Stdio::null()).stderr(Stdio::null());
        let started = program.spawn();
        started.map_err(|e| format!("{} cannot be started: {e}", wine.display()))
    };
    for _ in 0..2 {
        let first = Held(quiet(&["cmd", "/c", "set /p wait="])?);
        // By the time that a second one has run, the services run.
        let mut second = quiet(&["cmd", "/c", "exit"])?;
        if process::ends_within(COMES_UP, &mut second) {
            return Ok(first);
        }
    }
    Err(format!(
        "Wine does not come up within {COMES_UP:?}, nor when it is started afresh"
    ))
}

/// Installs what is missing on this machine.
pub(crate) fn tools() -> Result<(), String> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install::install(&missing)
}

/// The command that builds the programs of these packages for Windows.
pub(crate) fn build(toolchain: &Toolchain, packages: &[&str]) -> Command {
    let mut cargo = toolchain.cargo("build");
    cargo.args(["--quiet", "--bins", "--target", TARGET]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    cargo
        // One compiler for C and for linking: what Zig compiles calls functions that the other does not link.
        .env("CC_x86_64_pc_windows_gnu", NEEDED[1].0)
        .env("AR_x86_64_pc_windows_gnu", "x86_64-w64-mingw32-ar")
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", NEEDED[1].0);
    cargo
}

/// The command that runs a Windows program.
pub(crate) fn wine(kept: &Path) -> Result<PathBuf, String> {
    let system = kept.join(format!("wine-{RELEASE}"));
    if !system.join("usr/lib/wine/wine64").exists() {
        let unfinished = kept.join("wine-unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        let mirror = toolchain::mirror();
        let mut debian = command("mmdebstrap", &["--variant=minbase", "--quiet"]);
        debian
            // Mirrors of a moment in the past are as good.
            .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
            .args(["--include=ca-certificates,wine,wine64", RELEASE])
            .arg(&unfinished)
            .arg(mirror);
        run(&mut debian).map_err(|why| {
            format!("Wine, which runs the Windows program, cannot be fetched: {why}")
        })?;
        fs::rename(&unfinished, &system).map_err(|error| error.to_string())?;
    }
    let runner = kept.join("run-wine");
    let script = SCRIPT
        .replace("@SYSTEM@", &system.display().to_string())
        .replace("@KEPT@", &kept.display().to_string());
    fs::write(&runner, script).map_err(|error| error.to_string())?;
    fs::set_permissions(&runner, fs::Permissions::from_mode(0o755))
        .map_err(|error| error.to_string())?;
    // The first run makes the Windows folder.
    run(Command::new(&runner).args(["wineboot", "--init"]))?;
    Ok(runner)
}

/// Everything is replaced by the next command, so that the process that a test starts, and kills, is the program.
const SCRIPT: &str = r#"#!/bin/sh
# Runs a Windows program: wine PROGRAM ARGUMENTS…
if [ "$GATEPASS_INSIDE" != 1 ]; then
    GATEPASS_INSIDE=1 exec unshare --mount --propagation private "$0" "$@"
fi
set -e
mkdir -p '@SYSTEM@@KEPT@' '@KEPT@/windows'
mount -t proc proc '@SYSTEM@/proc'
mount --bind '@KEPT@' '@SYSTEM@@KEPT@'
exec chroot '@SYSTEM@' /usr/bin/env -i ${GATEPASS_WINE_FOLDER:+--chdir="$GATEPASS_WINE_FOLDER"} \
    USER="${GATEPASS_WINE_USER:-root}" HOME=/root PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    XDG_RUNTIME_DIR=/tmp WINEPREFIX="${GATEPASS_WINEPREFIX:-@KEPT@/windows}" WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml= \
    ${CLAUDE_HELPER_CONTEXT:+CLAUDE_HELPER_CONTEXT="$CLAUDE_HELPER_CONTEXT"} \
    ${GATEPASS_LOG:+GATEPASS_LOG="$GATEPASS_LOG"} \
    /usr/lib/wine/wine64 "$@"
"#;
