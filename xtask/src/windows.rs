//! `cargo xtask test --windows`: the Windows program, run by Wine.
//!
//! Wine is Debian's, of a release that has a new enough one, in a folder of its own: nothing of it is installed on
//! this machine. A run enters that folder with its own view of mounted file systems, which ends with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cross::toolchain::{self, Toolchain};
use crate::install;
use crate::process::{self, answer, command, find, run, run_watched};

/// The system that the program is built for.
pub(crate) const TARGET: &str = "x86_64-pc-windows-gnu";

/// The program that stands for a host.
const HOST: &str = "gatepass-windows-host";

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

/// Whether this user may enter the folder that Wine is in.
pub(crate) fn can_be_tested() -> bool {
    answer("id", &["-u"]).as_deref() == Some("0") && answer("unshare", &ENTERS).is_some()
}

/// Builds the program, and runs the tests that drive it.
pub(crate) fn test(line: impl FnMut(&str)) -> Result<(), String> {
    if !can_be_tested() {
        return Err(
            "Wine is entered by `unshare --mount`: run this as root, where that is allowed"
                .to_owned(),
        );
    }
    tools()?;
    let toolchain = Toolchain::provide(&[TARGET])?;
    run(build(&toolchain, &["gatepass", HOST]).arg("--locked"))?;
    let built = toolchain.target_dir().join(TARGET).join("debug");
    let wine = wine(&toolchain::kept()?)?;
    let mut tests = process::cargo(&["test", "--quiet", "--test", "windows", "--"]);
    tests
        .args(["--ignored", "--test-threads=1"])
        .env("GATEPASS_WINE", wine)
        .env("GATEPASS_EXE", built.join("gatepass.exe"))
        .env("GATEPASS_HOST_EXE", built.join(format!("{HOST}.exe")));
    run_watched(&mut tests, line)
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
